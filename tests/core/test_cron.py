"""Jobs by the wall clock: at which times, and what a clock that is set does to them: nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.dialects import World, done
from tests.trees import Node, Wrong, hang, plant

from ginkgo.core.cron import Lived, next_time
from ginkgo.core.errors import ConfigError, UsageError
from ginkgo.core.failure import SpawnRefused
from ginkgo.core.jobs import Job
from ginkgo.testing import FakeClock

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine is in Berlin."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock(berlin_time("2026-06-01 12:00")) as clock:
        yield clock
        assert clock.waiting == 0, "a timer is left behind"


def berlin_time(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def said(wall: float) -> str:
    """What a clock on the wall says, without the date and the seconds."""
    return datetime.fromtimestamp(wall, BERLIN).strftime("%H:%M")


async def go_by(world: World, clock: FakeClock, seconds: float) -> None:
    for _ in clock.steps(seconds):
        await world.breathe()


class Ticking:
    """A service with one job, and the times at which that was called."""

    def __init__(self, world: World, clock: FakeClock, expression: str) -> None:
        self.world = world
        self.clock = clock
        self.expression = expression
        self.seen: list[str] = []
        self.root = plant(world, "a")

    async def start(self) -> Job:
        await done(self.root.start())
        return self.root.at(self.expression, self.world.task(self.work), self.root, on_error="fail")

    async def work(self, node: Node) -> None:
        self.seen.append(said(self.clock.wall()))

    async def stop(self) -> None:
        await done(self.root.stop())

    async def go_by(self, seconds: float) -> None:
        """Let time go by, and what is called come to its end."""
        for _ in self.clock.steps(seconds):
            if self.root._tasks:
                await self.world.breathe()


# -- when it is called ---------------------------------------------------------------------------


async def test_it_is_called_at_the_times_of_the_expression(world: World, clock: FakeClock):
    ticking = Ticking(world, clock, "*/5 * * * *")
    job = await ticking.start()
    await ticking.go_by(16 * 60.0)
    assert ticking.seen == ["12:05", "12:10", "12:15"]
    assert (job.runs, job.missed) == (3, 0)
    await ticking.stop()
    assert job.cancelled


async def test_it_is_called_with_its_arguments_and_under_the_rules_for_tasks(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    def report(*args: object, **kwargs: object) -> None:
        raise Wrong(f"{args} {kwargs}")

    root = plant(world, "a")
    await done(root.start())
    root.at("* * * * *", report, 1, on_error="log", two=2)
    await go_by(world, clock, 60.0)
    assert "report failed: (1,) {'two': 2}" in caplog.text
    assert root.ready
    root.at("* * * * *", report)
    await go_by(world, clock, 60.0)
    await done(root.wait("failed"))


async def test_times_are_local_and_know_the_seasons(world: World, clock: FakeClock):
    clock.jump(berlin_time("2026-03-28 12:00") - clock.wall())
    ticking = Ticking(world, clock, "30 4 * * *")
    await ticking.start()
    await ticking.go_by(2 * DAY)
    assert ticking.seen == ["04:30", "04:30"]
    await ticking.stop()


def times(expression: str, after: str, count: int) -> list[str]:
    wall = berlin_time(after)
    found = []
    for _ in range(count):
        wall = next_time(expression, wall)
        found.append(datetime.fromtimestamp(wall, BERLIN).isoformat(" ", "minutes"))
    return found


@pytest.mark.fault(51)
def test_a_time_that_a_night_in_spring_leaves_out_comes_when_it_is_over():
    assert times("30 2 * * *", "2026-03-28 12:00", 2) == [
        "2026-03-29 03:00+02:00",
        "2026-03-30 02:30+02:00",
    ]


@pytest.mark.fault(51)
def test_a_time_that_a_night_in_autumn_has_twice_comes_once():
    assert times("30 2 * * *", "2026-10-24 12:00", 2) == [
        "2026-10-25 02:30+02:00",
        "2026-10-26 02:30+01:00",
    ]


@pytest.mark.fault(51)
def test_what_comes_every_half_an_hour_does_so_in_that_night_too():
    assert times("*/30 * * * *", "2026-10-25 01:30", 5) == [
        "2026-10-25 02:00+02:00",
        "2026-10-25 02:30+02:00",
        "2026-10-25 02:00+01:00",
        "2026-10-25 02:30+01:00",
        "2026-10-25 03:00+01:00",
    ]


# -- the clock is set ----------------------------------------------------------------------------


@pytest.mark.fault(51)
async def test_a_clock_that_is_put_back_makes_nothing_run_twice(world: World, clock: FakeClock):
    ticking = Ticking(world, clock, "*/10 * * * *")
    job = await ticking.start()
    await ticking.go_by(31 * 60.0)
    assert ticking.seen == ["12:10", "12:20", "12:30"]
    clock.jump(-25 * 60.0)  # 12:06
    await ticking.go_by(40 * 60.0)
    assert ticking.seen == ["12:10", "12:20", "12:30", "12:40"]
    assert job.missed == 0
    await ticking.stop()


@pytest.mark.fault(51)
@pytest.mark.parametrize("seconds", [0.5, 59.0])
async def test_a_clock_that_is_put_back_a_little_after_a_run_changes_nothing(
    world: World, clock: FakeClock, seconds: float
):
    ticking = Ticking(world, clock, "*/5 * * * *")
    await ticking.start()
    await ticking.go_by(300.0)
    clock.jump(-seconds)
    await ticking.go_by(299.0 + seconds)
    assert ticking.seen == ["12:05"]
    await ticking.go_by(2.0)
    assert ticking.seen == ["12:05", "12:10"]
    await ticking.stop()


@pytest.mark.fault(51)
async def test_a_clock_that_was_a_day_ahead_and_is_corrected_leaves_no_gap(
    world: World, clock: FakeClock
):
    clock.jump(DAY)
    ticking = Ticking(world, clock, "0 * * * *")
    job = await ticking.start()
    await ticking.go_by(2 * HOUR)
    clock.jump(-DAY)
    await ticking.go_by(2 * HOUR)
    assert ticking.seen == ["13:00", "14:00", "15:00", "16:00"]
    await ticking.go_by(22 * HOUR)
    assert job.runs == 4 + 20, "two of these it has been at before"
    assert job.missed == 0
    await ticking.stop()


@pytest.mark.fault(51)
async def test_a_clock_that_is_put_forward_makes_no_burst(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    ticking = Ticking(world, clock, "*/5 * * * *")
    job = await ticking.start()
    clock.jump(DAY + 120.0)
    await ticking.go_by(6 * 60.0)
    assert ticking.seen == ["12:05"]
    assert (job.runs, job.missed) == (1, 288)
    assert "a: work is not called in time: the wall clock has moved on" in caplog.text
    await ticking.stop()


@pytest.mark.fault(51)
async def test_a_clock_that_is_put_forward_by_mistake_and_back_leaves_no_gap(
    world: World, clock: FakeClock
):
    ticking = Ticking(world, clock, "*/10 * * * *")
    job = await ticking.start()
    clock.jump(HOUR + 120.0)
    await ticking.go_by(9 * 60.0)  # 13:11
    clock.jump(-HOUR - 120.0)
    await ticking.go_by(HOUR + 120.0)  # 13:11 again
    assert ticking.seen == ["13:10", "12:20", "12:30", "12:40", "12:50", "13:00"]
    assert job.missed == 6
    await ticking.stop()


@pytest.mark.fault(51)
async def test_a_clock_that_begins_in_1970_is_caught_up_with_at_once(
    world: World, clock: FakeClock
):
    today = clock.wall()
    clock.jump(-today)
    ticking = Ticking(world, clock, "* * * * *")
    job = await ticking.start()
    await ticking.go_by(60.0)
    clock.jump(today)
    began = time.monotonic()
    clock.advance(60.0)
    assert time.monotonic() - began < 5
    assert job.missed == 1440, "no more are counted than a day has minutes"
    await ticking.go_by(60.0)
    assert job.runs == 2
    await ticking.stop()


@pytest.mark.fault(52)
async def test_a_machine_that_slept_makes_up_for_nothing(world: World, clock: FakeClock):
    ticking = Ticking(world, clock, "0 3 * * *")
    job = await ticking.start()
    await ticking.go_by(12 * HOUR)  # midnight; it sleeps, and only the wall clock goes on
    clock.jump(8 * HOUR)
    await ticking.go_by(1 * HOUR)
    assert (ticking.seen, job.missed) == ([], 1)
    await ticking.go_by(19 * HOUR)
    assert (ticking.seen, job.missed) == (["03:00"], 1)
    await ticking.stop()


@pytest.mark.fault(52)
async def test_what_comes_a_moment_too_late_is_called_all_the_same(world: World, clock: FakeClock):
    ticking = Ticking(world, clock, "*/5 * * * *")
    job = await ticking.start()
    await ticking.go_by(280.0)
    clock.jump(30.0)
    await ticking.go_by(20.0)
    assert (len(ticking.seen), job.missed) == (1, 0)
    await ticking.stop()


async def test_it_never_runs_twice_at_a_time(world: World, clock: FakeClock):
    root = plant(world, "a")
    await done(root.start())
    job = root.at("* * * * *", world.task(hang), root)
    await go_by(world, clock, 180.0)
    assert (job.runs, job.missed) == (1, 2)
    await done(root.stop())


def test_the_stretches_that_are_remembered_grow_together():
    lived = Lived()
    lived.add(10.0, 20.0)
    lived.add(30.0, 40.0)
    assert [lived.end_of(time) for time in (9.0, 10.0, 20.0, 25.0, 35.0)] == [
        None,
        None,
        20.0,
        None,
        40.0,
    ]
    lived.add(20.0, 30.0)
    assert lived.end_of(11.0) == 40.0
    for day in range(100):
        lived.add(1000.0 * day, 1000.0 * day + 1)
    assert lived.end_of(99_000.5) == 99_001.0
    assert lived.end_of(11.0) is None, "the oldest are forgotten"


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("61 * * * *", "Bad minute"),
        ("* * * *", "Wrong number of fields"),
        ("", "Wrong number of fields"),
        ("*/0 * * * *", "Bad minute"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("hourly", "Wrong number of fields"),
        (5, ""),
    ],
)
async def test_a_wrong_expression_names_the_service(
    world: World, clock: FakeClock, expression: Any, reason: str
):
    root = plant(world, "a(b)")
    with pytest.raises(UsageError) as caught:
        root["b"].at(expression, bool)
    assert str(caught.value).startswith(f"a/b: at() takes a cron expression, not {expression!r}: ")
    assert reason in str(caught.value)
    assert "five fields" in str(caught.value.hint)


async def test_a_time_that_never_comes_is_refused(world: World, clock: FakeClock):
    the_first_that_is_the_fifth_monday = "0 0 */31 2 1#5"
    with pytest.raises(UsageError, match=r"a: at\(.*\): that time never comes"):
        plant(world, "a").at(the_first_that_is_the_fifth_monday, bool)


async def test_a_service_that_is_stopped_takes_none(world: World, clock: FakeClock):
    root = plant(world, "a")
    await done(root.start())
    await done(root.stop())
    with pytest.raises(SpawnRefused):
        root.at("* * * * *", bool)


async def test_without_cronsim_it_says_what_to_install(
    world: World, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(ConfigError, match=r"a: at\(\) needs cronsim") as caught:
        plant(world, "a").at("* * * * *", bool)
    assert caught.value.hint == 'Install it: pip install "ginkgo[cron]"'
