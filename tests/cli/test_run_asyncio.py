"""``ginkgo`` and ``ginkgoctl`` with a tree that runs on asyncio."""

from __future__ import annotations

import signal
import time

import pytest
from tests.workshop import Workshop

HELLO = """
    import asyncio
    from ginkgo import Service

    class Hello(Service):
        async def do_start(self):
            self.spawn(self.forever)

        async def forever(self):
            print("Hello from", type(asyncio.get_running_loop()).__module__.split(".")[0])
            await asyncio.sleep(1000)

        async def do_reload(self):
            print("reloaded")

        def do_stop(self):
            print("bye")

    class Ends(Hello):
        async def forever(self):
            raise SystemExit(3)

    class Stubborn(Hello):
        stop_timeout = 0.3

        async def forever(self):
            import time
            asyncio.get_running_loop().run_in_executor(None, time.sleep, 1000)
            print("Hello")
            while True:
                try:
                    await asyncio.sleep(1000)
                except BaseException:
                    pass
"""


@pytest.fixture
def hello(shop: Workshop) -> Workshop:
    shop.write("hello.py", HELLO)
    return shop


@pytest.mark.fault("O4")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_and_reload_it(hello: Workshop, number: int, loop: str) -> None:
    program = hello.begin("ginkgo", "--set", f"loop={loop}", "hello.Hello")
    program.wait_for(f"^Hello from {loop}$")
    assert "Hello.do_start is a coroutine function: Hello runs on asyncio" in program.output
    program.signal(signal.SIGHUP)
    program.wait_for("^reloaded$")
    assert program.stops(number) == 0
    assert program.lines[-2] == "bye"


@pytest.mark.fault(30)
def test_a_system_exit_in_a_task_stops_it_in_order(hello: Workshop) -> None:
    program = hello.begin("ginkgo", "hello.Ends")
    assert program.ends() == 3
    assert "bye" in program.lines


@pytest.mark.fault(71)
@pytest.mark.fault(72)
def test_a_task_and_an_executor_job_that_never_end_do_not_hold_it_up(hello: Workshop) -> None:
    program = hello.begin("ginkgo", "hello.Stubborn")
    program.wait_for("^Hello$")
    began = time.monotonic()
    program.stops(signal.SIGTERM)
    assert time.monotonic() - began < 5
    assert "bye" in program.lines
    assert "Stubborn: a task is left behind" in program.output
    assert "Stubborn.forever" in program.output


def test_a_daemon_is_started_reloaded_and_stopped(hello: Workshop) -> None:
    assert hello.ginkgo("-d", "hello.Hello").returncode == 0
    assert "ready" in hello.ctl("hello.Hello", "status").stdout
    assert hello.ctl("hello.Hello", "reload").returncode == 0
    assert hello.ctl("hello.Hello", "stop").returncode == 0
