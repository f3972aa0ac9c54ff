"""``self.async_.to_thread``: functions that block, with one meaning on every backend."""

from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from tests.dialects import World, done
from tests.trees import Node, Wrong, plant
from tests.workshop import Workshop

from ginkgo.async_.bridge import bridge

BLOCKED = (sys.executable, "-c", "import signal; print(len(signal.pthread_sigmask(0, ())))")
"""A program that says how many signals it was born without."""


@pytest.fixture
def world(world: World) -> Iterator[World]:
    yield world
    assert bridge.close()


async def test_many_functions_run_at_a_time(world: World):
    root = plant(world, "a")
    await done(root.start())
    all_there = threading.Barrier(30)
    asked = [world.ask(root.async_.to_thread, all_there.wait, 10) for _ in range(30)]
    assert sorted([await each.result() for each in asked]) == list(range(30))
    await done(root.stop())


async def test_context_variables_go_along_and_do_not_come_back(world: World):
    root = plant(world, "a")
    await done(root.start())
    variable = contextvars.ContextVar("variable", default="nothing")

    def read_and_set() -> str:
        before = variable.get()
        variable.set("there")
        return before

    variable.set("here")
    assert await done(root.async_.to_thread(read_and_set)) == "here"
    assert variable.get() == "here"
    await done(root.stop())


@pytest.mark.parametrize("error", [Wrong("there"), SystemExit(3)], ids=repr)
async def test_what_it_raises_is_raised_in_who_waits_and_nowhere_else(
    world: World, error: BaseException, capfd: pytest.CaptureFixture[str]
):
    root = plant(world, "a")
    await done(root.start())

    def raises() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await done(root.async_.to_thread(raises))
    assert "raises" in [entry.name for entry in caught.traceback]
    assert capfd.readouterr().err == ""
    assert root.ready
    await done(root.stop())


async def test_a_wait_that_is_ended_leaves_the_thread_to_itself(world: World):
    root = plant(world, "a")
    await done(root.start())
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def stubborn() -> None:
        begun.set()
        may_end.wait(10)
        ended.set()

    task = root.spawn(root.async_.to_thread, stubborn)
    while not begun.is_set():
        await world.sleep(0.001)
    began = time.monotonic()
    await done(root.stop())
    assert time.monotonic() - began < 2
    assert world.ended(task)
    assert not ended.is_set()
    may_end.set()
    ended.wait(10)


async def test_coroutine_functions_await_it(world: World):
    root = plant(world, "a")
    await done(root.start())

    async def work(node: Node) -> tuple[int, int]:
        return threading.get_ident(), await node.async_.to_thread(threading.get_ident)

    here, there = await world.result(root.spawn(work, root))
    assert here != there
    await done(root.stop())


async def test_a_program_that_is_started_there_gets_its_signals(world: World):
    root = plant(world, "a")
    await done(root.start())

    async def on_the_loop() -> bytes:
        return subprocess.check_output(BLOCKED)

    assert await done(root.async_.to_thread(subprocess.check_output, BLOCKED)) == b"0\n"
    assert await done(root.async_.run(on_the_loop())) == b"0\n"
    await done(root.stop())


@pytest.mark.parametrize("backend", ["gevent", "asyncio", "threading"])
@pytest.mark.parametrize("way", ["to_thread", "coroutine"])
def test_a_function_that_never_returns_does_not_hold_the_process(
    shop: Workshop, backend: str, way: str
):
    shop.write(
        "app.py",
        f"""
        import asyncio, socket
        from ginkgo import Service

        class App(Service):
            backend = {backend!r}
            stop_timeout = 0.5

            def do_start(self):
                self.spawn(self.{way})

            def to_thread(self):
                return self.async_.to_thread(self.never_returns)

            async def coroutine(self):
                await asyncio.to_thread(self.never_returns)

            def never_returns(self):
                print("blocks", flush=True)
                one, other = socket.socketpair()
                while True:
                    one.recv(1)
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^blocks$")
    began = time.monotonic()
    program.stops()
    assert time.monotonic() - began < 5
