"""Calls from native threads, which have no part in the loop: they block, and are as safe as any."""

from __future__ import annotations

import threading
import time

import pytest
from tests.dialects import World, done
from tests.trees import SEVEN, Node, Wrong, at, fail, hang, plant, ready_later

from ginkgo import require_ready
from ginkgo.core.errors import UsageError
from ginkgo.core.failure import Abandoned, SpawnRefused


async def test_a_tree_is_started_reloaded_restarted_and_stopped_by_a_thread(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    await world.in_thread(root.stop)
    root.forget()
    await world.in_thread(root.start)
    assert root.told == "+d +e +b +f +g +c +a"
    root.forget()
    await world.in_thread(root.reload)
    assert root.told == "~d ~e ~b ~f ~g ~c ~a"
    root.forget()
    await world.in_thread(root.restart)
    assert root.told == "-a -c -g -f -b -e -d +d +e +b +f +g +c +a"
    root.forget()
    await world.in_thread(root.stop)
    assert root.told == "-a -c -g -f -b -e -d"


async def test_hooks_and_tasks_run_in_the_trees_own_thread(world: World):
    seen = []

    async def look(*_: object) -> None:
        seen.append(threading.get_ident())

    root = plant(world, "a", a={"start": look, "stop": look, "reload": look})
    await done(root.start())
    await world.in_thread(root.restart)
    await world.in_thread(root.reload)
    await world.in_thread(root.spawn, world.task(look))
    await world.breathe()
    await world.in_thread(root.stop)
    assert len(seen) == 6
    if world.loop:
        assert set(seen) == {threading.get_ident()}
    else:
        assert threading.get_ident() not in seen


async def test_errors_reach_the_thread_that_asked(world: World):
    root = plant(world, "a(b)")
    await done(root.start())
    root["b"].scripts.update(reload=fail, stop=fail)
    with pytest.raises(Wrong):
        await world.in_thread(root.reload)
    with pytest.raises(Wrong):
        await world.in_thread(root.stop)
    root["b"].scripts["start"] = fail
    with pytest.raises(Wrong):
        await world.in_thread(root.start)
    with pytest.raises(UsageError):
        await world.in_thread(root.wait, "nonsense")


async def test_a_thread_may_stop_what_another_starts(world: World):
    root = plant(world, "a(b)")
    await done(root.start())
    await done(root.stop())
    root["b"].scripts["start"] = hang
    start = world.ask(world.in_thread, root.start)
    await done(root.wait("starting"))
    await world.in_thread(root.stop)
    with pytest.raises(Abandoned):
        await start.result()
    assert root.state == "stopped"


async def test_twenty_threads_at_once_do_no_harm(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    askers = [
        world.ask(world.in_thread, getattr(root, call))
        for call in ("start", "stop", "reload", "restart") * 5
    ]
    for asker in askers:
        try:
            await asker.result()
        except Abandoned:
            pass
    await done(root.stop())
    assert all(root.told.count(f"+{name}") == root.told.count(f"-{name}") for name in "abcdefg")


async def test_a_task_is_spawned_by_a_thread(world: World):
    root = plant(world, "a")
    await done(root.start())

    async def where() -> int:
        return threading.get_ident()

    task = await world.in_thread(root.spawn, world.play, where)
    assert (await world.result(task) == threading.get_ident()) is world.loop
    later = await world.in_thread(root.spawn_later, 60, bool)
    often = await world.in_thread(root.every, 60, bool)
    assert root._tasks == {later}
    await done(root.stop())
    assert world.ended(later)
    assert often.cancelled


async def test_nothing_is_spawned_by_a_thread_in_a_service_that_is_stopped(world: World):
    root = plant(world, "a")
    await done(root.start())
    await done(root.stop())
    with pytest.raises(SpawnRefused):
        await world.in_thread(root.spawn, bool)


async def test_a_stop_that_overtakes_the_spawn_of_a_thread_refuses_it(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    root = plant(world, "a")
    await done(root.start())
    backend = root.backend_in_use
    posted = threading.Event()
    late = "post" if world.loop else "spawn"  # what happens after it was asked whether it may

    def call_late(*args):
        if threading.current_thread() is not threading.main_thread():
            posted.set()
            stopped.wait(10)
        return getattr(type(backend), late)(backend, *args)

    stopped = threading.Event()
    monkeypatch.setattr(backend, late, call_late)
    spawning = world.ask(world.in_thread, root.spawn, bool)
    while not posted.is_set():
        await world.sleep(0.001)
    await done(root.stop())
    stopped.set()
    with pytest.raises(SpawnRefused):
        await spawning.result()
    assert not root._tasks


async def test_a_thread_waits_for_a_state(world: World):
    root = plant(world, "a", a={"start": ready_later})
    waiting = [world.ask(world.in_thread, root.wait, "ready") for _ in range(3)]
    start = world.ask(root.start)
    await world.breathe()
    assert await world.in_thread(root.wait, "ready", 0.01) is False
    root.set_ready()
    assert [await asker.result() for asker in waiting] == [True] * 3
    await start.result()
    passing = world.ask(world.in_thread, root.wait, "stopping")
    while not root._watchers:
        await world.sleep(0.001)
    await done(root.stop())
    assert await passing.result() is True
    assert not root._watchers


async def test_a_thread_serves_for_ever(world: World):
    root = plant(world, "a")
    await done(root.start())
    serving = world.ask(world.in_thread, root.serve_forever)
    while not root._watchers:
        await world.sleep(0.001)
    root.task(fail)
    with pytest.raises(Wrong):
        await serving.result()


async def test_a_thread_adds_and_removes(world: World):
    root = plant(world, "a(b)")
    await done(root.start())
    root.forget()
    added = await world.in_thread(root.add_service, Node(world, "x", root.story))
    assert added.ready
    await world.in_thread(root.remove_service, added)
    assert root.told == "+x -x"
    assert added.parent is None
    await done(root.stop())


async def test_what_threads_add_during_a_start_is_started_once(world: World):
    async def wait(node: Node) -> None:
        await world.sleep(0)

    slow = {"start": wait}
    root = plant(world, SEVEN, **dict.fromkeys("abcdefg", slow))
    await done(root.start())
    await done(root.stop())
    root.forget()
    start = world.ask(root.start)
    adding = [
        world.ask(world.in_thread, root.add_service, Node(world, f"x{number}", root.story))
        for number in range(20)
    ]
    await start.result()
    for asker in adding:
        await asker.result()
    assert {str(node.state) for node in root.walk()} == {"ready"}
    assert all(root.story.count(f"+x{number}") == 1 for number in range(20))
    await done(root.stop())


async def test_a_thread_is_told_when_a_method_needs_a_ready_service(world: World):
    class Asked(Node):
        @require_ready
        def where(self) -> int:
            return threading.get_ident()

    service = Asked(world, "a")
    service.scripts["start"] = ready_later
    await done(service.stop())
    asking = world.ask(world.in_thread, service.where)
    start = world.ask(service.start)
    await world.breathe()
    service.set_ready()
    assert await asking.result() != threading.get_ident(), "a method runs where it is called"
    await start.result()
    await done(service.stop())


async def test_a_thread_of_a_hook_may_stop_its_service(world: World):
    async def start(node: Node) -> None:
        await done(node.async_.to_thread(node.stop))

    root = plant(world, "a(b)", b={"start": start})
    with pytest.raises(Abandoned):
        await done(root["b"].start())
    assert root["b"].state == "stopped"


async def test_posts_of_many_threads_all_arrive_and_in_order(world: World):
    root = plant(world, "a")
    await done(root.start())
    arrived: list[tuple[int, int]] = []

    def post_many(number: int) -> None:
        for count in range(500):
            root.backend_in_use.post(arrived.append, (number, count))

    posting = [world.ask(world.in_thread, post_many, number) for number in range(4)]
    for asker in posting:
        await asker.result()
    while len(arrived) < 2000:
        await world.sleep(0.001)
    for number in range(4):
        assert [count for who, count in arrived if who == number] == [*range(500)]
    await done(root.stop())


async def test_what_was_posted_and_raises_harms_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, "a")
    await done(root.start())
    arrived: list[int] = []

    def post() -> None:
        for function in (fail_at_once, arrived.append, fail_at_once, arrived.append):
            root.backend_in_use.post(function, 1)

    def fail_at_once(_: int) -> None:
        raise Wrong

    await world.in_thread(post)
    while len(arrived) < 2:
        await world.sleep(0.001)
    assert len(caplog.records) == 2
    await done(root.stop())


async def test_the_loop_waits_for_threads_when_nothing_else_can_wake_it(world: World):
    root = plant(world, "a")

    def stop_it() -> None:
        root.wait("ready")
        time.sleep(0.02)
        root.stop()

    await done(root.start())
    thread = threading.Thread(target=stop_it)
    thread.start()
    await done(root.serve_forever())  # gevent calls an idle loop a deadlock
    thread.join()


async def test_a_hub_that_another_thread_has_is_not_ours(world: World):
    import gevent

    root = plant(world, "a(b)", b={"stop": at(world.gate())})
    root["b"].stop_timeout = 0.01
    await done(root.start())

    def with_a_hub() -> str:
        gevent.sleep(0)
        try:
            root.stop()
        except TimeoutError:
            return str(root.state)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)
        return "in time"

    assert await world.in_thread(with_a_hub) == "stopped"
