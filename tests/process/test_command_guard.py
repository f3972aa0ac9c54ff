"""Nothing is left of the commands of a ``ginkgo`` that is killed with -9."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from tests.process.commands import OF_THE_C_LIBRARY, alive
from tests.workshop import Program, Workshop, eventually, free_port, wait_gone

DEAF = """
    import os, signal, time
    for number in (1, 2, 15):
        signal.signal(number, signal.SIG_IGN)
    print("pid", os.getpid(), flush=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            print("pid", os.getpid(), flush=True)
            time.sleep(1000)
        os._exit(0)
    time.sleep(1000)
"""

APP = """
    import os, socket, sys
    from ginkgo import Command, Service

    class App(Service):
        def __init__(self):
            self.listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
            self.listener.set_inheritable(True)
            mark = {"GINKGO_TEST_ID": os.environ["GINKGO_TEST_ID"]}
            deaf = [sys.executable, "-I", "-S", os.path.abspath("deaf.py")]
            for _ in range(2):
                self.add_service(Command(deaf, env=mark, name="deaf"))
            script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls -l /proc/self/fd; sleep 1000"
            self.add_service(Command(["sh", "-c", script], env=mark))
"""

BACKENDS = ("gevent", "asyncio", "threading")


@pytest.fixture(params=BACKENDS)
def app(shop: Workshop, request: pytest.FixtureRequest) -> Program:
    shop.write("deaf.py", DEAF)
    shop.write("app.py", APP)
    env = {"PORT": str(free_port())}
    program = shop.begin("ginkgo", "--set", f"backend={request.param}", "app.App", env=env)
    program.wait_for(r": pid \d+$", count=4)
    program.wait_for("SigIgn")
    return program


def pids(program: Program) -> list[int]:
    """What the commands have told of themselves."""
    found = [re.search(r"deaf(?:-2)?: pid (\d+)$", line) for line in program.lines]
    return [int(each.group(1)) for each in found if each]


def forget(shop: Workshop) -> None:
    """Ginkgo was killed: its runtime folder is left, and no fault."""
    shutil.rmtree(shop.runtime / "ginkgo")


def guardian_of(pid: int) -> int:
    """The child that is called so, as soon as it is."""
    found: list[int] = []

    def look() -> list[int]:
        found.extend(
            int(child)
            for thread in Path(f"/proc/{pid}/task").glob("*/children")
            for child in read(thread).split()
            if read(Path(f"/proc/{child}/comm")).startswith("ginkgo-guard")
        )
        return found

    eventually(look)
    return found[0]


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.mark.fault(82)
@pytest.mark.fault(86)
def test_nothing_is_left_of_a_ginkgo_that_is_killed(shop: Workshop, app: Program):
    found = pids(app)
    guard = guardian_of(app.pid)
    assert len(found) == 4
    assert all(alive(pid) for pid in found)
    began = time.monotonic()
    app.signal(signal.SIGKILL)
    app.ends()
    for pid in (*found, guard):
        wait_gone(pid, timeout=5)
    assert time.monotonic() - began < 5
    forget(shop)


@pytest.mark.fault(50)
@pytest.mark.fault(54)
def test_a_program_inherits_no_signal_and_no_socket(shop: Workshop, app: Program):
    ignored, blocked = (
        int(app.wait_for(f"{name}:")[0][-16:], 16) & ~OF_THE_C_LIBRARY
        for name in ("SigIgn", "SigBlk")
    )
    assert ignored == blocked == 0
    app.wait_for(r"sh: .* 0 -> /dev/null")
    assert not [line for line in app.lines if "socket:[" in line]
    guard = guardian_of(app.pid)
    held = [os.readlink(f"/proc/{guard}/fd/{fd}") for fd in os.listdir(f"/proc/{guard}/fd")]
    assert sorted(each.split(":")[0] for each in held) == [
        "/dev/null",
        "/dev/null",
        "anon_inode",
        "pipe",
    ]
    found = pids(app)
    app.signal(signal.SIGKILL)
    app.ends()
    for pid in (*found, guard):
        wait_gone(pid, timeout=5)
    forget(shop)


@pytest.mark.fault(82)
def test_a_stop_in_order_leaves_nothing(shop: Workshop):
    shop.write("deaf.py", DEAF)
    shop.write("app.py", APP)
    program = shop.begin(
        "ginkgo",
        *("--set", "stop_timeout=3"),
        "app.App",
        env={"PORT": str(free_port())},
    )
    program.wait_for(r": pid \d+$", count=4)
    program.wait_for("SigIgn")
    guard = guardian_of(program.pid)
    assert program.stops(signal.SIGTERM) == 0
    assert not [pid for pid in pids(program) if alive(pid)]
    assert not alive(guard)
    assert len([line for line in program.lines if "and was killed" in line]) == 2


@pytest.mark.fault(86)
def test_a_forked_child_does_not_keep_the_guardian_waiting(shop: Workshop):
    shop.write(
        "forks.py",
        """
        import os
        from ginkgo import Command
        from ginkgo.async_ import native

        class Forks(Command):
            argv = ["sh", "-c", "echo pid $$; exec sleep 1000"]
            ready_when = "pid"

            def do_start(self):
                given = super().do_start()
                if os.fork() == 0:
                    native.sleep(1000)
                return given
        """,
    )
    program = shop.begin("ginkgo", "forks.Forks")
    line = program.wait_for(r": pid \d+$")[0]
    pid = int(line.split()[-1])
    program.signal(signal.SIGKILL)
    program.process.wait()
    wait_gone(pid, timeout=5)
    (child,) = shop.marked()  # it is no command, and nobody's business
    os.kill(child, signal.SIGKILL)
    wait_gone(child)
    forget(shop)


def test_the_guardian_ends_by_itself_when_nothing_runs(shop: Workshop):
    shop.write(
        "once.py",
        """
        from ginkgo import Command, Service

        class Once(Service):
            def __init__(self):
                self.command = self.add_service(Command(["sh", "-c", "exit 0"]))

            def do_start(self):
                self.spawn(self.look)

            def look(self):
                self.command.wait("stopped")
                print("over", flush=True)
        """,
    )
    program = shop.begin("ginkgo", "once.Once")
    program.wait_for("^over$")
    eventually(lambda: not Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text())
    assert program.stops(signal.SIGTERM) == 0
