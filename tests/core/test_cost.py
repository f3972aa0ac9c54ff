"""What a service costs: almost nothing until it does something, and no more among many.

The figures themselves are in benchmarks/; here only what would be a mistake in the design.
"""

from __future__ import annotations

import gc
import time
import tracemalloc

import pytest
from tests.dialects import World, done
from tests.leaks import Snapshot, wait_until_gone

from ginkgo import Service


class Empty(Service):
    def do_start(self) -> None:
        pass

    def do_stop(self) -> None:
        pass


def tree_of(size: int) -> Service:
    root = Service()
    for _ in range(size):
        root.add_service(Empty())
    return root


async def test_a_service_that_runs_takes_at_most_one_and_a_half_kib(world: World):
    await done(tree_of(1).start())  # what is made once is made here
    gc.collect()
    tracemalloc.start()
    try:
        root = tree_of(1000)
        await done(root.start())
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 1000 < 1.5 * 1024
    await done(root.stop())


async def test_a_tree_that_is_idle_holds_no_task_and_no_descriptor(world: World):
    before = Snapshot.take()
    root = tree_of(100)
    await done(root.start())
    await world.breathe()
    assert wait_until_gone(before) == []
    await done(root.stop())


async def test_a_service_costs_among_ten_times_as_many_about_the_same(world: World):
    async def cycle(size: int) -> float:
        times = []
        for _ in range(3):
            root = tree_of(size)
            began = time.process_time()
            await done(root.start())
            await done(root.stop())
            times.append(time.process_time() - began)
        return min(times) / size

    small, large = await cycle(400), await cycle(4000)
    assert large < 3 * small


def test_the_paths_of_many_siblings_cost_each_about_the_same():
    def look(size: int) -> float:
        root = tree_of(size)
        began = time.process_time()
        assert len({child.path for child in root.children}) == size
        return (time.process_time() - began) / size

    small, large = min(look(400) for _ in range(3)), min(look(4000) for _ in range(3))
    assert large < 3 * small


async def test_a_deep_tree_is_no_mistake(world: World):
    root = service = Empty()
    for _ in range(100):
        service = service.add_service(Empty())
    await done(root.start())
    assert all(each.ready for each in root.walk())
    assert service.path.count("/") == 100
    await done(root.reload())
    await done(root.stop())


async def test_a_tree_too_deep_for_python_fails_and_can_be_stopped(world: World):
    root = service = Empty()
    for _ in range(700):
        service = service.add_service(Empty())
    with pytest.raises(RecursionError):
        await done(root.start())
    assert root.state == "failed"
    with pytest.raises((RecursionError, ExceptionGroup)):
        await done(root.stop())
    assert root.state == "stopped"
    with pytest.raises((RecursionError, ExceptionGroup)):
        await done(root.remove_service(root.children[0]))
    await done(root.start())
    assert root.ready
    await done(root.stop())
