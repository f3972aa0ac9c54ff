"""How a real process ends, with which status and how soon, on every backend alike."""

from __future__ import annotations

import signal
import socket
import time

import pytest
from tests.cli.backends import Ground

ROOM = 4.0  # seconds for the rest of a stop, on a machine that has other things to do


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("raises", "status"),
    [
        ("SystemExit(3)", 3),
        ("SystemExit()", 0),
        ("SystemExit('a word')", 1),
        ("KeyboardInterrupt()", 130),
    ],
)
def test_exit_in_a_task_ends_the_process_in_order(ground: Ground, raises: str, status: int) -> None:
    ground.write(
        f"""
        from ginkgo import Service

        class Worker(Service):
            ASYNC def do_start(self):
                self.spawn(self.work)

            ASYNC def work(self):
                AWAIT self.async_.sleep(0.01)
                raise {raises}

        class App(Service):
            def __init__(self):
                self.add_service(Worker())

            ASYNC def do_stop(self):
                print("in order")
        """
    )
    result = ground.run()
    assert result.returncode == status, result.stderr
    assert "in order" in result.stdout
    assert "Traceback" not in result.stderr
    assert ("a word" in result.stderr) is ("word" in raises)


@pytest.mark.fault(29)
def test_a_failed_task_ends_the_process_with_70_and_the_users_traceback(ground: Ground) -> None:
    ground.write(
        """
        from ginkgo import Service

        class Worker(Service):
            ASYNC def do_start(self):
                self.spawn(self.work)

            ASYNC def work(self):
                AWAIT self.async_.sleep(0.01)
                return 1 / 0

        class App(Service):
            def __init__(self):
                self.add_service(Worker())

            ASYNC def do_stop(self):
                print("in order")
        """
    )
    result = ground.run()
    assert result.returncode == 70
    assert "in order" in result.stdout
    assert result.stderr.count("Traceback") == 1
    assert "App/Worker: task Worker.work failed" in result.stderr
    assert "ginkgo/async_" not in result.stderr
    assert "never retrieved" not in result.stderr


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    ("does", "status", "words"),
    [
        ("raise ValueError('no luck')", 70, "no luck"),
        ("raise SystemExit(5)", 5, ""),
        ("AWAIT self.async_.sleep(1000)", 75, "do_start did not return within 0.2 s"),
        ("return self.NOT_READY", 75, "started, but not ready within 0.2 s"),
    ],
    ids=["raises", "exits", "hangs", "never ready"],
)
@pytest.mark.fault(9)
@pytest.mark.fault(10)
def test_a_start_that_fails_is_undone_and_told(
    ground: Ground, does: str, status: int, words: str
) -> None:
    ground.write(
        f"""
        from ginkgo import Service

        class First(Service):
            ASYNC def do_stop(self):
                print("first stopped")

        class Bad(Service):
            start_timeout = 0.2

            ASYNC def do_start(self):
                {does}

        class App(Service):
            def __init__(self):
                self.add_service(First())
                self.add_service(Bad())

            ASYNC def do_start(self):
                print("never")
        """
    )
    result = ground.run()
    assert result.returncode == status, result.stderr
    assert "first stopped" in result.stdout
    assert "never" not in result.stdout.splitlines()
    assert words in result.stderr
    assert "App/Bad" in result.stderr


@pytest.mark.fault(1)
def test_a_taken_port_fails_the_start_with_69(ground: Ground) -> None:
    module = "asyncio" if ground.awaits else ground.name
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ground.write(
            f"""
            from ginkgo import Service
            from ginkgo.async_.{module} import StreamServer

            class App(Service):
                def __init__(self):
                    self.add_service(StreamServer(("127.0.0.1", {taken.getsockname()[1]}), print))
            """
        )
        result = ground.run()
    assert result.returncode == 69
    assert "App/StreamServer cannot listen on 127.0.0.1:" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.fault(73)
@pytest.mark.fault("O2")
def test_a_raising_do_stop_stops_the_rest_and_ends_with_70(ground: Ground) -> None:
    ground.write(
        """
        from ginkgo import Service

        class Child(Service):
            ASYNC def do_stop(self):
                print("child stops")
                raise ValueError("cannot stop")

        class App(Service):
            def __init__(self):
                self.add_service(Child())
                self.add_service(Child())

            ASYNC def do_start(self):
                print("up")
        """
    )
    program = ground.begin()
    program.wait_for("^up$")
    assert program.stops(signal.SIGTERM) == 70
    assert program.lines.count("child stops") == 2
    assert "App/Child-2" in program.output


