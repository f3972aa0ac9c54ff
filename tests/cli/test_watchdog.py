"""What a loop that is blocked tells about itself: in the log, in `status` and in `dump`."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from pathlib import Path

import pytest
from tests.workshop import Program, Workshop, eventually

BACKENDS = ["gevent", "asyncio", "uvloop", "threading"]
LOOPS = {"gevent": "hub", "asyncio": "loop", "uvloop": "loop", "threading": "monitor"}

BUSY = """
    import os

    def busy():
        print("blocked", flush=True)
        while not os.path.exists("gate"):
            pass
        print("free", flush=True)
"""
ASLEEP = """
    import os
    from ginkgo.async_ import native

    def busy():
        print("blocked", flush=True)
        while not os.path.exists("gate"):
            native.sleep(0.01)
        print("free", flush=True)
"""
BLOCKING = """
    from ginkgo import Service
    from how import busy

    class Worker(Service):
        def do_start(self):
            self.spawn(self.hang)

        def hang(self):
            self.async_.sleep(0.05)
            busy()
            self.async_.sleep(1000)

    class App(Service):
        def __init__(self):
            self.add_service(Worker())
"""
BLOCKING_ASYNCIO = BLOCKING.replace("def hang", "async def hang").replace(
    "self.async_.sleep", "await self.async_.sleep"
)
BLOCKING_THREADS = BLOCKING.replace("busy()", "self.backend_in_use.post(busy)")


def command(backend: str, target: str, *more: str) -> list[str]:
    loop = "uvloop" if backend == "uvloop" else "asyncio"
    name = "asyncio" if backend == "uvloop" else backend
    settings = [f"loop={loop}", "blocked_after=0.2"]
    sets = [part for setting in settings for part in ("--set", setting)]
    return ["ginkgo", "--backend", name, *sets, *more, target]


def source(backend: str) -> str:
    if backend == "threading":
        return BLOCKING_THREADS
    return BLOCKING if backend == "gevent" else BLOCKING_ASYNCIO


def asked(shop: Workshop, action: str) -> dict:
    answer = shop.ctl("app.App", action, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.fault(40)
@pytest.mark.fault(41)
@pytest.mark.parametrize("how", [BUSY, ASLEEP], ids=["busy", "asleep"])
def test_what_blocks_the_loop_is_told_with_its_stack_and_when_it_is_over(
    shop: Workshop, backend: str, how: str
) -> None:
    shop.write("how.py", how)
    shop.write("app.py", source(backend))
    program = shop.begin(*command(backend, "app.App"))
    loop = LOOPS[backend]
    [first] = program.wait_for(f" blocks the {loop}: nothing else has had a turn for ")[:1]
    if backend != "threading":
        assert "WARNING watchdog: App/Worker: task Worker.hang blocks" in first
    program.wait_for(f"still blocks the {loop}")
    assert any(line.endswith("in busy") for line in program.lines)

    status = asked(shop, "status")
    assert status["state"] == "ready"
    assert status["blocked"]["now"]["seconds"] >= 0.2
    assert status["blocked"]["now"]["loop"] == loop
    stacks = asked(shop, "dump")["stacks"]
    [stack] = [one for one in stacks if one["frames"] and "busy" in functions(one)][:1]
    assert stack["kind"] == "thread"
    if backend != "threading":
        assert (stack["service"], stack["doing"]) == ("App/Worker", "task Worker.hang")

    shop.write("gate", "")
    program.wait_for(f"The {loop} goes on: .* had blocked it for [0-9.]+ s$")
    status = asked(shop, "status")
    assert status["blocked"]["now"] is None
    assert status["blocked"]["count"] == 1
    assert status["blocked"]["longest"] >= 0.2
    assert program.stops() == 0


def functions(stack: dict) -> set[str]:
    return {frame["function"] for frame in stack["frames"]}


@pytest.mark.fault(40)
@pytest.mark.parametrize("backend", ["gevent", "threading"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_coroutine_that_blocks_the_bridge_is_told(
    shop: Workshop, backend: str, loop: str
) -> None:
    shop.write("how.py", ASLEEP)
    shop.write(
        "app.py",
        """
        from ginkgo import Service
        from how import busy

        class App(Service):
            def do_start(self):
                self.spawn(self.work)

            async def work(self):
                busy()
        """,
    )
    program = shop.begin(*command(backend, "app.App", "--set", f"loop={loop}"))
    program.wait_for("App: .*App.work.* blocks the bridge: nothing else has had a turn")
    assert any(line.endswith("in busy") for line in program.lines)
    shop.write("gate", "")
    program.wait_for("The bridge goes on")
    assert program.stops() == 0


@pytest.mark.fault(11)
@pytest.mark.parametrize("backend", ["gevent", "asyncio", "uvloop"])
def test_a_do_start_that_blocks_is_told_and_does_not_hold_up_who_starts_it(
    shop: Workshop, backend: str
) -> None:
    shop.write("how.py", ASLEEP)
    shop.write(
        "app.py",
        f"""
        from ginkgo import Service
        from how import busy

        class Db(Service):
            {"" if backend == "gevent" else "async "}def do_start(self):
                busy()

        class App(Service):
            backend = {"gevent" if backend == "gevent" else "asyncio"!r}

            def __init__(self):
                self.add_service(Db())
        """,
    )
    shop.write(
        "app.conf.py",
        f"""
        logfile = {str(shop.folder / "log")!r}
        loop = {"auto" if backend == "gevent" else backend!r}
        blocked_after = 0.2
        service = "app.App"
        """,
    )
    result = shop.ctl("app.conf.py", "start", "--timeout", "2")
    assert result.returncode == 75, result.stderr
    log = shop.folder / "log"
    told = f"App/Db: do_start blocks the {LOOPS[backend]}"
    eventually(lambda: log.exists() and told in log.read_text())
    assert "in busy" in log.read_text()
    shop.write("gate", "")
    assert shop.ctl("app.conf.py", "stop").returncode == 0


TURNS = """
    from ginkgo import Service
    from ginkgo.async_ import native

    class App(Service):
        def do_start(self):
            self.spawn(self.work)

        def work(self):
            while True:
                print("turn", flush=True)
                native.sleep(0.1)
                self.async_.sleep(0.01)
