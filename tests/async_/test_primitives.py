"""``service.async_``: the same words on every backend."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from tests.dialects import World, done, within
from tests.trees import Node, Wrong, hang, plant

from ginkgo import Service
from ginkgo.async_.bridge import bridge
from ginkgo.core.context import context
from ginkgo.core.errors import ConfigError


async def test_sleep_lets_others_run(world: World):
    root = plant(world, "a")
    await done(root.start())
    ran = []
    root.spawn(ran.append, 1)
    await done(root.async_.sleep(0))
    assert ran == [1]
    began = time.monotonic()
    await done(root.async_.sleep(0.02))
    assert time.monotonic() - began >= 0.018
    await done(root.stop())


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_functions_of_both_kinds_sleep_and_end_when_told(world: World, kind: str):
    root = plant(world, "a")
    await done(root.start())
    begun = []

    def plain() -> None:
        root.async_.sleep(0.001)
        begun.append(1)
        root.async_.sleep(1000)
        begun.append(2)

    async def coroutine() -> None:
        await root.async_.sleep(0.001)
        begun.append(1)
        await root.async_.sleep(1000)
        begun.append(2)

    task = root.spawn(plain if kind == "plain" else coroutine)
    while not begun:
        await world.sleep(0.005)
    began = time.monotonic()
    await done(root.stop())
    assert time.monotonic() - began < 2
    assert begun == [1]
    assert world.ended(task)
    assert root.state == "stopped"
    bridge.close()


async def test_an_event_is_waited_for(world: World):
    root = plant(world, "a")
    await done(root.start())
    event = root.async_.event()
    assert not event.is_set()
    assert not await done(event.wait(timeout=0.01))
    root.spawn(event.set)
    assert await done(event.wait())
    assert event.is_set()
    event.clear()
    assert not event.is_set()
    await done(root.stop())


async def test_a_queue_hands_over_in_order(world: World):
    root = plant(world, "a")
    await done(root.start())
    jobs = root.async_.queue()
    for number in range(3):
        await done(jobs.put(number))
    assert [await done(jobs.get()) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(queue.Empty):
        await done(jobs.get(timeout=0.01))
    await done(root.stop())


async def test_a_full_queue_makes_who_puts_wait(world: World):
    root = plant(world, "a")
    await done(root.start())
    jobs = root.async_.queue(maxsize=1)
    await done(jobs.put(1))
    putting = world.ask(jobs.put, 2)
    await world.breathe()
    assert not putting.ended
    assert await done(jobs.get()) == 1
    await putting.result()
    assert await done(jobs.get()) == 2
    await done(root.stop())


async def test_a_lock_is_held_by_one_at_a_time(world: World):
    root = plant(world, "a")
    await done(root.start())
    lock = root.async_.lock()
    inside = []

    async def work(number: int) -> None:
        async with within(lock):
            inside.append(number)
            await done(root.async_.sleep(0))
            inside.append(number)

    for number in range(3):
        root.spawn(world.play, work, number)
    await world.breathe()
    assert inside == [0, 0, 1, 1, 2, 2]
    await done(root.stop())


async def test_a_timeout_is_a_timeout_error(world: World):
    root = plant(world, "a")
    with pytest.raises(TimeoutError):
        async with within(root.async_.timeout(0.01)):
            await hang(root)
    for enough in (10, None):
        async with within(root.async_.timeout(enough)):
            await world.sleep(0)


async def test_a_timeout_may_raise_what_one_likes(world: World):
    root = plant(world, "a")
    with pytest.raises(Wrong):
        async with within(root.async_.timeout(0.01, Wrong("late"))):
            await hang(root)


async def test_a_timeout_where_one_blocks_is_like_gevents(world: World):
    root = plant(world, "a")
    if world.name == "gevent":
        import gevent

        with pytest.raises(gevent.Timeout), root.async_.timeout(0.01):
            await hang(root)
    async with within(root.async_.timeout(0.01, False)):
        await hang(root)


async def test_a_function_that_blocks_runs_in_a_thread(world: World):
    root = plant(world, "a")
    await done(root.start())
    ran = []
    root.spawn(ran.append, 1)

    def block(*args: object, **kwargs: object) -> object:
        time.sleep(0.02)
        return threading.get_ident(), args, kwargs

    where, args, kwargs = await done(root.async_.to_thread(block, 1, two=2))
    assert where != threading.get_ident()
    assert (args, kwargs) == ((1,), {"two": 2})
    assert ran == [1], "the others go on meanwhile"
    with pytest.raises(Wrong):
        await done(root.async_.to_thread(raise_wrong))
    await done(root.stop())


def raise_wrong() -> None:
    raise Wrong


async def test_a_task_that_waits_for_a_thread_is_ended_like_any_other(world: World):
    root = plant(world, "a")
    await done(root.start())
    may_end = threading.Event()
    task = root.spawn(root.async_.to_thread, may_end.wait)
    await world.sleep(0.01)
    await done(root.stop())
    assert world.ended(task)
    may_end.set()


async def test_a_thread_that_asks_for_a_thread_is_one_already(world: World):
    root = plant(world, "a")
    await done(root.start())
    inner = await world.in_thread(root.async_.to_thread, threading.get_ident)
    assert inner != threading.get_ident()
    await done(root.stop())


async def test_stopping_is_true_from_the_first_moment_of_a_stop(world: World):
    seen = {}

    async def look(node: Node) -> None:
        seen[node.story[-1]] = node.async_.stopping

    async def work(node: Node) -> None:
        try:
            await hang(node)
        finally:
            seen["task"] = node.async_.stopping

    root = plant(world, "a", a={"start": look, "reload": look, "stop": look})
    assert not root.async_.stopping
    await done(root.start())
    root.task(work)
    await done(root.reload())
    await world.breathe()
    await done(root.stop())
    assert seen == {"+a": False, "~a": False, "task": True, "-a": True}
    assert root.async_.stopping


async def test_the_primitives_spawn_tasks_of_their_service(world: World):
    root = plant(world, "a")
    await done(root.start())
    task = root.async_.spawn(world.play, hang, root)
    later = root.async_.spawn_later(60, bool)
    assert root._tasks == {task, later}
    await done(root.stop())


def test_the_primitives_are_there_before_the_start():
    class App(Service):
        def __init__(self) -> None:
            self.jobs = self.async_.queue()
            self.woken = self.async_.event()

    with App() as app:
        app.jobs.put(1)
        assert app.jobs.get() == 1


# -- backends by name -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gevent", "ginkgo.async_.gevent"])
def test_a_backend_is_chosen_by_its_name_and_by_that_of_0_6(name: str):
    class App(Service):
        backend = name

    with App() as app:
        assert app.backend_in_use.name == "gevent"


def test_a_backend_that_does_not_exist_is_told_with_those_that_do():
    class App(Service):
        backend = "twisted"

    with pytest.raises(ConfigError, match="there is no backend 'twisted'") as caught:
        App().start()
    assert "gevent" in caught.value.hint


def test_the_root_chooses_the_backend_of_its_tree(monkeypatch: pytest.MonkeyPatch):
    class Child(Service):
        backend = "another"

    monkeypatch.setattr(context, "backend", "nonsense")

    class App(Service):
        backend = "gevent"

        def __init__(self) -> None:
            self.child = self.add_service(Child())

    with App() as app:
        assert app.child.backend_in_use is app.backend_in_use


def test_the_servers_of_0_6_are_found_in_the_module_of_their_backend():
    from ginkgo.async_ import gevent

    with pytest.raises(AttributeError, match="has no attribute 'NoServer'"):
        _ = gevent.NoServer
