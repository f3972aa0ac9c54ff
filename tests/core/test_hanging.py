"""Hooks that do not return: every step of a start, stop and reload has its time, and no more."""

from __future__ import annotations

import time

import pytest
from tests.dialects import World, done
from tests.trees import (
    SEVEN,
    Node,
    Wrong,
    hang,
    hang_and_retry,
    hang_and_swallow,
    plant,
    ready_later,
)

from ginkgo.core import tasks
from ginkgo.core.context import context
from ginkgo.core.errors import UsageError
from ginkgo.core.failure import ReloadTimeout, StartTimeout, StopTimeout

NAMES = "abcdefg"
SOON = 0.02  # seconds; a limit for what hangs for ever
ENOUGH = 5.0  # seconds; a limit for what does not hang


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "start_timeout", ENOUGH)
    monkeypatch.setattr(context, "stop_timeout", ENOUGH)


@pytest.mark.fault(9)
@pytest.mark.fault("O6")
@pytest.mark.parametrize("hanging", [hang, hang_and_retry, hang_and_swallow])
@pytest.mark.parametrize("name", NAMES)
async def test_a_start_that_hangs_anywhere_times_out_and_unwinds(world: World, name, hanging):
    root = plant(world, SEVEN)
    root[name].scripts["start"] = hanging
    root[name].start_timeout = SOON
    with pytest.raises(StartTimeout) as caught:
        await done(root.start())
    assert str(caught.value) == f"{root[name].path}: do_start did not return within 0.02 s"
    entered = [event[1:] for event in root.story if event[0] == "+"]
    left = [event[1:] for event in root.story if event[0] == "-"]
    assert entered[-1] == name
    assert left == entered[::-1]
    assert root.state == root[name].state == "failed"


@pytest.mark.fault(74)
@pytest.mark.parametrize("hanging", [hang, hang_and_retry, hang_and_swallow])
@pytest.mark.parametrize("name", NAMES)
async def test_a_stop_that_hangs_anywhere_goes_on(world: World, name, hanging):
    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    root[name].scripts["stop"] = hanging
    root[name].stop_timeout = SOON
    with pytest.raises(StopTimeout) as caught:
        await done(root.stop())
    assert str(caught.value) == f"{root[name].path}: do_stop did not return within 0.02 s"
    assert root.told == "-a -c -g -f -b -e -d"
    assert {str(node.state) for node in root.walk()} == {"stopped"}


@pytest.mark.parametrize("hanging", [hang, hang_and_retry, hang_and_swallow])
@pytest.mark.parametrize("name", NAMES)
async def test_a_reload_that_hangs_anywhere_goes_on(world: World, name, hanging):
    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    root[name].scripts["reload"] = hanging
    root[name].start_timeout = SOON
    with pytest.raises(ReloadTimeout) as caught:
        await done(root.reload())
    assert root.told == "~d ~e ~b ~f ~g ~c ~a"
    assert root.ready
    assert root[name].reload_error is caught.value
    del root[name].scripts["reload"]
    await done(root.reload())
    assert root[name].reload_error is None
    await done(root.stop())


async def test_a_hook_that_is_left_behind_is_shown_where_it_is(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, "a(b)", b={"start": hang_and_swallow, "start_timeout": SOON})
    with pytest.raises(StartTimeout):
        await done(root.start())
    (record,) = caplog.records
    assert record.getMessage() == "a/b: do_start does not end, and is left behind"
    assert "await gate.passed()" in str(record.stack_info)


async def test_a_hook_that_was_left_behind_harms_nobody_when_it_ends(world: World):
    ended = []

    async def swallow(node: Node) -> object:
        await hang_and_swallow(node)
        ended.append(node)
        return node.NOT_READY

    root = plant(world, "a(b)", b={"start": swallow, "start_timeout": SOON})
    with pytest.raises(StartTimeout):
        await done(root.start())
    root["b"].scripts.clear()
    await done(root.start())
    world.close()
    await world.breathe()
    assert ended == [root["b"]]
    assert root.ready
    await done(root.stop())


async def test_a_hook_that_cleans_up_when_its_time_is_over_is_given_a_moment(world: World):
    async def start(node: Node) -> None:
        try:
            await hang(node)
        finally:
            await world.sleep(SOON / 4)
            node.story.append("cleaned up")

    root = plant(world, "a", a={"start": start, "start_timeout": SOON})
    with pytest.raises(StartTimeout):
        await done(root.start())
    assert root.told == "+a cleaned up -a"


