"""Waiting for states: no change is missed, nothing is left behind, and nothing polls."""

from __future__ import annotations

import pytest
from tests.dialects import World, done
from tests.trees import Node, Wrong, at, fail, hang, plant, ready_later

from ginkgo.core.context import context

STATES = ("starting", "ready", "stopping", "stopped")


def nobody_waits(root: Node) -> bool:
    return not any(node._watchers for node in root.walk())


async def test_a_state_that_is_there_already_is_not_waited_for(world: World):
    root = plant(world, "a")
    assert await done(root.wait("init")) is True
    await done(root.start())
    assert await done(root.wait()) is True
    assert await done(root.state.wait("ready", timeout=0)) is True
    await done(root.stop())


async def test_a_wait_may_end_without_its_state(world: World):
    root = plant(world, "a")
    for timeout in (0, 0.01, -1):
        assert await done(root.wait("ready", timeout=timeout)) is False
    assert nobody_waits(root)


@pytest.mark.parametrize("state", STATES)
async def test_a_state_that_a_service_only_passes_through_is_seen(world: World, state: str):
    root = plant(world, "a(b)")
    waiting = world.ask(root.wait, state)
    await world.breathe()
    await done(root.start())
    await done(root.stop())
    assert await waiting.result() is True
    assert nobody_waits(root)


async def test_a_failure_that_is_only_passed_through_is_seen(world: World):
    root = plant(world, "a", a={"start": fail})
    waiting = world.ask(root.wait, "failed")
    await world.breathe()
    with pytest.raises(Wrong):
        await done(root.start())
    await done(root.stop())
    assert await waiting.result() is True


async def test_many_may_wait_for_one(world: World):
    root = plant(world, "a")
    waiting = [world.ask(root.wait, state) for state in STATES * 25]
    await world.breathe()
    await done(root.start())
    await done(root.stop())
    assert [await asker.result() for asker in waiting] == [True] * 100
    assert nobody_waits(root)


@pytest.mark.parametrize("turns", range(6))
async def test_no_wake_up_is_lost(world: World, turns: int):
    root = plant(world, "a(b)")
    start = world.ask(root.start)
    for _ in range(turns):
        await world.sleep(0)
    assert await done(root.wait("ready", timeout=10))
    stop = world.ask(root.stop)
    for _ in range(turns):
        await world.sleep(0)
    assert await done(root.wait("stopped", timeout=10))
    await start.result()
    await stop.result()


async def test_one_who_is_killed_while_it_waits_leaves_nothing(world: World):
    root = plant(world, "a")
    waiting = world.ask(root.wait, "ready")
    await world.breathe()
    waiting.kill()
    await world.breathe()
    assert nobody_waits(root)


async def test_a_wait_does_not_end_by_another_state(world: World):
    root = plant(world, "a")
    waiting = world.ask(root.wait, "failed", 0.02)
    await done(root.start())
    await done(root.stop())
    assert await waiting.result() is False


# -- ready ------------------------------------------------------------------------------------


@pytest.mark.fault(10)
async def test_ready_may_be_told_before_do_start_has_returned(world: World):
    async def start(node: Node) -> object:
        node.set_ready()
        return node.NOT_READY

    root = plant(world, "a(b)", b={"start": start})
    await done(root.start())
    assert root.ready
    await done(root.stop())


async def test_ready_that_was_told_in_one_run_is_not_told_in_the_next(world: World):
    async def start(node: Node) -> object:
        if len(node.story) == 1:
            node.set_ready()
        return node.NOT_READY

    root = plant(world, "a", a={"start": start, "start_timeout": 0.02})
    await done(root.start())
    await done(root.stop())
    with pytest.raises(TimeoutError):
        await done(root.start())


async def test_ready_may_be_told_by_a_task_a_callback_and_a_thread(world: World):
    async def task(node: Node) -> None:
        node.set_ready()

    async def by_task(node: Node) -> object:
        node.task(task)
        return node.NOT_READY

    async def by_callback(node: Node) -> object:
        world.soon(node.set_ready)
        return node.NOT_READY

    root = plant(
        world,
        "a(b,c)",
        a={"start": ready_later},
        b={"start": by_task},
        c={"start": by_callback},
    )
    start = world.ask(root.start)
    await world.breathe()
    assert root.states == "a:starting b:ready c:ready"
    await world.in_thread(root.set_ready)
    await start.result()
    await done(root.stop())