@pytest.mark.fault(74)
def test_do_stops_that_hang_share_the_overall_deadline(ground: Ground) -> None:
    ground.write(
        """
        from ginkgo import Service

        class Child(Service):
            stop_timeout = 1000

            ASYNC def do_stop(self):
                print("hangs")
                AWAIT self.async_.sleep(1000)

        class App(Service):
            def __init__(self):
                for number in range(5):
                    self.add_service(Child())

            ASYNC def do_start(self):
                print("up")
        """
    )
    program = ground.begin("--set", "shutdown_timeout=0.5")
    program.wait_for("^up$")
    began = time.monotonic()
    assert program.stops(signal.SIGTERM) == 75
    assert time.monotonic() - began < 0.5 + ROOM
    assert "had not ended after 0.5 s" in program.output


@pytest.mark.fault(74)
def test_each_do_stop_that_hangs_is_given_up_in_its_own_time(ground: Ground) -> None:
    ground.write(
        """
        from ginkgo import Service

        class Child(Service):
            stop_timeout = 0.1

            ASYNC def do_stop(self):
                print("hangs")
                AWAIT self.async_.sleep(1000)

        class App(Service):
            def __init__(self):
                for number in range(5):
                    self.add_service(Child())

            ASYNC def do_start(self):
                print("up")
        """
    )
    program = ground.begin()
    program.wait_for("^up$")
    began = time.monotonic()
    assert program.stops(signal.SIGTERM) == 70
    assert time.monotonic() - began < 0.5 + ROOM
    assert program.lines.count("hangs") == 5
    assert "App/Child-5: do_stop did not return within 0.1 s" in program.output


STUBBORN = {
    "task": "AWAIT self.swallow()",
    "thread": "threading.Thread(target=native_sleep, args=(1000,)).start()",
    "pool": "concurrent.futures.ThreadPoolExecutor().submit(native_sleep, 1000)",
    "job": "AWAIT self.async_.to_thread(native_sleep, 1000)",
}


@pytest.mark.fault(71)
@pytest.mark.fault(72)
@pytest.mark.fault(85)
@pytest.mark.parametrize("what", STUBBORN)
def test_what_does_not_end_cannot_keep_the_process(ground: Ground, what: str) -> None:
    ground.write(
        f"""
        import concurrent.futures, threading
        from time import sleep as native_sleep
        from ginkgo import Service

        class App(Service):
            stop_timeout = 0.5

            ASYNC def do_start(self):
                self.spawn(self.work)

            ASYNC def do_stop(self):
                print("bye")

            ASYNC def work(self):
                print("up")
                {STUBBORN[what]}

            ASYNC def swallow(self):
                while True:
                    try:
                        AWAIT self.async_.sleep(1000)
                    except BaseException:
                        pass
        """
    )
    program = ground.begin("--set", "monkey_patch=false")
    program.wait_for("^up$")
    began = time.monotonic()
    status = program.stops(signal.SIGTERM)
    assert time.monotonic() - began < 0.5 + ROOM
    assert "bye" in program.lines
    if what == "task":
        assert status == 70
        assert "App: a task is left behind" in program.output
        assert "App.work" in program.output
    elif what in ("thread", "pool"):
        assert status == 0


@pytest.mark.fault(83)
def test_a_daemon_is_started_reloaded_and_stopped_and_its_log_is_whole(ground: Ground) -> None:
    ground.write(
        """
        import logging
        from ginkgo import Service

        class App(Service):
            ASYNC def do_start(self):
                print("started")

            ASYNC def do_reload(self):
                print("reloaded")

            ASYNC def do_stop(self):
                logging.getLogger("app").info("the last word")
        """
    )
    log = ground.shop.folder / "app.log"
    started = ground.run("-d", "--set", f"logfile={log}")
    assert started.returncode == 0, started.stderr
    assert "ready" in ground.shop.ctl("app.App", "status").stdout
    assert ground.shop.ctl("app.App", "reload").returncode == 0
    assert ground.shop.ctl("app.App", "stop").returncode == 0
    assert ground.shop.ctl("app.App", "status").returncode == 3
    lines = log.read_text().splitlines()
    assert [word for line in lines for word in ("started", "reloaded") if word in line]
    assert any(line.endswith("the last word") for line in lines)
    assert lines[-1].endswith("Stopping.")


@pytest.mark.fault(22)
def test_a_daemon_whose_start_fails_says_why(ground: Ground) -> None:
    ground.write(
        """
        from ginkgo import Service

        class App(Service):
            ASYNC def do_start(self):
                raise ValueError("no luck")
        """
    )
    result = ground.run("-d")
    assert result.returncode == 70
    assert "no luck" in result.stderr