async def test_an_error_of_that_clean_up_is_the_one_that_is_raised(world: World):
    async def start(node: Node) -> None:
        try:
            await hang(node)
        finally:
            raise Wrong("clean-up")

    root = plant(world, "a", a={"start": start, "start_timeout": SOON})
    with pytest.raises(Wrong, match="clean-up"):
        await done(root.start())
    assert root.state == "failed"


async def test_the_time_of_one_hook_is_not_that_of_the_next(world: World):
    async def wait(node: Node) -> None:
        await world.sleep(0.1)

    slow = {"start": wait, "start_timeout": 0.6}  # all of them together take longer
    root = plant(world, SEVEN, **dict.fromkeys(NAMES, slow))
    await done(root.start())
    assert root.ready
    await done(root.stop())


async def test_time_that_passed_before_a_hook_began_is_not_its_own(world: World):
    async def compute(node: Node) -> None:
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            pass

    async def wait(node: Node) -> None:
        await world.sleep(0.01)

    root = plant(world, "a(b,c)", b={"start": compute}, c={"start": wait, "start_timeout": 0.4})
    await done(root.start())
    await done(root.stop())


@pytest.mark.fault(10)
async def test_a_service_that_never_gets_ready_fails_the_start(world: World):
    root = plant(world, "a(b,c)", c={"start": ready_later, "start_timeout": SOON})
    with pytest.raises(StartTimeout) as caught:
        await done(root.start())
    assert str(caught.value) == "a/c: started, but not ready within 0.02 s"
    assert "set_ready" in caught.value.hint
    assert root.told == "+b +c -c -b"


async def test_limits_are_looked_up_on_the_instance_the_class_and_the_process(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    class Quick(Node):
        start_timeout = 0.02

    async def message(service: Node) -> str:
        with pytest.raises(StartTimeout) as caught:
            await done(service.start())
        return str(caught.value)

    monkeypatch.setattr(context, "start_timeout", 0.03)
    of_process, of_class, of_instance = Node(world, "a"), Quick(world, "a"), Quick(world, "a")
    of_instance.start_timeout = 0.01
    for service in (of_process, of_class, of_instance):
        service.scripts["start"] = hang
    assert "within 0.03 s" in await message(of_process)
    assert "within 0.02 s" in await message(of_class)
    assert "within 0.01 s" in await message(of_instance)


async def test_the_stop_timeout_is_looked_up_in_the_same_places(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(context, "stop_timeout", 0.03)
    root = plant(world, "a(b)", a={"stop": hang}, b={"stop": hang, "stop_timeout": 0.01})
    await done(root.start())
    with pytest.raises(ExceptionGroup) as caught:
        await done(root.stop())
    assert [str(error) for error in caught.value.exceptions] == [
        "a: do_stop did not return within 0.03 s",
        "a/b: do_stop did not return within 0.01 s",
    ]


async def test_no_limit_at_all_is_possible(world: World, monkeypatch: pytest.MonkeyPatch):
    async def wait(node: Node) -> None:
        await world.sleep(0.01)

    monkeypatch.setattr(context, "start_timeout", None)
    monkeypatch.setattr(context, "stop_timeout", None)
    root = plant(world, "a", a={"start": wait, "stop": wait})
    await done(root.start())
    await done(root.stop())


@pytest.mark.parametrize("limit", ["10", -1, [3]], ids=repr)
@pytest.mark.parametrize("name", ["start_timeout", "stop_timeout"])
async def test_a_limit_that_is_no_number_fails_the_start(world: World, name: str, limit: object):
    root = plant(world, "a(b,c)", c={name: limit})
    with pytest.raises(UsageError) as caught:
        await done(root.start())
    assert str(caught.value) == f"a/c: {name} is a number of seconds, not {limit!r}"
    assert root.told == "+b -b"


async def test_a_limit_of_nothing_is_over_at_the_first_wait(world: World):
    root = plant(world, "a", a={"start": hang, "start_timeout": 0})
    with pytest.raises(StartTimeout):
        await done(root.start())
    root = plant(world, "a", a={"start_timeout": 0, "stop_timeout": 0})
    await done(root.start())
    await done(root.stop())


@pytest.mark.fault(71)
async def test_many_that_hang_are_each_given_their_time_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tasks, "GRACE", SOON)
    root = plant(world, SEVEN, **{name: {"stop": hang_and_swallow} for name in NAMES})
    for node in root.walk():
        node.stop_timeout = SOON
    await done(root.start())
    root.forget()
    began = time.monotonic()
    with pytest.raises(ExceptionGroup):
        await done(root.stop())
    assert time.monotonic() - began < 7 * 3 * SOON + 1.0
    assert root.told == "-a -c -g -f -b -e -d"
