"""What signals do to a real process, on every backend alike."""

from __future__ import annotations

import os
import signal

import pytest
from tests.cli.backends import Ground
from tests.workshop import Workshop

TALKS = """
    from ginkgo import Service

    class App(Service):
        ASYNC def do_start(self):
            self.spawn(self.work)
            print("up")

        ASYNC def work(self):
            count = 0
            while True:
                AWAIT self.async_.sleep(0.01)
                count += 1
                print("tick", count)

        ASYNC def do_reload(self):
            print("reloaded")

        ASYNC def do_stop(self):
            print("bye")
"""


@pytest.mark.fault("O4")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_it_in_order_with_status_0(ground: Ground, number: int) -> None:
    ground.write(TALKS)
    program = ground.begin()
    program.wait_for("^tick 2$")
    assert program.stops(number) == 0
    assert "Traceback" not in program.output
    assert program.lines.count("bye") == 1
    assert program.lines[-1].endswith("INFO runner: Stopping.")


@pytest.mark.fault("O4")
@pytest.mark.fault(66)
def test_other_signals_stop_nothing(ground: Ground) -> None:
    ground.write(TALKS)
    program = ground.begin()
    program.wait_for("^tick 2$")
    program.signal(signal.SIGHUP)
    program.wait_for("^reloaded$")
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN + 3):
        program.signal(number)
    count = int(program.lines[-1].split()[-1]) if program.lines[-1].startswith("tick") else 2
    program.wait_for(f"^tick {count + 5}$")
    assert program.stops() == 0


@pytest.mark.fault(61)
def test_a_hundred_sighups_are_few_reloads(ground: Ground) -> None:
    ground.write(
        """
        import os
        from ginkgo import Service

        class App(Service):
            ASYNC def do_start(self):
                print("up")

            ASYNC def do_reload(self):
                print("reloading")
                while not os.path.exists("gate"):
                    AWAIT self.async_.sleep(0.01)
                print("reloaded")
        """
    )
    program = ground.begin()
    program.wait_for("^up$")
    program.signal(signal.SIGHUP)
    program.wait_for("^reloading$")
    for _ in range(100):
        program.signal(signal.SIGHUP)
    ground.shop.write("gate", "")
    program.wait_for("^reloaded$", count=2)
    assert program.stops() == 0
    assert 2 <= program.lines.count("reloaded") <= 3


@pytest.mark.fault(60)
def test_sigquit_shows_what_everything_does(ground: Ground) -> None:
    ground.write(TALKS)
    program = ground.begin()
    program.wait_for("^tick 2$")
    assert program.stops(signal.SIGQUIT) == 0
    assert any(line.lstrip().endswith("in work") for line in program.lines)


SLOW_STOP = """
    import os
    from ginkgo import Service

    class App(Service):
        ASYNC def do_start(self):
            print("up")

        ASYNC def do_stop(self):
            print("stopping")
            while not os.path.exists("gate"):
                AWAIT self.async_.sleep(0.01)
            print("stopped once")
"""


@pytest.mark.fault(59)
def test_a_second_ctrl_c_ends_it_now(ground: Ground) -> None:
    ground.write(SLOW_STOP)
    program = ground.begin()
    program.wait_for("^up$")
    program.signal(signal.SIGINT)
    program.wait_for("^stopping$")
    assert program.stops(signal.SIGINT) == 130
    assert "second Ctrl+C" in program.output


@pytest.mark.fault(58)
def test_two_sigterms_are_one_stop(ground: Ground) -> None:
    ground.write(SLOW_STOP)
    program = ground.begin()
    program.wait_for("^up$")
    program.signal(signal.SIGTERM)
    program.wait_for("^stopping$")
    program.signal(signal.SIGTERM)
    ground.shop.write("gate", "")
    assert program.ends() == 0
    assert program.output.count("stopped once") == 1


