"""Reloading: every service is reached, once, whatever else happens meanwhile."""

from __future__ import annotations

import contextlib

import pytest
from tests.dialects import World, done
from tests.trees import (
    SEVEN,
    Node,
    Wrong,
    at,
    fail,
    hang,
    hang_and_retry,
    hang_and_swallow,
    plant,
    ready_later,
)

from ginkgo import Service
from ginkgo.core import tasks
from ginkgo.core.events import RELOAD
from ginkgo.core.failure import Abandoned


@pytest.mark.fault("O13")
@pytest.mark.parametrize("name", "abcdefg")
async def test_one_that_raises_does_not_starve_its_siblings(
    world: World, name: str, caplog: pytest.LogCaptureFixture
):
    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    root[name].scripts["reload"] = fail
    with pytest.raises(Wrong) as caught:
        await done(root.reload())
    assert root.told == "~d ~e ~b ~f ~g ~c ~a"
    assert {str(node.state) for node in root.walk()} == {"ready"}
    assert [node for node in root.walk() if node.reload_error is not None] == [root[name]]
    assert root[name].reload_error is caught.value
    assert len(caplog.records) == 1
    root[name].scripts.clear()
    await done(root.reload())
    assert root[name].reload_error is None
    await done(root.stop())


async def test_several_errors_come_out_together(world: World):
    root = plant(world, SEVEN, d={"reload": fail}, c={"reload": SystemExit(3)})
    await done(root.start())
    with pytest.raises(BaseExceptionGroup) as caught:
        await done(root.reload())
    assert [type(error) for error in caught.value.exceptions] == [Wrong, SystemExit]
    await done(root.stop())


@pytest.mark.parametrize("state", ["init", "stopped", "failed"])
async def test_what_does_not_run_has_nothing_to_reload(world: World, state: str):
    root = plant(world, "a(b)")
    if state == "failed":
        root["b"].scripts["start"] = fail
        with pytest.raises(Wrong):
            await done(root.start())
    elif state == "stopped":
        await done(root.start())
        await done(root.stop())
    root.forget()
    await done(root.reload())
    assert root.told == ""


async def test_a_hundred_at_once_are_two(world: World):
    gate = world.gate()
    root = plant(world, SEVEN, d={"reload": at(gate)})
    await done(root.start())
    root.forget()
    askers = [world.ask(root.reload) for _ in range(100)]
    await world.breathe()
    assert root.told == "~d"
    gate.open()
    for asker in askers:
        await asker.result()
    assert root.told == "~d ~e ~b ~f ~g ~c ~a " * 2 + "" or root.told.split() == [
        *["~d", "~e", "~b", "~f", "~g", "~c", "~a"] * 2
    ]
    await done(root.stop())


async def test_whoever_asks_during_a_reload_gets_one_that_began_after_it_asked(world: World):
    gate = world.gate()
    versions = [1]
    taken = []

    async def reload(node: Node) -> None:
        taken.append(versions[-1])
        await gate.passed()

    root = plant(world, "a", a={"reload": reload})
    await done(root.start())
    first = world.ask(root.reload)
    await world.breathe()
    versions.append(2)
    second = world.ask(root.reload)
    await world.breathe()
    gate.open()
    await second.result()
    assert taken == [1, 2]
    await first.result()
    await done(root.stop())


async def test_a_reload_during_the_start_is_done_once_when_it_is_ready(world: World):
    gate = world.gate()
    root = plant(world, "a(b)", b={"start": at(gate)})
    start = world.ask(root.start)
    await world.breathe()
    for _ in range(3):
        await done(root.reload())
    assert root.told == "+b"
    gate.open()
    await start.result()
    await world.breathe()
    assert root.told == "+b +a ~b ~a"
    await done(root.stop())


async def test_a_reload_during_a_start_that_fails_is_forgotten(world: World):
    root = plant(world, "a", a={"start": ready_later, "start_timeout": 0.01})
    start = world.ask(root.start)
    await world.breathe()
    await done(root.reload())
    with pytest.raises(TimeoutError):
        await start.result()
    root.scripts.clear()
    root.forget()
    await done(root.start())
    await world.breathe()
    assert root.told == "+a"
    await done(root.stop())


async def test_a_reload_meets_a_child_that_is_just_added(world: World):
    gate = world.gate()
    root = plant(world, "a(b,c)")
    await done(root.start())
    added = plant(world, "x(y)", y={"start": at(gate)})
    adding = world.ask(root.add_service, added)
    await world.breathe()
    root.forget()
    await done(root.reload())
    assert root.told == "~b ~c ~a", "nobody waits for the one that starts"
    gate.open()
    await adding.result()
    await world.breathe()
    assert added.told == "+y +x ~y ~x"
    await done(root.stop())


async def test_a_reload_during_the_stop_is_ignored(world: World):
    gate = world.gate()
    root = plant(world, "a(b)", b={"stop": at(gate)})
    await done(root.start())
    stop = world.ask(root.stop)
    await world.breathe()
    await done(root.reload())
    gate.open()
    await stop.result()
    assert root.told == "+b +a -a -b"


