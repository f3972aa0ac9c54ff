"""The bridge: coroutines for services that block, with all that may happen to either side."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from tests.dialects import GeventWorld
from tests.trees import Node, Wrong, plant
from tests.workshop import Workshop

from ginkgo import Service
from ginkgo.async_.bridge import bridge
from ginkgo.core.failure import StopTimeout


@pytest.fixture
def world(_nothing_left_behind: None) -> Iterator[GeventWorld]:
    world = GeventWorld()
    yield world
    world.close()
    bridge.close()


@pytest.fixture
def root(world: GeventWorld) -> Iterator[Node]:
    root = plant(world, "a")
    with root:
        yield root


class Coroutine:
    """A coroutine that hangs, and tells how it fared."""

    def __init__(self, takes: float = 0.0) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.takes = takes

    async def hang(self) -> None:
        try:
            self.begun.set()
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(self.takes)
            self.ended.set()


def until(condition: Any, seconds: float = 10.0) -> None:
    with gevent.Timeout(seconds, AssertionError("it never came true")):
        while not condition():
            gevent.sleep(0.001)


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_a_greenlet_gets_what_a_coroutine_returns(root: Node):
    assert root.async_.run(double(4)) == 8


def test_a_thread_gets_it_too(root: Node):
    assert root.async_.to_thread(root.async_.run, double(4)) == 8


def test_the_others_go_on_meanwhile(root: Node):
    ran = []
    root.spawn(ran.append, 1)
    root.async_.run(asyncio.sleep(0.02))
    assert ran == [1]


def test_it_runs_in_a_thread_of_its_own(root: Node):
    async def where() -> int:
        return threading.get_ident()

    assert root.async_.run(where()) == root.async_.run(where()) != threading.get_ident()


def test_an_error_is_raised_with_the_coroutines_traceback(root: Node):
    async def fails() -> None:
        raise Wrong("there")

    with pytest.raises(Wrong, match="there") as caught:
        root.async_.run(fails())
    assert "fails" in [entry.name for entry in caught.traceback]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_what_would_end_a_loop_does_not_end_the_bridge(root: Node, error: BaseException):
    async def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        root.async_.run(fails())
    assert root.async_.run(double(1)) == 2


def test_its_time_may_be_limited(root: Node):
    hanging = Coroutine()
    with pytest.raises(TimeoutError):
        root.async_.run(hanging.hang(), timeout=0.01)  # counted from its beginning
    assert hanging.ended.is_set()
    assert root.async_.run(double(1), timeout=10) == 2


def test_a_timeout_around_it_cancels_the_coroutine_and_waits_for_its_end(root: Node):
    hanging = Coroutine(takes=0.02)
    root.async_.run(double(1))  # the bridge is there
    with pytest.raises(TimeoutError), root.async_.timeout(0.5):
        root.async_.run(hanging.hang())
    assert hanging.ended.is_set()


def test_a_greenlet_that_is_killed_cancels_its_coroutine(root: Node):
    hanging = Coroutine()
    greenlet = gevent.spawn(root.async_.run, hanging.hang())
    until(hanging.begun.is_set)
    greenlet.kill()
    assert hanging.ended.is_set()


def test_one_that_is_killed_before_its_coroutine_has_begun_leaves_nothing(root: Node):
    for _ in range(20):
        greenlet = gevent.spawn(root.async_.run, double(1))
        gevent.sleep(0)
        greenlet.kill()
    assert root.async_.run(double(1)) == 2


def test_a_coroutine_that_is_cancelled_over_there_tells_so(root: Node):
    async def cancels_itself() -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    with pytest.raises(asyncio.CancelledError):
        root.async_.run(cancels_itself())
    root.spawn(cancels_itself).join()
    assert root.ready, "in a task that is a normal end"


def test_context_variables_go_along(root: Node):
    variable = contextvars.ContextVar("variable", default="before")

    async def reads() -> str:
        return variable.get()

    variable.set("here")
    assert root.async_.run(reads()) == "here"


def test_sixty_four_at_a_time_each_get_their_own(root: Node):
    def many(number: int) -> list[int]:
        return [root.async_.run(double(number + count)) for count in range(50)]

    greenlets = [gevent.spawn(many, 100 * number) for number in range(64)]
    for number, greenlet in enumerate(greenlets):
        assert greenlet.get() == [2 * (100 * number + count) for count in range(50)]


def test_a_function_in_an_executor_runs_in_a_native_thread(root: Node):
    async def asks() -> tuple[int, int]:
        return threading.get_ident(), await asyncio.to_thread(threading.get_ident)

    here, there = root.async_.run(asks())
    assert here != there


# -- tasks ------------------------------------------------------------------------------------


def test_a_coroutine_function_is_spawned_like_any_other(root: Node):
    task = root.spawn(double, 4)
    assert task in root._tasks
    assert task.get() == 8
    assert root.spawn_later(0.01, double, 5).get() == 10


def test_a_stop_cancels_it_and_waits_for_its_end(world: GeventWorld):
    hanging = Coroutine(takes=0.02)
    root = plant(world, "a")
    with root:
        root.spawn(hanging.hang)
        until(hanging.begun.is_set)
    assert hanging.ended.is_set()


def test_one_that_raises_fails_its_service_and_is_named(
    root: Node, caplog: pytest.LogCaptureFixture
):
    async def fails() -> None:
        raise Wrong("there")

    root.spawn(fails)
    root.wait("failed")
    assert "fails failed: there" in caplog.text


def test_it_is_called_again_and_again(root: Node):
    called = []

    async def work() -> None:
        called.append(threading.get_ident())

    root.every(0.001, work)
    until(lambda: len(called) > 2)
    assert threading.get_ident() not in called


@pytest.mark.fault(71)
def test_one_that_swallows_its_cancellation_does_not_hold_up_the_stop(world: GeventWorld):
    begun, closing = threading.Event(), threading.Event()

    async def swallows() -> None:
        begun.set()
        while not closing.is_set():
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                continue

    root = plant(world, "a")
    root.stop_timeout = 0.05
    root.start()
    task = root.spawn(swallows)
    until(begun.is_set)
    began = time.monotonic()
    with pytest.raises(StopTimeout):
        root.stop()
    assert time.monotonic() - began < 2
    closing.set()
    task.join()


# -- servers, and a patched process -----------------------------------------------------------


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"from the bridge"})


def test_an_asgi_server_runs_below_a_gevent_service(world: GeventWorld):
    from ginkgo.async_.asyncio import ASGIServer

    app = Service()
    server = app.add_service(ASGIServer(("127.0.0.1", 0), application, lifespan="off"))
    with app:
        url = f"http://127.0.0.1:{server.port}/"
        answer = app.async_.to_thread(lambda: urllib.request.urlopen(url).read())
        assert answer == b"from the bridge"
    assert server.handled == 1


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_it_works_where_gevent_has_patched_everything(shop: Workshop, loop: str):
    shop.write(
        "app.py",
        """
        import asyncio
        import gevent.server
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.server = gevent.server.StreamServer(("127.0.0.1", 0), self.handle)
                self.server.start()
                self.spawn(self.forever)
                print(self.async_.run(self.ask()), self.async_.run(asyncio.to_thread(abs, -5)))

            def handle(self, connection, address):
                connection.sendall(connection.recv(10).upper())
                connection.close()

            async def ask(self):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.server.server_port)
                writer.write(b"hello")
                answer = await reader.read()
                writer.close()
                return answer

            async def forever(self):
                kind = type(asyncio.get_running_loop()).__mro__[1]
                try:
                    print("on", kind.__module__.split(".")[0])
                    await asyncio.sleep(1000)
                finally:
                    print("cancelled")
        """,
    )
    program = shop.begin("ginkgo", "--set", f"loop={loop}", "app.App")
    program.wait_for("^b'HELLO' 5$")
    program.wait_for(f"^on {loop}$")
    assert program.stops() == 0
    assert "cancelled" in program.lines


@pytest.mark.fault(71)
def test_who_is_ended_in_the_moment_of_its_end_does_not_wait_for_it_again(world: GeventWorld):
    class Signal:
        def __init__(self) -> None:
            self.event = threading.Event()

        def set(self) -> None:
            self.event.set()

    waits = []

    def wait(signal: Signal) -> None:
        waits.append(signal.event.wait(5))
        if len(waits) == 1:  # woken by both at once, as a thread's strand may be
            raise Wrong("told to end")

    with pytest.raises(Wrong):
        bridge.run(asyncio.sleep(0), None, Signal(), wait)
    assert waits == [True]
