"""Since when something is not as it should be: time is the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.dialects import LIMIT, World, done
from tests.trees import Wrong, fail, plant, until

from ginkgo.core.policies import Backoff
from ginkgo.process import picture
from ginkgo.testing import FakeClock

STEADY = Backoff(1.0, 2.0, 60.0, jitter=0.0)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock(wall=1_800_000_000.0) as clock:
        yield clock


async def test_a_service_that_fails_again_and_again_is_down_since_the_first_time(
    world: World, clock: FakeClock
) -> None:
    root = plant(world, "a(b)", a={"max_restarts": 9, "restart_period": 9e9, "backoff": STEADY})
    await done(root.start())
    clock.advance(91.0)
    root["b"].scripts["start"] = Wrong()
    root["b"].task(fail)
    await until(world, root, lambda: clock.waiting)
    first = picture.trouble(root["b"], "a/b")
    assert (first["state"], first["since"]) == ("failed", "2027-01-15T08:01:31.000Z")
    assert picture.since(root) == "2027-01-15T08:01:31.000Z"
    for _ in range(2):
        clock.advance(clock.left or 0)
        await until(world, root, lambda: clock.waiting)
    assert picture.trouble(root["b"], "a/b")["since"] == first["since"]
    assert picture.since(root["b"]) > first["since"]
    assert picture.since(root) == first["since"]

    root["b"].scripts.clear()
    clock.advance(clock.left or 0)
    await until(world, root, lambda: root.ready)
    clock.advance(600.0)
    root["b"].task(fail)
    await until(world, root, lambda: clock.waiting)
    assert picture.trouble(root["b"], "a/b")["since"] > "2027-01-15T08:11:31"
    await done(root.stop())


async def test_a_reload_that_failed_counts_from_its_first_time_and_not_from_the_start(
    world: World, clock: FakeClock
) -> None:
    root = plant(world, "a(b)")
    await done(root.start())
    root["b"].scripts["reload"] = Wrong()
    for _ in range(2):
        clock.advance(60.0)
        with pytest.raises(Wrong):
            await done(root.reload())
    assert picture.trouble(root["b"], "a/b")["since"] == "2027-01-15T08:01:00.000Z"
    assert picture.since(root["b"]) == "2027-01-15T08:00:00.000Z"
    root["b"].scripts.clear()
    await done(root.reload())
    assert not picture.is_failed(root["b"])
    await done(root.stop())


async def test_one_that_starts_does_so_since_its_state_says_so(
    world: World, clock: FakeClock
) -> None:
    root = plant(world, "a(b)")
    gate = world.gate()
    root["b"].scripts["start"] = lambda _: gate.passed(LIMIT)
    asker = world.ask(root.start)
    await until(world, root, lambda: root["b"].state == "starting")
    told = picture.trouble(root["b"], "a/b")
    assert (told["state"], told["since"]) == ("starting", "2027-01-15T08:00:00.000Z")
    gate.open()
    await asker.result()
    await done(root.stop())
