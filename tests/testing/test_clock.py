"""The clock that a test moves by hand."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from tests.dialects import World, done
from tests.trees import Node, Wrong, plant

from ginkgo.core.context import context
from ginkgo.testing import FakeClock


async def started(world: World) -> Node:
    root = plant(world, "a")
    await done(root.start())
    return root


async def test_what_is_due_is_called_in_order_each_at_its_own_time(world: World):
    root = await started(world)
    clock = FakeClock(now=100.0)
    backend = root.backend_in_use
    seen: list[float] = []

    def look() -> None:
        seen.append(clock.now())

    for seconds in (3.0, 1.0, 2.0, 60.0):
        clock.later(backend, seconds, look)
    clock.advance(0.5)
    assert seen == []
    clock.advance(9.5)
    assert seen == [101.0, 102.0, 103.0]
    assert clock.now() == 110.0
    assert (clock.waiting, clock.left) == (1, 50.0)
    await done(root.stop())


async def test_what_a_call_asks_for_is_called_too_when_it_is_due_by_then(world: World):
    root = await started(world)
    clock = FakeClock(now=0.0)
    backend = root.backend_in_use
    seen: list[float] = []

    def again() -> None:
        seen.append(round(clock.now(), 6))
        clock.later(backend, 0.1, again)

    clock.later(backend, 0.1, again)
    clock.advance(0.5)
    assert seen == [0.1, 0.2, 0.3, 0.4, 0.5]
    await done(root.stop())


async def test_a_call_that_was_cancelled_is_not_made(world: World):
    root = await started(world)
    clock = FakeClock()
    called: list[int] = []
    timer = clock.later(root.backend_in_use, 1.0, lambda: called.append(1))
    timer.cancel()
    timer.cancel()
    assert (clock.waiting, clock.left) == (0, None)
    clock.advance(2.0)
    assert called == []
    await done(root.stop())


async def test_between_two_calls_the_test_may_let_others_run(world: World):
    async def work(node: Node) -> None:
        seen.append(f"task {clock.now():g}")

    root = await started(world)
    clock = FakeClock(now=0.0)
    seen: list[str] = []
    for seconds in (1.0, 2.0):
        clock.later(root.backend_in_use, seconds, lambda: root.task(work))
    for now in clock.steps(5.0):
        seen.append(f"called {now:g}")
        await world.breathe()
    assert sorted(seen[:2]) == ["called 1", "task 1"]
    assert sorted(seen[2:]) == ["called 2", "task 2"]
    assert clock.now() == 5.0
    await done(root.stop())


async def test_a_call_is_made_in_the_thread_of_its_tree_and_waited_for(world: World):
    root = await started(world)
    clock = FakeClock()
    idents: list[int] = []
    clock.later(root.backend_in_use, 1.0, lambda: idents.append(threading.get_ident()))
    seen = await world.in_thread(lambda: (clock.advance(1.0), tuple(idents))[1])
    assert len(seen) == 1
    if world.loop:
        assert seen[0] == threading.get_ident()
    await done(root.stop())


async def test_one_call_that_raises_leaves_the_clock_in_order(world: World):
    def fails() -> None:
        raise Wrong("due")

    root = await started(world)
    clock = FakeClock()
    clock.later(root.backend_in_use, 1.0, fails)
    try:
        clock.advance(1.0)
    except Wrong:
        assert world.loop, "a call in this thread raises here; else it is in the log"
    assert clock.waiting == 0
    await done(root.stop())


def test_a_jump_moves_the_wall_clock_only():
    clock = FakeClock(wall=datetime(2026, 3, 1, tzinfo=UTC), now=5.0)
    clock.jump(-3600.0)
    assert clock.now() == 5.0
    assert datetime.fromtimestamp(clock.wall(), UTC) == datetime(2026, 2, 28, 23, tzinfo=UTC)
    clock.advance(60.0)
    assert clock.now() == 65.0
    assert datetime.fromtimestamp(clock.wall(), UTC) == datetime(2026, 2, 28, 23, 1, tzinfo=UTC)


def test_it_takes_the_place_of_the_real_one_and_gives_it_back():
    before = context.clock
    with FakeClock() as outer:
        assert context.clock is outer
        with pytest.raises(Wrong), FakeClock() as inner:
            assert context.clock is inner
            raise Wrong
        assert context.clock is outer
    assert context.clock is before