"""
TURNS_ASYNCIO = TURNS.replace("def work", "async def work").replace(
    "self.async_.sleep", "await self.async_.sleep"
)


@pytest.mark.fault(52)
def test_a_process_that_was_stopped_as_a_whole_has_blocked_nothing(
    shop: Workshop, backend: str
) -> None:
    shop.write("app.py", TURNS if backend in ("gevent", "threading") else TURNS_ASYNCIO)
    program = shop.begin(*command(backend, "app.App", "--set", "blocked_after=0.6"))
    program.wait_for("^turn$", 3)
    program.signal(signal.SIGSTOP)
    time.sleep(1.5)  # it is this that must not be told: no event ends it
    count = len(program.lines)
    program.signal(signal.SIGCONT)
    program.wait_for("^turn$", count + 10)
    assert asked(shop, "status")["blocked"] == {"count": 0, "longest": 0.0, "now": None}
    assert "blocks" not in program.output
    assert program.stops() == 0


def test_what_holds_the_interpreter_is_told_when_it_lets_go(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.spawn(self.work)

            def work(self):
                self.async_.sleep(0.05)
                print("working", flush=True)
                for _ in range(2):
                    sum(range(30_000_000))  # one call into C
                print("done", flush=True)
        """,
    )
    program = shop.begin(*command("gevent", "app.App"))
    program.wait_for("App: task App.work blocks the hub")
    program.wait_for("The hub goes on")
    assert program.stops() == 0


def switches(pid: int, name: str) -> int | None:
    """How often a thread of a process has gone to sleep (proc_pid_status(5)); None without it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if (task / "comm").read_text().strip() == name:
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        return int(line.split()[1])
    return None  # it has not begun, or has not given itself its name


def test_an_idle_tree_wakes_nobody(shop: Workshop, backend: str) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                print("up", flush=True)
        """,
    )
    program = shop.begin(*command(backend, "app.App"))
    program.wait_for("^up$")

    def is_still() -> bool:
        before = switches(program.pid, "ginkgo-watchdog")
        time.sleep(0.8)
        after = switches(program.pid, "ginkgo-watchdog")
        return before is not None and after is not None and after - before <= most

    most = 6 if backend == "uvloop" else 0  # the exception that the manual names
    eventually(is_still)
    assert program.stops() == 0


def test_it_can_be_turned_off(shop: Workshop) -> None:
    shop.write("how.py", BUSY)
    shop.write("app.py", BLOCKING)
    program: Program = shop.begin(*command("gevent", "app.App", "--set", "blocked_after=0"))
    program.wait_for("^blocked$")
    assert asked(shop, "status")["blocked"] is None
    threads = [one["name"] for one in asked(shop, "dump")["stacks"] if one["kind"] == "thread"]
    assert "ginkgo-control" in threads
    assert "ginkgo-watchdog" not in threads
    shop.write("gate", "")
    program.wait_for("^free$")
    assert program.stops() == 0
    assert "blocks" not in program.output
