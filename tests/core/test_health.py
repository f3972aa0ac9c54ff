"""Health checks: when a service is asked, and what becomes of one that is not well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.dialects import LIMIT, World, done
from tests.trees import Node, Wrong, hang, plant

from ginkgo import Service
from ginkgo.async_.bridge import bridge
from ginkgo.core.errors import UsageError
from ginkgo.core.health import CheckFailed, CheckTimeout
from ginkgo.testing import FakeClock


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock(now=0.0) as clock:
        yield clock
        assert clock.waiting == 0, "a timer is left behind"


class Checked(Node):
    """A service whose check does what a script says."""

    check_interval = 2.0

    def __init__(self, world: World, name: str = "a", script: Any = None) -> None:
        super().__init__(world, name)
        self.asked: list[float] = []
        self.script = script
        self.check = world.task(self._check)  # type: ignore[method-assign]

    async def _check(self) -> Any:
        from ginkgo.core.context import context

        self.asked.append(context.clock.now())
        return None if self.script is None else await self.script(self)


def giving(value: object) -> Callable[[Node], Any]:
    async def give(node: Node) -> object:
        return value

    return give


async def raises(node: Node) -> None:
    raise Wrong("no answer")


async def started(world: World, script: Any = None) -> Checked:
    service = Checked(world, "a", script)
    await done(service.start())
    return service


async def go_by(world: World, clock: FakeClock, seconds: float) -> None:
    for _ in clock.steps(seconds):
        await world.breathe()


# -- when it is asked ----------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, True, 0, "", []])
async def test_it_is_asked_every_so_often_and_anything_but_false_is_well(
    world: World, clock: FakeClock, answer: object
):
    service = await started(world, giving(answer))
    await go_by(world, clock, 7.0)
    assert service.asked == [2.0, 4.0, 6.0]
    assert service.ready
    await done(service.stop())
    await go_by(world, clock, 7.0)
    assert service.asked == [2.0, 4.0, 6.0]


async def test_a_service_without_a_check_is_not_asked(world: World, clock: FakeClock):
    root = plant(world, "a(b)")
    await done(root.start())
    assert clock.waiting == 0
    assert "_jobs" not in vars(root)
    await done(root.stop())


async def test_no_task_exists_between_two_checks(world: World, clock: FakeClock):
    service = await started(world)
    for _ in range(3):
        assert not service._tasks
        await go_by(world, clock, 2.0)
    await done(service.stop())


async def test_it_is_not_asked_before_it_is_ready(world: World, clock: FakeClock):
    service = Checked(world)
    service.scripts["start"] = giving(Service.NOT_READY)
    start = world.ask(service.start)
    await world.breathe()
    await go_by(world, clock, 5.0)
    assert service.asked == []
    service.set_ready()
    await start.result()
    await go_by(world, clock, 2.0)
    assert service.asked == [7.0]
    await done(service.stop())


async def test_it_is_asked_anew_after_a_restart(world: World, clock: FakeClock):
    service = await started(world)
    await go_by(world, clock, 3.0)
    await done(service.restart())
    await go_by(world, clock, 3.0)
    assert service.asked == [2.0, 5.0]
    await done(service.stop())


async def test_two_checks_never_run_at_a_time(world: World, clock: FakeClock):
    gate = world.gate()

    async def slow(node: Node) -> None:
        await gate.passed()

    service = Checked(world, "a", slow)
    service.check_timeout = 60.0
    await done(service.start())
    await go_by(world, clock, 7.0)
    assert service.asked == [2.0]
    gate.open()
    await world.breathe()
    await go_by(world, clock, 2.0)
    assert service.asked == [2.0, 8.0]
    assert service.ready
    await done(service.stop())


# -- not well ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (raises, "a: check failed: Wrong: no answer"),
        (giving(False), "a: check failed: CheckFailed: it returned False"),
    ],
    ids=["raises", "returns False"],
)
async def test_a_check_that_fails_fails_its_service(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture, script: Any, told: str
):
    service = await started(world, script)
    clock.advance(2.0)
    await done(service.wait("failed"))
    assert str(service.failure) == told
    assert service.failure.phase == "check"
    assert f"a: check failed: {service.failure.text}" in caplog.text


async def test_a_check_that_does_not_return_fails_its_service_and_is_ended(
    world: World, clock: FakeClock
):
    service = Checked(world, "a", hang)
    service.check_timeout = 1.5
    await done(service.start())
    await go_by(world, clock, 3.4)
    assert service.ready
    await go_by(world, clock, 0.1)
    await done(service.wait("failed"))
    assert str(service.failure) == ("a: check failed: CheckTimeout: it did not return within 1.5 s")
    assert isinstance(service.failure.error, CheckTimeout)
    assert not service._tasks


async def test_a_check_may_take_any_time_where_it_has_no_limit(world: World, clock: FakeClock):
    service = Checked(world, "a", hang)
    service.check_timeout = None
    await done(service.start())
    await go_by(world, clock, 1000.0)
    assert service.ready
    await done(service.stop())


async def test_a_check_that_returned_in_time_is_not_taken_for_a_later_one(
    world: World, clock: FakeClock
):
    gate = world.gate()

    async def slow_at_last(node: Any) -> None:
        if len(node.asked) == 2:
            await gate.passed()

    service = Checked(world, "a", slow_at_last)
    service.check_timeout = 3.0
    await done(service.start())
    await go_by(world, clock, 6.0)  # that of the first would have been over at 5
    assert service.ready
    gate.open()
    await world.breathe()
    await go_by(world, clock, 10.0)
    assert service.ready
    await done(service.stop())


async def test_a_supervisor_restarts_a_service_that_is_not_well(world: World, clock: FakeClock):
    root = plant(world, "root")
    root.max_restarts, root.backoff = 5, (1.0, 2.0, 60.0, 0.0)
    service = root.add_service(Checked(world, "a", raises))
    await done(root.start())
    back = world.gate()
    subscription = root.events.subscribe(
        lambda event: back.open() if event.kind == "restart" else None
    )
    await go_by(world, clock, 2.0)
    service.script = None
    for _ in range(200):
        if clock.waiting:
            break
        await world.breathe()
    await go_by(world, clock, 1.0)
    assert await back.passed(LIMIT)
    assert root.state == "ready"
    await go_by(world, clock, 2.0)
    assert len(service.asked) == 2
    subscription.close()
    await done(root.stop())


async def test_a_stop_ends_a_check_that_is_under_way_and_that_is_no_failure(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    service = await started(world, hang)
    await go_by(world, clock, 2.0)
    await done(service.stop())
    assert service.state == "stopped"
    assert service.failure is None
    assert caplog.text == ""


async def test_a_plain_function_may_be_the_check_and_block(world: World, clock: FakeClock):
    class Plain(Service):
        check_interval = 1.0

        def check(self) -> bool:
            return False

    service = Plain()
    await done(service.start())
    clock.advance(1.0)
    await done(service.wait("failed"))
    assert isinstance(service.failure.error, CheckFailed)


async def test_a_coroutine_function_may_be_the_check(world: World, clock: FakeClock):
    class Waits(Service):
        check_interval = 1.0

        async def check(self) -> bool:
            await asyncio.sleep(0)
            return False

    service = Waits()
    await done(service.start())
    clock.advance(1.0)
    await done(service.wait("failed"))
    bridge.close()
    assert isinstance(service.failure.error, CheckFailed)


async def test_a_decorated_coroutine_function_may_be_the_check_on_asyncio(
    world: World, clock: FakeClock
):
    if world.name != "asyncio":
        return  # elsewhere a plain function is taken at its word

    class Disguised(Service):
        check_interval = 1.0

        def check(self) -> Any:
            return asyncio.sleep(0, False)

    service = Disguised()
    await done(service.start())
    clock.advance(1.0)
    await done(service.wait("failed"))
    assert isinstance(service.failure.error, CheckFailed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("check_interval", 0),
        ("check_interval", None),
        ("check_interval", "10"),
        ("check_timeout", -1),
        ("check_timeout", True),
    ],
)
async def test_times_that_are_none_fail_the_start(
    world: World, clock: FakeClock, name: str, value: Any
):
    service = Checked(world)
    setattr(service, name, value)
    with pytest.raises(UsageError, match=f"a: {name} is a time above 0 s, not {value!r}"):
        await done(service.start())
    assert service.state == "failed"
