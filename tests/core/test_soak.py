"""A large tree in which something crashes all the time: it heals, and nothing is left behind.

`make soak` plays it for two minutes on each backend; here it is played for a moment.
"""

from __future__ import annotations

import gc
import os
import random
import threading
import time

import psutil
import pytest
from tests.dialects import LIMIT, Gate, World, done

from ginkgo import Backoff, Service
from ginkgo.core.events import KEPT

SERVICES = 200
SECONDS = float(os.environ.get("GINKGO_SOAK", "1.5"))
QUICK = Backoff(0.001, 2, 0.05)
GROWTH = 5 << 20  # bytes: what a run may leave in the allocator's hands


class Leaf(Service):
    """Does something all the time, until it is told to crash."""

    world: World
    crash: Gate  # one for all starts: the world keeps its gates

    def do_start(self) -> None:
        self.crash.shut()
        self.spawn(self.world.task(self.work))

    async def work(self) -> None:
        await self.crash.passed()
        raise ConnectionError("told to crash")


def forest(world: World) -> tuple[Service, list[Leaf]]:
    """A root, ten branches with every strategy, and leaves below them: 200 in all."""
    root = Service()
    root.max_restarts, root.backoff = 1_000_000, QUICK
    leaves = []
    for number in range(10):
        branch = root.add_service(Service())
        branch.name = f"branch-{number}"
        branch.strategy = ("one_for_one", "one_for_all", "rest_for_one")[number % 3]
        branch.max_restarts, branch.backoff = 1_000_000, QUICK
        for _ in range(19 if number else 18):
            leaf = Leaf()
            leaf.world, leaf.crash = world, world.gate()
            leaves.append(branch.add_service(leaf))
    assert len(list(root.walk())) == SERVICES
    return root, leaves


def measured() -> dict[str, int]:
    """What must not grow."""
    gc.collect()
    process = psutil.Process()
    return {
        "descriptors": process.num_fds(),
        "threads": threading.active_count(),
        "memory": process.memory_info().rss,
    }


async def crash_some(world: World, root: Service, leaves: list[Leaf], seconds: float) -> int:
    """Crash random leaves for so long; returns how often one was told to."""
    chance = random.Random(5)
    crashes = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        leaf = chance.choice(leaves)
        if leaf.state == "ready":
            leaf.crash.open()
            crashes += 1
        await world.sleep(0.005)
    return crashes


@pytest.mark.fault(33)
@pytest.mark.fault(39)
@pytest.mark.timeout(SECONDS + 120)
async def test_a_tree_in_which_leaves_crash_all_the_time_ends_well(world: World, no_logging: None):
    root, leaves = forest(world)
    await done(root.start())
    while len(list(root.events)) < KEPT:  # pools and caches have their sizes then
        await crash_some(world, root, leaves, SECONDS / 3)
    assert await done(root.wait("ready", LIMIT))
    before = measured()
    crashes = await crash_some(world, root, leaves, SECONDS)
    assert await done(root.wait("ready", LIMIT))
    assert crashes > 20
    assert {str(each.state) for each in root.walk()} == {"ready"}
    assert [len(leaf._tasks) for leaf in leaves] == [1] * len(leaves)
    after = measured()
    assert after["descriptors"] <= before["descriptors"] + 2
    assert after["threads"] <= before["threads"] + 2
    assert after["memory"] <= before["memory"] + GROWTH
    await done(root.stop())
    assert {str(each.state) for each in root.walk()} == {"stopped"}