@pytest.mark.fault(75)
@pytest.mark.parametrize("hanging", [hang, hang_and_retry, hang_and_swallow])
@pytest.mark.parametrize("name", "abcdefg")
async def test_a_stop_breaks_into_a_reload_that_hangs(
    world: World, name: str, hanging: object, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tasks, "GRACE", 0.02)
    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    root[name].scripts["reload"] = hanging
    reload = world.ask(root.reload)
    await world.breathe()
    await done(root.stop())
    assert {str(node.state) for node in root.walk()} == {"stopped"}
    assert root.story[-7:] == [f"-{each}" for each in "acgfbed"]
    await reload.result()
    assert root[name].reload_error is None, "it was not its fault"


async def test_a_restart_of_one_that_reloads_lets_the_others_reload(world: World):
    root = plant(world, "a(b,c)", b={"reload": hang})
    await done(root.start())
    root.forget()
    reload = world.ask(root.reload)
    await world.breathe()
    await done(root["b"].restart())
    await reload.result()
    assert root.story[0] == "~b"
    assert [event for event in root.story[1:] if event[1] == "b"] == ["-b", "+b"]
    assert [event for event in root.story if event[1] != "b"] == ["~c", "~a"]
    await done(root.stop())


async def test_a_task_that_fails_during_a_reload_ends_it(world: World):
    root = plant(world, "a(b,c)", b={"reload": hang})
    await done(root.start())
    reload = world.ask(root.reload)
    await world.breathe()
    root["b"].task(fail)
    await done(root.wait("failed"))
    await reload.result()
    assert root.states == "a:failed b:failed c:stopped"


async def test_reloads_of_two_branches_meet_in_the_services_that_they_share(world: World):
    gate = world.gate()
    root = plant(world, SEVEN, d={"reload": at(gate)})
    await done(root.start())
    root.forget()
    whole = world.ask(root.reload)
    await world.breathe()
    branch = world.ask(root["b"].reload)
    await world.breathe()
    assert root.told == "~d"
    gate.open()
    await whole.result()
    await branch.result()
    assert sorted(root.story) == sorted(
        ["~d", "~e", "~b", "~f", "~g", "~c", "~a", "~d", "~e", "~b"]
    )
    await done(root.stop())


async def test_a_caller_that_is_killed_leaves_its_reload_going_on(world: World):
    gate = world.gate()
    root = plant(world, "a(b,c)", b={"reload": at(gate)})
    await done(root.start())
    root.forget()
    asker = world.ask(root.reload)
    await world.breathe()
    asker.kill()
    gate.open()
    await world.breathe()
    assert root.told == "~b ~c ~a"
    await done(root.stop())


async def test_errors_of_a_reload_that_nobody_waits_for_are_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, "a(b,c)", b={"reload": fail}, c={"reload": fail})
    await done(root.start())
    world.soon(root.reload)
    await world.breathe()
    assert [record.getMessage() for record in caplog.records] == [
        "a/b: do_reload failed: b",
        "a/c: do_reload failed: c",
    ]
    await done(root.stop())


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("", "reloaded"),
        ("b", "reloaded, 1 service in it failed"),
        ("bc", "reloaded, 2 services in it failed"),
    ],
)
async def test_the_event_of_a_reload_says_how_it_went(world: World, broken: str, told: str):
    root = plant(world, "a(b,c)", **{name: {"reload": fail} for name in broken})
    await done(root.start())
    with contextlib.suppress(Wrong, BaseExceptionGroup):
        await done(root.reload())
    (event,) = [one for one in root.events if one.kind == RELOAD]
    assert (event.text, event.to_dict()["failed"]) == (told, len(broken))
    await done(root.stop())


async def test_a_reload_may_ask_for_a_reload(world: World):
    async def reload(node: Node) -> None:
        if root.story.count("~a") == 1:
            await done(node.reload())

    root = plant(world, "a(b)", a={"reload": reload})
    await done(root.start())
    root.forget()
    await done(root.reload())
    assert root.told == "~b ~a ~b ~a"
    await done(root.stop())


async def test_the_time_of_a_reload_counts_for_each_service(world: World):
    root = plant(world, "a(b)", b={"reload": hang, "start_timeout": 0.02})
    await done(root.start())
    root.forget()
    with pytest.raises(TimeoutError, match=r"a/b: do_reload did not return within 0.02 s"):
        await done(root.reload())
    assert root.told == "~b ~a"
    await done(root.stop())


async def test_a_stop_that_gave_up_a_start_forgets_its_reload(world: World):
    root = plant(world, "a", a={"start": ready_later})
    start = world.ask(root.start)
    await world.breathe()
    await done(root.reload())
    await done(root.stop())
    with pytest.raises(Abandoned):
        await start.result()
    assert not root._reload_wanted


async def test_a_restart_forgets_that_a_reload_failed(world: World):
    class Picky(Service):
        def do_reload(self) -> None:
            raise ValueError("no")

    service = Picky()
    await done(service.start())
    with pytest.raises(ValueError, match="no"):
        await done(service.reload())
    assert service.reload_error is not None
    await done(service.restart())
    assert service.reload_error is None
    await done(service.stop())
