"""What is asyncio's own: loops, hooks of both kinds, worker threads, scripts without a runner."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import sys
import threading
from typing import Any

import pytest
from tests.dialects import WORLDS, World
from tests.trees import Wrong
from tests.workshop import Workshop

from ginkgo import Service
from ginkgo.async_.loops import new_loop
from ginkgo.core.context import context
from ginkgo.core.errors import ConfigError, UsageError


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, _nothing_left_behind: None) -> Any:
    world: World = WORLDS[request.param]()
    yield world
    world.close()
    world.leave()


# -- hooks ------------------------------------------------------------------------------------


async def test_hooks_of_both_kinds_run_in_the_loops_thread(world: World):
    seen = []

    class App(Service):
        def do_start(self) -> None:
            seen.append(threading.get_ident())

        async def do_stop(self) -> None:
            await self.async_.sleep(0)
            seen.append(threading.get_ident())

    async with App():
        pass
    assert seen == [threading.get_ident()] * 2


async def test_a_plain_hook_may_begin_what_it_cannot_await(world: World):
    class App(Service):
        def __init__(self) -> None:
            self.other = Service()

        def do_start(self) -> Any:
            self.begun = self.other.start()

        def do_stop(self) -> Any:
            return self.other.stop()  # what a hook returns is awaited

    app = App()
    async with app:
        await app.begun
        assert app.other.ready
    assert app.other.state == "stopped"


async def test_an_error_of_a_start_that_nobody_asks_for_is_told(
    world: World, caplog: pytest.LogCaptureFixture
):
    class Child(Service):
        async def do_start(self) -> None:
            raise Wrong("child")

    class App(Service):
        def do_start(self) -> None:
            child.start()

    child = Child()
    async with App():
        await world.breathe()
    assert [record.getMessage() for record in caplog.records] == ["Child: start failed: child"]


async def test_timeouts_within_a_hook_that_began_at_once_are_its_own(world: World):
    class App(Service):
        async def do_start(self) -> None:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.sleep(10)
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(0))

    async with App() as app:
        assert app.ready


async def test_a_hook_that_is_cancelled_at_its_first_wait_may_clean_up(world: World):
    told: list[str] = []

    class App(Service):
        async def do_start(self) -> None:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                told.append("cancelled")
                await asyncio.sleep(0)
                told.append("cleaned up")

    async with App():
        assert told == ["cancelled", "cleaned up"]


async def test_lifecycle_calls_are_futures_for_those_who_gather_them(world: World):
    services = [Service() for _ in range(3)]
    await asyncio.gather(*(service.start() for service in services))
    await asyncio.wait([service.stop() for service in services])
    await asyncio.wait_for(services[0].start(), 5)
    await services[0].stop()


# -- tasks ------------------------------------------------------------------------------------


async def test_a_plain_function_runs_in_a_worker_thread_with_its_context(world: World):
    variable = contextvars.ContextVar("variable", default="before")
    variable.set("here")
    async with Service() as service:
        thread, value = await service.spawn(lambda: (threading.get_ident(), variable.get()))
        assert thread != threading.get_ident()
        assert value == "here"
        assert await service.spawn(lambda: later()) == "awaited", "a coroutine function in disguise"


async def later() -> str:
    await asyncio.sleep(0)
    return "awaited"


async def test_a_stop_waits_for_a_worker_thread_that_sees_it(world: World):
    told = []

    def work() -> None:
        while not service.async_.stopping:
            pause.wait(0.001)
        told.append("saw it")

    pause = threading.Event()
    service = Service()
    async with service:
        service.spawn(work)
    assert told == ["saw it"]


async def test_a_worker_thread_may_wait_for_a_coroutine(world: World):
    async with Service() as service:
        assert await service.spawn(lambda: service.async_.run(later())) == "awaited"
        assert await service.async_.run(later(), timeout=5) == "awaited"
        with pytest.raises(TimeoutError):
            await service.async_.run(asyncio.sleep(10), timeout=0.01)


async def test_nobody_is_told_twice_of_a_task_that_raises(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def fails() -> None:
        raise Wrong("task")

    service = Service()
    await service.start()
    service.spawn(fails)
    await service.wait("failed")
    await world.breathe()
    assert [record.name for record in caplog.records] == ["ginkgo.core.tasks"]


# -- loops ------------------------------------------------------------------------------------


async def test_a_service_that_lives_in_the_loop_of_another_thread_may_be_awaited(world: World):
    service = Service()
    await service.start()

    async def elsewhere() -> None:
        await service.restart()
        await service.wait("ready")
        await service.stop()

    await world.in_thread(asyncio.run, elsewhere())
    assert service.state == "stopped"


def test_a_tree_at_rest_lives_in_the_loop_that_starts_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(context, "backend", "asyncio")
    service = Service()

    async def once() -> None:
        async with service:
            assert service.backend_in_use.loop is asyncio.get_running_loop()

    asyncio.run(once())
    asyncio.run(once())
    assert service.state == "stopped"


async def test_what_was_spawned_outside_of_the_loop_is_told(world: World):
    async def elsewhere() -> None:
        with pytest.raises(UsageError, match="lives in another event loop of this thread"):
            await service.start()

    service = Service()
    service.spawn(later)
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        asyncio.run(elsewhere())
    finally:
        asyncio._set_running_loop(loop)
    await service.stop()


def test_a_loop_that_is_not_installed_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(ConfigError, match="uvloop is not installed") as caught:
        new_loop("uvloop")
    assert str(caught.value).endswith('pip install "ginkgo[asyncio]"')
    new_loop("auto").close()
    with pytest.raises(ConfigError, match="there is no loop 'twisted'"):
        new_loop("twisted")


# -- scripts ----------------------------------------------------------------------------------

SERVICE = """
    import asyncio
    import threading
    from ginkgo import Service

    class App(Service):
        backend = "asyncio"

        async def do_start(self):
            self.spawn(self.work)

        async def work(self):
            print("working", flush=True)
            await asyncio.sleep(1000)

        async def do_stop(self):
            print("bye", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "main", ["App().serve_forever()", "asyncio.run(main())"], ids=["plain", "awaited"]
)
def test_a_script_is_stopped_in_order(shop: Workshop, main: str, number: int):
    text = SERVICE + "\n    async def main():\n        await App().serve_forever()\n"
    path = shop.write(
        "script.py",
        f"{text}\n    try:\n        {main}\n    finally:\n        print('the end', flush=True)\n",
    )
    program = shop.begin(sys.executable, str(path))
    program.wait_for("^working$")
    program.stops(number)
    assert program.lines[1:3] == ["bye", "the end"]
    assert "never retrieved" not in program.output
    assert "pending" not in program.output


@pytest.mark.fault(30)
def test_a_system_exit_in_a_task_ends_a_script_in_order(shop: Workshop):
    text = SERVICE.replace("await asyncio.sleep(1000)", "raise SystemExit(3)")
    path = shop.write("script.py", text + "\n    App().serve_forever()\n")
    program = shop.begin(sys.executable, str(path))
    assert program.ends() == 3
    assert program.lines == ["working", "bye"]


@pytest.mark.fault(71)
@pytest.mark.fault(72)
def test_a_script_ends_though_a_task_and_a_thread_do_not(shop: Workshop):
    path = shop.write(
        "script.py",
        SERVICE
        + """
    class Stubborn(App):
        stop_timeout = 0.2

        async def do_start(self):
            self.spawn(threading.Event().wait)
            self.spawn(self.swallow)

        async def swallow(self):
            print("working", flush=True)
            while True:
                try:
                    await asyncio.sleep(1000)
                except BaseException:
                    pass

    try:
        Stubborn().serve_forever()
    except TimeoutError as error:
        print(error)
    """,
    )
    program = shop.begin(sys.executable, str(path))
    program.wait_for("^working$")
    assert program.stops(signal.SIGTERM) == 0
    assert "Stubborn: 2 tasks did not end when told to" in program.output
