"""Periodic work: when it is called, how it ends, and what is counted. Time is the test's own."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from tests.dialects import World, done
from tests.trees import SEVEN, Node, Wrong, fail, hang, plant, tasks_of

from ginkgo.async_.bridge import bridge
from ginkgo.core.errors import UsageError
from ginkgo.core.failure import SpawnRefused
from ginkgo.core.jobs import Job
from ginkgo.testing import FakeClock


@pytest.fixture
def no_bridge_left() -> Iterator[None]:
    yield
    bridge.close()


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock(now=0.0) as clock:
        yield clock
        assert clock.waiting == 0, "a timer is left behind"


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


async def go_by(world: World, clock: FakeClock, seconds: float) -> None:
    """Let time go by, and what is called come as far as it can."""
    for _ in clock.steps(seconds):
        await world.breathe()


def noting(clock: FakeClock, seen: list[float]) -> Callable[[], None]:
    return lambda: seen.append(round(clock.now(), 6))


async def started(world: World, shape: str = "a", **said: dict[str, Any]) -> Node:
    root = plant(world, shape, **said)
    await done(root.start())
    return root


# -- when it is called ---------------------------------------------------------------------------


async def test_it_is_called_at_multiples_of_its_time(world: World, clock: FakeClock):
    root = await started(world)
    seen: list[float] = []
    job = root.every(2.0, noting(clock, seen))
    await go_by(world, clock, 7.0)
    assert seen == [2.0, 4.0, 6.0]
    assert (job.runs, job.missed) == (3, 0)
    await done(root.stop())


async def test_it_is_called_with_its_arguments(world: World, clock: FakeClock):
    root = await started(world)
    seen: list[Any] = []
    root.every(1.0, lambda *args, **kwargs: seen.append((args, kwargs)), 1, two=2)
    await go_by(world, clock, 1.0)
    assert seen == [((1,), {"two": 2})]
    await done(root.stop())


async def test_a_coroutine_function_is_called_as_well(
    no_bridge_left: None, world: World, clock: FakeClock
):
    seen: list[str] = []
    gate = world.gate()

    async def work(word: str) -> None:
        seen.append(word)
        root.backend_in_use.post(gate.open)

    root = await started(world)
    root.every(1.0, work, "now")
    clock.advance(1.0)
    assert await gate.passed(5)
    assert seen == ["now"]
    await done(root.stop())


async def test_the_first_call_may_be_made_at_once(world: World, clock: FakeClock):
    root = await started(world)
    seen: list[float] = []
    root.every(2.0, noting(clock, seen), immediately=True)
    await world.breathe()
    assert seen == [0.0]
    await go_by(world, clock, 4.0)
    assert seen == [0.0, 2.0, 4.0]
    await done(root.stop())


async def test_jitter_moves_each_call_and_shifts_none_of_the_others(world: World, clock: FakeClock):
    root = await started(world)
    seen: list[float] = []
    job = root.every(10.0, noting(clock, seen), jitter=2.0)
    await go_by(world, clock, 205.0)
    apart = [time - 10.0 * number for number, time in enumerate(seen, 1)]
    assert len(seen) == 20
    assert all(-2.0 <= each <= 2.0 for each in apart)
    assert len(set(apart)) > 10
    assert job.missed == 0
    await done(root.stop())


async def test_jitter_as_long_as_the_time_itself_misses_nothing(world: World, clock: FakeClock):
    root = await started(world)
    job = root.every(1.0, bool, jitter=1.0)
    await go_by(world, clock, 51.0)
    assert 50 <= job.runs <= 52
    assert job.missed == 0
    await done(root.stop())


async def test_no_task_exists_between_two_calls(world: World, clock: FakeClock):
    root = await started(world)
    root.every(1.0, bool, immediately=True)
    for _ in range(3):
        await world.breathe()
        assert not root._tasks
        clock.advance(1.0)
    await done(root.stop())


async def test_a_call_has_the_context_of_who_asked_for_it(world: World, clock: FakeClock):
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    root = await started(world)
    seen: list[str] = []
    token = who.set("me")
    root.spawn(lambda: seen.append(who.get()))
    root.every(1.0, lambda: seen.append(who.get()))
    who.reset(token)
    await world.breathe()
    await go_by(world, clock, 2.0)
    assert seen[0] == seen[1] == seen[2], "the one that a task has, on each backend"
    await done(root.stop())


async def test_any_thread_may_ask_for_it(world: World, clock: FakeClock):
    root = await started(world)
    seen: list[float] = []
    job = await world.in_thread(root.every, 1.0, noting(clock, seen))
    await world.breathe()
    await go_by(world, clock, 2.0)
    assert seen == [1.0, 2.0]
    await world.in_thread(job.cancel)
    await world.breathe()
    assert clock.waiting == 0
    await done(root.stop())


# -- what is missed ------------------------------------------------------------------------------


async def test_it_never_runs_twice_at_a_time_and_counts_what_it_misses(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    seen: list[float] = []
    gates = {2.0: world.gate()}

    async def work(node: Node) -> None:
        seen.append(clock.now())
        if clock.now() in gates:
            await gates[clock.now()].passed()

    root = await started(world)
    job = root.every(1.0, world.task(work), root)
    await go_by(world, clock, 4.5)
    assert job.running
    gates[2.0].open()
    await world.breathe()
    assert not job.running
    await go_by(world, clock, 1.0)
    assert seen == [1.0, 2.0, 5.0], "a long call shifts nothing"
    assert (job.runs, job.missed) == (3, 2)
    assert messages(caplog) == [
        "a: work is not called in time: the one before has not ended (1 missed so far, 2 made)"
    ]
    await done(root.stop())


async def test_that_it_misses_calls_is_said_once_a_minute(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    root = await started(world)
    root.every(1.0, world.task(hang), root)
    await go_by(world, clock, 1.0)
    await go_by(world, clock, 122.0)
    assert [text.split("(")[1] for text in messages(caplog)] == [
        "1 missed so far, 1 made)",
        "61 missed so far, 1 made)",
        "121 missed so far, 1 made)",
    ]
    await done(root.stop())


@pytest.mark.fault(52)
async def test_a_process_that_was_held_up_makes_one_call_and_not_a_burst(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    root = await started(world)
    seen: list[float] = []
    job = root.every(1.0, noting(clock, seen))
    clock._move_to(7.5)  # the loop comes round only now
    await go_by(world, clock, 2.0)
    assert seen == [7.5, 8.0, 9.0]
    assert (job.runs, job.missed) == (3, 6)
    assert "held up (6 missed so far, 0 made)" in caplog.text
    await done(root.stop())


@pytest.mark.fault(51)
@pytest.mark.parametrize("seconds", [-86400.0, 86400.0])
async def test_it_does_not_look_at_the_wall_clock(world: World, clock: FakeClock, seconds: float):
    root = await started(world)
    seen: list[float] = []
    job = root.every(1.0, noting(clock, seen))
    await go_by(world, clock, 1.5)
    clock.jump(seconds)
    await go_by(world, clock, 1.5)
    assert seen == [1.0, 2.0, 3.0]
    assert job.missed == 0
    await done(root.stop())


@pytest.mark.fault(51)
@pytest.mark.parametrize("seconds", [-86400.0, 86400.0])
async def test_nor_does_the_real_clock(world: World, seconds: float):
    root = await started(world)
    gates = world.gate(), world.gate()
    count = 0

    async def work(node: Node) -> None:
        nonlocal count
        count += 1
        if count in (1, 3):
            gates[count // 2].open()

    import time

    job = root.every(0.01, world.task(work), root)
    assert await gates[0].passed(5)
    with time_machine.travel(time.time() + seconds, tick=True):
        assert await gates[1].passed(5)
        began = time.perf_counter()
        await done(root.stop())
        assert time.perf_counter() - began < 5
    assert job.missed < 1000, "the day that was jumped over is not counted"


# -- how it ends ---------------------------------------------------------------------------------


async def test_it_ends_when_the_service_stops(world: World, clock: FakeClock):
    root = await started(world, SEVEN)
    jobs = [node.every(1.0, bool) for node in root.walk()]
    assert clock.waiting == 7
    await done(root.stop())
    assert clock.waiting == 0
    assert all(job.cancelled for job in jobs)
    assert all("_jobs" not in vars(node) or node._jobs is None for node in root.walk())


async def test_it_ends_when_the_service_fails(world: World, clock: FakeClock):
    root = await started(world)
    job = root.every(1.0, bool)
    root.task(fail)
    await done(root.wait("failed"))
    assert job.cancelled
    assert clock.waiting == 0


async def test_a_call_that_is_under_way_is_ended_with_its_service(world: World, clock: FakeClock):
    root = await started(world)
    job = root.every(1.0, world.task(hang), root)
    await go_by(world, clock, 1.0)
    assert job.running
    await done(root.stop())
    assert not job.running


@pytest.mark.parametrize("how", ["cancel", "kill"])
async def test_it_can_be_ended_by_hand(world: World, clock: FakeClock, how: str):
    root = await started(world)
    job = root.every(1.0, bool)
    await go_by(world, clock, 2.0)
    getattr(job, how)()
    getattr(job, how)()
    await go_by(world, clock, 2.0)
    assert (job.runs, job.cancelled, root._jobs) == (2, True, None)
    assert clock.waiting == 0
    await done(root.stop())


async def test_cancel_lets_the_call_that_is_under_way_end_and_kill_does_not(
    world: World, clock: FakeClock
):
    root = await started(world)
    gate = world.gate()
    story: list[str] = []

    async def work(node: Node, name: str) -> None:
        await gate.passed()
        story.append(name)

    jobs = [root.every(1.0, world.task(work), root, name) for name in ("cancelled", "killed")]
    await go_by(world, clock, 1.0)
    jobs[0].cancel()
    jobs[1].kill()
    await world.breathe()
    assert [job.running for job in jobs] == [True, False]
    gate.open()
    await world.breathe()
    assert story == ["cancelled"]
    await done(root.stop())


async def test_it_can_end_itself(world: World, clock: FakeClock):
    root = await started(world)
    jobs: list[Job] = []
    jobs.append(root.every(1.0, lambda: jobs[0].cancel()))
    await go_by(world, clock, 3.0)
    assert jobs[0].runs == 1
    assert root.state == "ready"
    await done(root.stop())


async def test_it_may_be_asked_for_before_the_start(world: World, clock: FakeClock):
    root = plant(world, "a")
    seen: list[float] = []
    root.every(1.0, noting(clock, seen))
    await done(root.start())
    await go_by(world, clock, 1.0)
    await done(root.stop())
    assert seen == [1.0]


async def test_a_stop_ends_one_in_a_service_that_was_never_started(world: World, clock: FakeClock):
    root = plant(world, "a(b)")
    job = root["b"].every(1.0, bool)
    await done(root.stop())
    assert job.cancelled
    assert clock.waiting == 0


async def test_a_service_that_is_stopped_takes_none(world: World, clock: FakeClock):
    root = await started(world)
    await done(root.stop())
    with pytest.raises(SpawnRefused):
        root.every(1.0, bool)


async def test_one_that_is_asked_for_during_the_stop_calls_nothing(world: World, clock: FakeClock):
    jobs: list[Job] = []

    async def stop(node: Node) -> None:
        jobs.append(node.every(1.0, bool, immediately=True))

    root = await started(world, "a", a={"stop": stop})
    await done(root.stop())
    assert (jobs[0].cancelled, jobs[0].runs) == (True, 0)


async def test_a_start_begins_it_anew(world: World, clock: FakeClock):
    seen: list[float] = []

    async def start(node: Node) -> None:
        node.every(1.0, noting(clock, seen))

    root = await started(world, "a", a={"start": start})
    await go_by(world, clock, 1.5)
    await done(root.restart())
    await go_by(world, clock, 1.5)
    assert seen == [1.0, 2.5]
    await done(root.stop())
    assert not list(tasks_of(root))


# -- errors --------------------------------------------------------------------------------------


async def test_an_error_fails_the_service_and_names_the_function(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    async def tidy_up(node: Node) -> None:
        raise Wrong("every")

    root = await started(world)
    root.every(1.0, world.task(tidy_up), root)
    await go_by(world, clock, 1.0)
    await done(root.wait("failed"))
    assert "a: task tidy_up failed: every" in messages(caplog)


async def test_an_error_may_be_logged_only(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    async def tidy_up(node: Node) -> None:
        raise Wrong("every")

    root = await started(world)
    job = root.every(1.0, world.task(tidy_up), root, on_error="log")
    await go_by(world, clock, 3.0)
    assert root.ready
    assert job.runs == 3
    assert "a: task tidy_up failed: every" in messages(caplog)
    await done(root.stop())


async def test_an_error_may_stop_the_service(world: World, clock: FakeClock):
    root = await started(world)
    root.every(1.0, world.task(fail), root, on_error="stop")
    clock.advance(1.0)
    await done(root.wait("stopped"))
    assert clock.waiting == 0


async def test_what_cannot_be_begun_is_an_error_of_the_service(
    world: World, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    root = await started(world)
    root.every(1.0, bool)
    monkeypatch.setattr(root.backend_in_use, "spawn", refuse, raising=False)
    clock.advance(1.0)
    await done(root.wait("failed"))
    assert str(root.failure) == "a: task bool failed: RuntimeError: can't start new thread"


@pytest.mark.parametrize("seconds", [0, -1])
async def test_it_takes_a_time_above_nothing(world: World, clock: FakeClock, seconds: float):
    with pytest.raises(UsageError, match=r"a: every\(\) takes a time above 0 s"):
        plant(world, "a").every(seconds, bool)


@pytest.mark.parametrize("jitter", [-1, 2.5])
async def test_it_takes_no_jitter_longer_than_its_time(
    world: World, clock: FakeClock, jitter: float
):
    with pytest.raises(UsageError, match=r"a: the jitter of every\(2\) is from 0 to 2 s, not"):
        plant(world, "a").every(2, bool, jitter=jitter)


async def test_what_it_does_on_an_error_is_looked_at_at_once(world: World, clock: FakeClock):
    with pytest.raises(UsageError, match="a: on_error is one of fail, log, stop, not 'panic'"):
        plant(world, "a").every(1, bool, on_error="panic")
