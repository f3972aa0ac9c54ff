"""Starts, stops, reloads and restarts that meet, and callers that are ended while they wait."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.dialects import World, done, within
from tests.trees import SEVEN, Node, Wrong, at, hang, hang_and_retry, plant, ready_later

from ginkgo.core.failure import Abandoned

NAMES = "abcdefg"
STOPPED = {"stopped"}


def states(root: Node) -> set[str]:
    return {str(node.state) for node in root.walk()}


# -- a stop at every step of a start ----------------------------------------------------------


@pytest.mark.fault(56)
@pytest.mark.fault(75)
@pytest.mark.parametrize("early", ["", "abc"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_stop_at_any_step_of_a_start_unwinds_it(world: World, name: str, early: str):
    root = plant(world, SEVEN, **{each: {"start_before": True} for each in early})
    root[name].scripts["start"] = hang_and_retry
    start = world.ask(root.start)
    await world.breathe()
    assert root.story[-1] == f"+{name}"
    await done(root.stop())
    assert not states(root) & {"starting", "ready", "stopping", "failed"}
    assert root.state == "stopped"
    entered = [event[1:] for event in root.story if event[0] == "+"]
    left = [event[1:] for event in root.story if event[0] == "-"]
    assert left == entered[::-1]
    with pytest.raises(Abandoned, match="a was stopped while it was starting"):
        await start.result()
    root[name].scripts.clear()
    await done(root.start())
    assert root.ready
    await done(root.stop())


@pytest.mark.parametrize("name", NAMES)
async def test_a_stop_while_something_is_not_ready_yet_unwinds_the_start(world: World, name: str):
    root = plant(world, SEVEN)
    root[name].scripts["start"] = ready_later
    start = world.ask(root.start)
    await world.breathe()
    await done(root.stop())
    assert root.state == "stopped"
    with pytest.raises(Abandoned):
        await start.result()
    entered = [event[1:] for event in root.story if event[0] == "+"]
    assert [event[1:] for event in root.story if event[0] == "-"] == entered[::-1]


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("stops_first", [True, False])
@pytest.mark.parametrize("name", "dba")
async def test_a_stop_that_meets_the_end_of_a_hook(
    world: World, name: str, turns: int, stops_first: bool
):
    gate = world.gate()
    root = plant(world, SEVEN)
    root[name].scripts["start"] = at(gate)
    start = world.ask(root.start)
    await world.breathe()
    steps = [lambda: stops.append(world.ask(root.stop)), gate.open]
    stops: list[Any] = []
    for step in steps if stops_first else steps[::-1]:
        step()
        for _ in range(turns):
            await world.sleep(0)
    await stops[0].result()
    assert root.state == "stopped"
    assert not states(root) & {"starting", "ready", "stopping", "failed"}
    try:
        await start.result()
    except Abandoned:
        pass
    entered = [event[1:] for event in root.story if event[0] == "+"]
    assert [event[1:] for event in root.story if event[0] == "-"] == entered[::-1]


async def test_a_stop_of_a_child_that_starts_fails_the_start_of_its_parents(world: World):
    root = plant(world, SEVEN, d={"start": hang})
    start = world.ask(root.start)
    await world.breathe()
    await done(root["d"].stop())
    with pytest.raises(Abandoned, match="a/b/d was stopped while it was starting"):
        await start.result()
    assert root["d"].state == "stopped"
    assert root.state == root["b"].state == "failed"


async def test_a_hook_that_is_broken_into_may_raise_what_it_likes(world: World):
    async def start(node: Node) -> None:
        try:
            await hang(node)
        except BaseException:
            raise Wrong("clean-up") from None

    root = plant(world, "a(b,c)", c={"start": start})
    asker = world.ask(root.start)
    await world.breathe()
    await done(root.stop())
    assert root.states == "a:stopped b:stopped c:stopped"
    with pytest.raises(Wrong):
        await asker.result()


async def test_a_stop_while_a_start_unwinds_waits_for_it(world: World):
    gate = world.gate()
    root = plant(world, "a(b,c)", b={"stop": at(gate)}, c={"start": Wrong("c")})
    start = world.ask(root.start)
    await world.breathe()
    stop = world.ask(root.stop)
    await world.breathe()
    assert root.told == "+b +c -c -b"
    assert not stop.ended
    gate.open()
    await stop.result()
    assert states(root) == STOPPED
    with pytest.raises(Wrong):
        await start.result()


# -- several of the same ----------------------------------------------------------------------


@pytest.mark.fault(13)
async def test_two_starts_are_one(world: World):
    gate = world.gate()
    root = plant(world, SEVEN, c={"start": at(gate)})
    askers = [world.ask(root.start) for _ in range(3)]
    await world.breathe()
    gate.open()
    for asker in askers:
        await asker.result()
    await done(root.start())
    assert root.told == "+d +e +b +f +g +c +a"
    await done(root.stop())


async def test_two_starts_fail_with_the_same_error(world: World):
    gate = world.gate()

    async def start(node: Node) -> None:
        await gate.passed()
        raise Wrong("c")

    root = plant(world, SEVEN, c={"start": start})
    askers = [world.ask(root.start) for _ in range(2)]
    await world.breathe()
    gate.open()
    for asker in askers:
        with pytest.raises(Wrong):
            await asker.result()
    assert root.state == "failed"


@pytest.mark.fault(58)
@pytest.mark.fault("O2")
async def test_two_stops_are_one(world: World):
    gate = world.gate()
    root = plant(world, SEVEN, c={"stop": at(gate)})
    await done(root.start())
    root.forget()
    askers = [world.ask(root.stop) for _ in range(3)]
    await world.breathe()
    assert not any(asker.ended for asker in askers)
    gate.open()
    for asker in askers:
        await asker.result()
    await done(root.stop())
    assert root.told == "-a -c -g -f -b -e -d"


@pytest.mark.parametrize("state", ["init", "stopped", "failed"])
async def test_a_stop_of_what_does_not_run_has_nothing_to_do(world: World, state: str):
    root = plant(world, "a(b)", b={"start": Wrong("b")} if state == "failed" else {})
    if state == "failed":
        with pytest.raises(Wrong):
            await done(root.start())
    elif state == "stopped":
        await done(root.start())
        await done(root.stop())
    root.forget()
    await done(root.stop())
    assert root.told == ""
    assert states(root) == ({"init"} if state == "init" else STOPPED)


async def test_two_restarts_at_once_both_end_in_ready(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    askers = [world.ask(root.restart) for _ in range(2)]
    for asker in askers:
        try:
            await asker.result()
        except Abandoned:
            # Where hooks wait, the stop of the second meets its start.
            assert asker is askers[0] or not world.loop
    assert states(root) == {"ready"}
    await done(root.stop())


# -- different ones at once -------------------------------------------------------------------


@pytest.mark.fault(13)
async def test_a_start_during_a_stop_starts_again_afterwards(world: World):
    gate = world.gate()
    root = plant(world, "a(b)", b={"stop": at(gate)})
    await done(root.start())
    stop = world.ask(root.stop)
    await world.breathe()
    start = world.ask(root.start)
    await world.breathe()
    gate.open()
    await stop.result()
    await start.result()
    assert root.told == "+b +a -a -b +b +a"
    await done(root.stop())


ALL = ("start", "stop", "reload", "restart")


@pytest.mark.parametrize("order", [*itertools.permutations(ALL)], ids="-".join)
async def test_all_four_at_once_end_well(world: World, order: tuple[str, ...]):
    async def wait(node: Node) -> None:
        await world.sleep(0)

    slow = {"start": wait, "stop": wait, "reload": wait}
    root = plant(world, SEVEN, **dict.fromkeys(NAMES, slow))
    askers = [world.ask(getattr(root, name)) for name in order]
    for asker in askers:
        try:
            await asker.result()
        except Abandoned:
            pass
    assert states(root) in ({"ready"}, {"stopped"}, {"init"}, {"stopped", "init"})
    await done(root.stop())
    assert all(root.told.count(f"+{name}") == root.told.count(f"-{name}") for name in NAMES)


async def test_a_stop_during_a_restart_has_the_last_word(world: World):
    gate = world.gate()
    root = plant(world, "a(b)", b={"stop": at(gate)})
    await done(root.start())
    restart = world.ask(root.restart)
    await world.breathe()
    stop = world.ask(root.stop)
    await world.breathe()
    gate.open()
    await stop.result()
    with pytest.raises(Abandoned, match="while it was reloading or restarting"):
        await restart.result()
    assert states(root) == STOPPED
    assert root.told == "+b +a -a -b"


async def test_a_stop_during_the_second_half_of_a_restart_too(world: World):
    root = plant(world, "a(b)")
    await done(root.start())
    root["b"].scripts["start"] = hang
    restart = world.ask(root.restart)
    await world.breathe()
    assert root.state == "starting"
    await done(root.stop())
    with pytest.raises(Abandoned):
        await restart.result()
    assert states(root) == STOPPED


async def test_a_restart_tells_what_its_stop_raised_and_starts_all_the_same(world: World):
    root = plant(world, "a(b)", b={"stop": Wrong("b")})
    await done(root.start())
    with pytest.raises(Wrong):
        await done(root.restart())
    assert root.ready
    root["b"].scripts.clear()
    await done(root.stop())


async def test_a_restart_of_one_service_leaves_its_siblings_alone(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    await done(root["b"].restart())
    assert root.told == "-b -e -d +d +e +b"
    assert states(root) == {"ready"}
    await done(root.stop())


# -- callers that are ended -------------------------------------------------------------------


async def test_a_start_whose_caller_is_killed_is_unwound(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, SEVEN, c={"start": hang})
    asker = world.ask(root.start)
    await world.breathe()
    asker.kill()
    await done(root.wait("stopped"))
    assert root.told == "+d +e +b +f +g +c -c -g -f -b -e -d"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_start_whose_caller_runs_out_of_time_is_unwound(world: World):
    root = plant(world, SEVEN, c={"start": hang})
    with pytest.raises(TimeoutError):
        async with within(root.async_.timeout(0.01)):
            await done(root.start())
    await done(root.wait("stopped"))
    assert not states(root) & {"starting", "ready", "stopping"}


async def test_a_start_whose_caller_is_killed_before_it_began_starts_nothing(world: World):
    root = plant(world, "a(b)")
    asker = world.ask(root.start)
    await world.sleep(0)
    asker.kill()
    await world.breathe()
    await done(root.stop())
    assert root.told.count("+") == root.told.count("-")


@pytest.mark.parametrize("call", ["stop", "restart"])
async def test_a_stop_whose_caller_is_killed_goes_on(world: World, call: str):
    gate = world.gate()
    root = plant(world, SEVEN, c={"stop": at(gate)})
    await done(root.start())
    root.forget()
    asker = world.ask(getattr(root, call))
    await world.breathe()
    asker.kill()
    await world.breathe()
    gate.open()
    await done(root.wait("stopped"))
    await world.breathe()
    assert root.told.startswith("-a -c -g -f -b -e -d")
    assert root.state == ("stopped" if call == "stop" else "ready")
    await done(root.stop())


async def test_errors_of_a_stop_that_nobody_waits_for_are_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
):
    gate = world.gate()

    async def stop(node: Node) -> None:
        await gate.passed()
        raise Wrong("c")

    root = plant(world, "a(b,c)", b={"stop": Wrong("b")}, c={"stop": stop})
    await done(root.start())
    asker = world.ask(root.stop)
    await world.breathe()
    asker.kill()
    gate.open()
    await done(root.wait("stopped"))
    await world.breathe()
    assert [record.getMessage() for record in caplog.records] == [
        "a/c: do_stop failed: c",
        "a/b: do_stop failed: b",
    ]


# -- from callbacks of the loop ---------------------------------------------------------------


async def test_a_callback_of_the_loop_may_call_everything(world: World):
    root = plant(world, SEVEN)
    world.soon(root.start)
    await done(root.wait("ready"))
    root.forget()
    world.soon(root.reload)
    await world.breathe()
    assert root.told == "~d ~e ~b ~f ~g ~c ~a"
    world.soon(root.restart)
    await done(root.wait("stopped"))
    await done(root.wait("ready"))
    world.soon(root.stop)
    await done(root.wait("stopped"))


async def test_an_error_of_what_a_callback_asked_for_is_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, "a(b)", b={"start": Wrong("b")})
    world.soon(root.start)
    await done(root.wait("failed"))
    await world.breathe()
    assert [record.getMessage() for record in caplog.records] == ["a: start failed: b"]