@pytest.mark.fault(56)
@pytest.mark.parametrize("where", ["child", "parent"])
def test_a_stop_during_a_start_gives_it_up(ground: Ground, where: str) -> None:
    ground.write(
        f"""
        from ginkgo import Service

        class First(Service):
            ASYNC def do_stop(self):
                print("first stopped")

        class Slow(Service):
            ASYNC def do_start(self):
                print("starting")
                AWAIT self.async_.sleep(1000)
                print("never")

        class App(Slow):
            start_before = {where != "parent"}

            def __init__(self):
                self.add_service(First())
                if {where == "child"}:
                    self.do_start = lambda: None
                    self.add_service(Slow())
                    self.add_service(Never())

        class Never(Service):
            ASYNC def do_start(self):
                print("never")
        """
    )
    program = ground.begin()
    program.wait_for("^starting$")
    assert program.stops(signal.SIGTERM) == 0
    assert "first stopped" in program.output
    assert "never" not in program.lines
    assert "Traceback" not in program.output


@pytest.mark.fault(62)
def test_a_sighup_during_a_start_is_done_when_it_is_ready(ground: Ground) -> None:
    ground.write(
        """
        import os
        from ginkgo import Service

        class App(Service):
            ASYNC def do_start(self):
                print("starting")
                while not os.path.exists("gate"):
                    AWAIT self.async_.sleep(0.01)
                print("started")

            ASYNC def do_reload(self):
                print("reloaded")
        """
    )
    program = ground.begin()
    program.wait_for("^starting$")
    program.signal(signal.SIGHUP)
    ground.shop.write("gate", "")
    program.wait_for("^reloaded$")
    assert program.lines.index("started") < program.lines.index("reloaded")
    assert program.stops() == 0


@pytest.mark.fault(54)
def test_a_forked_childs_sigterm_is_not_the_parents(ground: Ground) -> None:
    ground.write(
        """
        import os, select
        from ginkgo import Service

        class App(Service):
            ASYNC def do_start(self):
                self.spawn(self.work)

            ASYNC def work(self):
                child = os.fork()
                if child == 0:
                    os.write(1, b"child is there\\n")
                    select.poll().poll(100000)
                print("child", child)
                pid = 0
                while not pid:
                    AWAIT self.async_.sleep(0.01)
                    pid, status = os.waitpid(child, os.WNOHANG)
                print("child ended by", os.WTERMSIG(status))
                for number in range(5):
                    AWAIT self.async_.sleep(0.02)
                print("parent lives")

            ASYNC def do_stop(self):
                print("bye")
        """
    )
    program = ground.begin("--set", "monkey_patch=false")
    [line] = program.wait_for(r"^child \d+$")
    program.wait_for("^child is there$")
    os.kill(int(line.split()[-1]), signal.SIGTERM)
    program.wait_for("child ended by 15")
    program.wait_for("parent lives")
    assert "bye" not in program.lines
    assert program.stops() == 0


@pytest.mark.parametrize(("given", "own"), [("asyncio", "threading"), ("threading", "asyncio")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_a_tree_that_came_with_a_backend_of_its_own(
    shop: Workshop, given: str, own: str, number: int
) -> None:
    shop.write("app.py", OWN_BACKEND.format(own))
    program = shop.begin("ginkgo", "--backend", given, "app.made")
    program.wait_for("^tick 2$")
    program.signal(signal.SIGHUP)
    program.wait_for("^reloaded$")
    assert program.stops(number) == 0
    assert program.lines.count("bye") == 1


OWN_BACKEND = """
    import time
    from ginkgo import Service

    class App(Service):
        def do_start(self):
            self.spawn(self.work)

        def work(self):
            print("tick 2")
            while not self.async_.stopping:
                time.sleep(0.01)

        def do_reload(self):
            print("reloaded")

        def do_stop(self):
            print("bye")

    def made():
        app = App()
        app.backend = {0!r}
        return app
"""
