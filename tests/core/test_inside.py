"""A tree that is stopped, restarted or changed from inside: by its own tasks and hooks."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from tests.dialects import LIMIT, World, done, within
from tests.trees import SEVEN, Node, hang, plant, tasks_of

from ginkgo.core.failure import Abandoned

NAMES = "abcdefg"
STOPPED = {"stopped"}


def states(root: Node) -> set[str]:
    return {str(node.state) for node in root.walk()}


# -- from the service's own tasks -------------------------------------------------------------


def spawns(task: Any) -> Any:
    """A do_start whose task begins its work when all of the tree is ready."""

    async def once_ready(node: Node) -> None:
        await done(node.root.wait("ready"))
        await task(node)

    async def start(node: Node) -> None:
        node.task(once_ready)

    return start


@pytest.mark.fault(75)
async def test_a_task_that_stops_its_own_service_gets_the_call_back_and_ends(world: World):
    async def work(node: Node) -> None:
        await done(node.stop())
        node.story.append(f"stopped: {node.state}")
        await hang(node)
        node.story.append("this is not reached")

    root = plant(world, "a", a={"start": spawns(work)})
    await done(root.start())
    await done(root.wait("stopped"))
    await world.breathe()
    assert root.told == "+a -a stopped: stopped"


async def test_all_tasks_of_a_service_may_stop_it_at_once(world: World):
    async def work(node: Node) -> None:
        await all_are_there.passed()
        await done(node.stop())
        await hang(node)

    all_are_there = world.gate()
    root = plant(world, "a(b)")
    await done(root.start())
    for _ in range(5):
        root["b"].task(work)
    all_are_there.open()
    await done(root["b"].wait("stopped"))
    await done(root.stop())
    assert root.told == "+b +a -b -a"


@pytest.mark.parametrize("shape", ["a(b)", "a(c(b))", "a(d,c(b,e))"])
async def test_a_task_may_stop_any_service_above_its_own(world: World, shape: str):
    async def work(node: Node) -> None:
        await done(root.stop())
        node.story.append("stopped")
        await hang(node)

    root = plant(world, shape, b={"start": spawns(work)})
    await done(root.start())
    await done(root.wait("stopped"))
    await world.breathe()
    assert root.story[-1] == "stopped"
    assert states(root) == STOPPED


async def test_a_task_that_restarts_its_own_service_does_not_survive_it(world: World):
    rounds = []

    async def work(node: Node) -> None:
        rounds.append(node)
        if len(rounds) == 1:
            await done(node.restart())
            node.story.append(f"restarted: {node.state}")
        await hang(node)
        node.story.append("this is not reached")

    root = plant(world, "a", a={"start": spawns(work)})
    await done(root.start())
    await world.breathe()
    assert root.told == "+a -a +a restarted: ready"
    assert len(rounds) == 2
    assert len(list(tasks_of(root))) == 1
    await done(root.stop())


async def test_a_task_that_gives_up_waiting_for_its_stop_is_ended_like_any_other(world: World):
    gate = world.gate()

    async def work(node: Node) -> None:
        with pytest.raises(TimeoutError):
            async with within(node.async_.timeout(0.01)):
                await done(node.stop())
        node.story.append("goes on")
        gate.open()
        await hang(node)
        node.story.append("this is not reached")

    async def stubborn(node: Node) -> None:
        while not gate_is_open:
            try:
                gate_is_open.append(await gate.passed())
            except BaseException:
                continue

    gate_is_open: list[bool] = []

    root = plant(world, "a")
    await done(root.start())
    root.task(stubborn)
    await world.breathe()
    root.task(work)
    await done(root.wait("stopped"))
    assert root.told == "+a goes on -a"


async def test_a_task_that_stops_its_service_by_way_of_a_childs_hook_ends_too(world: World):
    async def work(node: Node) -> None:
        await done(node["b"].reload())
        node.story.append("reloaded")
        await hang(node)
        node.story.append("this is not reached")

    async def reload(node: Node) -> None:
        await done(node.parent.stop())

    root = plant(world, "a(b)", a={"start": spawns(work)}, b={"reload": reload})
    await done(root.start())
    await done(root.wait("stopped"))
    await world.breathe()
    assert "this is not reached" not in root.told
    assert states(root) == STOPPED


async def test_a_service_may_be_removed_by_its_own_task(world: World):
    async def work(node: Node) -> None:
        await done(node.parent.remove_service(node))
        root.story.append("removed")
        await hang(node)
        root.story.append("this is not reached")

    root = plant(world, "a(b,c)", b={"start": spawns(work)})
    b = root["b"]
    await done(root.start())
    await done(b.wait("stopped"))
    await world.breathe()
    assert root.told == "+b +c +a -b removed"
    assert root.states == "a:ready c:ready"
    assert b.parent is None
    await done(root.stop())


# -- from hooks -------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["start", "stop", "reload"])
@pytest.mark.parametrize("whose", ["itself", "parent", "root"])
@pytest.mark.parametrize("call", ["stop", "start", "restart", "reload"])
async def test_a_hook_may_call_anything_without_a_deadlock(
    world: World, hook: str, whose: str, call: str
):
    calls = []

    async def script(node: Node) -> None:
        if not calls:
            calls.append(node)
            target = {"itself": node, "parent": node.parent, "root": root}[whose]
            await done(getattr(target, call)())

    root = plant(world, SEVEN)
    root["e"].scripts[hook] = script
    for node in root.walk():
        node.start_timeout = node.stop_timeout = 15.0  # over the test's own limit
    asker = world.ask(root.start)
    try:
        await asker.result()
        await done(root.reload())
    except Abandoned:
        pass
    await world.breathe()
    await done(root.stop())
    await world.breathe()
    assert calls == [root["e"]]
    await done(root.stop())
    assert all(root.told.count(f"+{name}") == root.told.count(f"-{name}") for name in NAMES)
    assert not states(root) & {"starting", "stopping", "ready"}


@pytest.mark.parametrize("whose", ["b", "a"])
async def test_a_do_start_that_stops_its_own_tree_ends_in_stopped(world: World, whose: str):
    async def start(node: Node) -> None:
        await done(root[whose].stop())

    root = plant(world, "a(b(d,e),c)", e={"start": start})
    with pytest.raises(Abandoned):
        await done(root.start())
    await world.breathe()
    assert root[whose].state == "stopped"
    assert root.told == "+d +e -e -d"


async def test_a_do_stop_that_stops_its_parent_brings_it_down_after_itself(world: World):
    async def stop(node: Node) -> None:
        await done(root.stop())

    root = plant(world, "a(b,c)", c={"stop": stop})
    await done(root.start())
    root.forget()
    await done(root["c"].stop())
    await done(root.wait("stopped"))
    assert root.told == "-c -a -b"


async def test_two_hooks_that_start_each_others_service_do_not_wait_for_ever(world: World):
    async def start(node: Node) -> None:
        other = root["c" if node.name == "b" else "b"]
        await done(other.start())

    root = plant(world, "a(b,c)", b={"start": start}, c={"start": start})
    await done(root.start())
    assert root.ready
    assert sorted(root.story) == ["+a", "+b", "+c"]
    await done(root.stop())


@pytest.mark.fault(75)
@pytest.mark.parametrize("call", ["stop", "restart"])
async def test_a_plain_function_that_is_a_task_may_stop_or_restart_its_service(
    world: World, call: str
):
    root = plant(world, "a(b)", b={"stop_timeout": LIMIT})
    await done(root.start())
    returned = world.gate()

    def ends_itself() -> None:
        value = getattr(root["b"], call)()
        if inspect.isawaitable(value):  # in the loop itself, where it could not wait
            raise AssertionError("a plain function has no loop")
        returned.open()

    root.forget()
    task = root["b"].spawn(ends_itself)
    assert await returned.passed(LIMIT / 2), root.told
    assert root.told == ("-b" if call == "stop" else "-b +b")
    await until_ended(world, task)
    assert root["b"].state == ("stopped" if call == "stop" else "ready")
    await done(root.stop())


async def until_ended(world: World, task: Any) -> None:
    while not world.ended(task):
        await world.sleep(0.001)