async def test_ready_that_is_told_at_any_other_time_changes_nothing(world: World):
    root = plant(world, "a")
    root.set_ready()
    assert root.state == "init"
    await done(root.start())
    root.set_ready()
    await done(root.stop())
    root.set_ready()
    assert root.state == "stopped"


async def test_ready_is_false_at_every_other_time(world: World):
    seen = {}

    async def look(node: Node) -> None:
        seen[len(seen)] = node.ready

    root = plant(world, "a", a={"start": look, "stop": look})
    assert not root.ready
    await done(root.start())
    assert root.ready
    await done(root.stop())
    assert not root.ready
    assert seen == {0: False, 1: False}


# -- with and serve_forever -------------------------------------------------------------------


def test_a_service_runs_as_long_as_the_body_of_a_with(world: World):
    root = plant(world, "a(b)")
    with root as entered:
        assert entered is root
        assert root.ready
    assert root.told == "+b +a -a -b"


def test_a_body_that_raises_stops_the_service_too(world: World):
    root = plant(world, "a(b)")
    with pytest.raises(Wrong), root:
        raise Wrong
    assert root.state == "stopped"


def test_a_body_is_not_entered_when_the_start_fails(world: World):
    root = plant(world, "a(b)", b={"start": fail})
    with pytest.raises(Wrong), root:
        pytest.fail("entered")
    assert root.told == "+b -b"


async def test_serve_forever_starts_what_does_not_run_and_ends_with_it(world: World):
    root = plant(world, "a(b)")
    serving = world.ask(root.serve_forever)
    await done(root.wait("ready"))
    await world.breathe()
    assert not serving.ended
    await done(root.stop())
    assert await serving.result() is None
    assert nobody_waits(root)


async def test_serve_forever_serves_what_runs_already(world: World):
    root = plant(world, "a")
    await done(root.start())
    serving = world.ask(root.serve_forever)
    await world.breathe()
    assert root.told == "+a"
    await done(root.stop())
    await serving.result()


async def test_a_restart_is_not_the_end_of_serve_forever(world: World):
    root = plant(world, "a(b)")
    serving = world.ask(root.serve_forever)
    await done(root.wait("ready"))
    for _ in range(3):
        await done(root.restart())
        await world.breathe()
        assert not serving.ended
    await done(root.stop())
    await serving.result()


async def test_serve_forever_raises_what_failed_the_start(world: World):
    root = plant(world, "a(b)", b={"start": fail})
    with pytest.raises(Wrong):
        await done(root.serve_forever())
    assert root.state == "failed"


async def test_serve_forever_raises_what_failed_the_service(world: World):
    root = plant(world, "a(b)")
    serving = world.ask(root.serve_forever)
    await done(root.wait("ready"))
    root["b"].task(fail)
    with pytest.raises(Wrong):
        await serving.result()
    assert root.state == "failed"


@pytest.mark.fault(73)
async def test_serve_forever_raises_what_the_stop_raised(world: World):
    root = plant(world, "a(b,c)", b={"stop": fail}, c={"stop": fail})
    serving = world.ask(root.serve_forever)
    await done(root.wait("ready"))
    world.soon(root.stop)
    with pytest.raises(ExceptionGroup, match="stopping a"):
        await serving.result()
    root["b"].scripts.clear()
    root["c"].scripts.clear()
    serving = world.ask(root.serve_forever)
    await done(root.wait("ready"))
    await done(root.stop())
    await serving.result()


async def test_a_stop_during_the_start_ends_serve_forever_well(world: World):
    root = plant(world, "a(b)", b={"start": hang})
    serving = world.ask(root.serve_forever)
    await world.breathe()
    await done(root.stop())
    assert await serving.result() is None


async def test_serve_forever_may_be_called_by_several(world: World):
    gate = world.gate()
    root = plant(world, "a(b)", b={"start": at(gate)})
    serving = [world.ask(root.serve_forever) for _ in range(3)]
    await world.breathe()
    gate.open()
    await done(root.wait("ready"))
    await done(root.stop())
    for asker in serving:
        await asker.result()
    assert root.told == "+b +a -a -b"


async def test_serve_forever_can_be_wrapped_by_who_handles_signals(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def serving(service: Node):
        seen.append(f"in {service.state}")
        yield
        seen.append(f"out {service.state}")

    monkeypatch.setattr(context, "serving", serving)
    root = plant(world, "a")
    asker = world.ask(root.serve_forever)
    await done(root.wait("ready"))
    await done(root.stop())
    await asker.result()
    assert seen == ["in init", "out stopped"]
