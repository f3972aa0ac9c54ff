"""What becomes of a service that fails: restart policies, strategies, intensity and backoff.

Time is a test's own here (:class:`ginkgo.testing.FakeClock`): no restart happens before the test
says that its time has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.dialects import LIMIT, World, done
from tests.trees import Node, Wrong, fail, hang, plant, until

from ginkgo.core.errors import UsageError
from ginkgo.core.policies import Backoff
from ginkgo.testing import FakeClock

STEADY = Backoff(1.0, 2.0, 60.0, jitter=0.0)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock:
        yield clock


def supervised(world: World, shape: str = "a(b,c,d)", **said: dict[str, Any]) -> Node:
    """A tree whose root restarts its children, a second after they failed."""
    said["a"] = {"max_restarts": 5, "restart_period": 100.0, "backoff": STEADY} | said.get("a", {})
    return plant(world, shape, **said)


def waits(clock: FakeClock) -> Callable[[], bool]:
    """Whether somebody waits for the clock."""
    return lambda: clock.waiting > 0


def kinds(root: Node, *of: str) -> list[str]:
    """The events of these kinds, as "kind path"."""
    return [f"{event.kind} {event.path}" for event in root.events if event.kind in of]


# -- the matrix: policy x strategy x way of failing ----------------------------------------------


async def raise_in_a_task(node: Node) -> None:
    node.task(fail)


async def end_an_essential_task(node: Node) -> None:
    async def nothing(node: Node) -> None: ...

    node.spawn(node.world.task(nothing), node, essential=True)


async def give_up_below(node: Node) -> None:
    node["x"].task(fail)


async def stop_by_itself(node: Node) -> None:
    async def stop(node: Node) -> None:
        await done(node.stop())

    node.task(stop)


async def raise_to_stop(node: Node) -> None:
    node.spawn(node.world.task(fail), node, on_error="stop")


FAILING = [raise_in_a_task, end_an_essential_task, give_up_below]
ENDING = [stop_by_itself, raise_to_stop]

TOGETHER = {"one_for_one": "c", "rest_for_one": "cd", "one_for_all": "bcd"}


@pytest.mark.fault(29)
@pytest.mark.parametrize("way", FAILING + ENDING, ids=lambda way: way.__name__)
@pytest.mark.parametrize("strategy", TOGETHER)
@pytest.mark.parametrize("policy", ["transient", "permanent", "temporary"])
async def test_who_is_restarted(
    world: World, clock: FakeClock, policy: str, strategy: str, way: Any
):
    root = supervised(world, "a(b,c(x),d)", a={"strategy": strategy}, c={"restart": policy})
    await done(root.start())
    root.forget()
    await way(root["c"])
    restarted = policy == "permanent" or (policy == "transient" and way in FAILING)
    if not restarted:
        end = "failed" if way in FAILING else "stopped"
        await until(world, root, lambda: root["c"].state == end and root["c"]._operation is None)
        assert not clock.waiting
        clock.advance(1000)
        assert root["c"].state == end
        assert root.state == ("degraded" if way in FAILING else "ready")
        assert [root["b"].state, root["d"].state] == ["ready", "ready"]
        assert set(root.told) <= set("- cx")
    else:
        await until(world, root, waits(clock))
        group = TOGETHER[strategy]
        down = [*sorted(root.story)]
        assert down == sorted(f"-{name}" for name in group + "x"), "each of them is stopped, once"
        others = [name for name in root.story if name[1] in "bd"]
        assert others == [f"-{name}" for name in "db" if name in group], "in reverse order"
        assert root.state == "degraded"
        assert all(root[name].state == "ready" for name in "bcd" if name not in group)
        root.forget()
        clock.advance(0.99)
        assert root.story == []
        clock.advance(0.01)
        await until(world, root, lambda: root.state == "ready")
        expected = [f"+{name}" for name in group]
        expected.insert(expected.index("+c"), "+x")
        assert root.story == expected, "in the order of a start"
        assert [root[name].restarts for name in "bcd"] == [int(name in group) for name in "bcd"]
    await done(root.stop())
    assert not clock.waiting
    assert {str(node.state) for node in root.walk()} == {"stopped"}


# -- intensity, backoff, escalation --------------------------------------------------------------


async def fails_again(world: World, root: Node, name: str) -> None:
    root[name].task(fail)
    await until(world, root, lambda: root[name].state == "failed")


async def test_each_restart_waits_longer_up_to_the_ceiling(world: World, clock: FakeClock):
    root = supervised(world, a={"max_restarts": 50, "backoff": Backoff(1, 2, 10, 0)})
    await done(root.start())
    waited = []
    for _ in range(6):
        await fails_again(world, root, "c")
        await until(world, root, waits(clock))
        waited.append(clock.left)
        clock.advance(clock.left)
        await until(world, root, lambda: root.ready)
    assert waited == [1, 2, 4, 8, 10, 10]
    await done(root.stop())


async def test_a_quiet_period_makes_the_wait_short_again(world: World, clock: FakeClock):
    root = supervised(world, a={"max_restarts": 50, "restart_period": 100.0})
    await done(root.start())
    waited = []
    for quiet in (10, 99, 100, 5):
        await fails_again(world, root, "c")
        await until(world, root, waits(clock))
        waited.append(clock.left)
        clock.advance(clock.left)
        await until(world, root, lambda: root.ready)
        clock.advance(quiet)
    assert waited == [1, 2, 4, 1]
    await done(root.stop())


@pytest.mark.fault(33)
async def test_more_failures_than_allowed_within_the_period_are_given_up(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    root = supervised(world, a={"max_restarts": 2, "restart_period": 100.0})
    await done(root.start())
    for name in "cd":
        await fails_again(world, root, name)
        await until(world, root, waits(clock))
        clock.advance(10)
        await until(world, root, lambda: root.ready)
    root.forget()
    root["b"].task(fail)
    await until(world, root, lambda: root.state == "failed")
    assert root.told == "-b -a -d -c", "its children are stopped in order"
    assert not clock.waiting
    assert [str(failure.path) for failure in root.failure.chain()] == ["a", "a/b"]
    assert "a gives up: a/b failed; that is 3 failures within 100 s" in caplog.text
    assert kinds(root, "give-up") == ["give-up a"]


async def test_failures_that_lie_far_apart_are_not_counted_together(world: World, clock: FakeClock):
    root = supervised(world, a={"max_restarts": 1, "restart_period": 100.0})
    await done(root.start())
    for _ in range(4):
        await fails_again(world, root, "c")
        await until(world, root, waits(clock))
        clock.advance(clock.left)
        await until(world, root, lambda: root.ready)
        clock.advance(101)
    assert root["c"].restarts == 4
    await done(root.stop())


async def test_a_supervisor_that_gives_up_is_restarted_by_its_own(world: World, clock: FakeClock):
    root = supervised(world, "a(b(x,y),c)")
    await done(root.start())
    root.forget()
    root["x"].task(fail)
    await until(world, root, waits(clock))
    assert root.told == "-x -b -y"
    assert root["b"].state == "failed"
    assert root["c"].state == "ready"
    root.forget()
    clock.advance(1)
    await until(world, root, lambda: root.ready)
    assert root.told == "+x +y +b"
    await done(root.stop())


async def test_limits_of_a_child_alone_leave_its_siblings_theirs(world: World, clock: FakeClock):
    root = supervised(world, a={"max_restarts": 1})
    child = Node(world, "e", root.story)
    root.add_service(child, max_restarts=3, restart_period=50, backoff=(7, 1, 7, 0))
    await done(root.start())
    for _ in range(3):
        await fails_again(world, root, "e")
        await until(world, root, waits(clock))
        assert clock.left == 7
        clock.advance(7)
        await until(world, root, lambda: root.ready)
    await fails_again(world, root, "b")
    await until(world, root, waits(clock))
    clock.advance(1)
    await until(world, root, lambda: root.ready)
    root["e"].task(fail)
    await until(world, root, lambda: root.state == "failed")


# -- a start that fails again --------------------------------------------------------------------


@pytest.mark.fault(35)
async def test_a_restart_that_fails_is_one_more_failure(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    root = supervised(world)
    await done(root.start())
    root["c"].scripts["start"] = Wrong("not yet")
    await fails_again(world, root, "c")
    for wait in (1, 2, 4):
        await until(world, root, waits(clock))
        assert clock.left == wait
        clock.advance(wait)
        await until(world, root, lambda wait=wait: clock.left not in (None, wait))
    assert root.state == "degraded"
    root["c"].scripts.clear()
    clock.advance(8)
    await until(world, root, lambda: root.ready)
    assert root["c"].restarts == 1
    assert "a/c: start failed: not yet" in caplog.text
    await done(root.stop())


@pytest.mark.fault(35)
async def test_a_restart_that_hangs_or_is_not_ready_in_time_is_one_too(
    world: World, clock: FakeClock
):
    for script in (hang, _not_ready):
        root = supervised(world, c={"start_timeout": 0.05})
        await done(root.start())
        root["c"].scripts["start"] = script
        await fails_again(world, root, "c")
        await until(world, root, waits(clock))
        clock.advance(1)
        await until(world, root, lambda root=root: "0.05 s" in str(root["c"].failure))
        await until(world, root, waits(clock))
        assert clock.left == 2
        await done(root.stop())


async def _not_ready(node: Node) -> Any:
    return node.NOT_READY


async def test_in_a_group_a_start_that_fails_stops_those_that_were_started(
    world: World, clock: FakeClock
):
    root = supervised(world, a={"strategy": "one_for_all"})
    await done(root.start())
    await fails_again(world, root, "b")
    await until(world, root, waits(clock))
    root["c"].scripts["start"] = Wrong("not yet")
    root.forget()
    clock.advance(1)
    await until(world, root, lambda: root.told == "+b +c -c -b" and clock.waiting)
    root["c"].scripts.clear()
    root.forget()
    clock.advance(clock.left)
    await until(world, root, lambda: root.ready)
    assert root.told == "+b +c +d"
    await done(root.stop())


# -- meanwhile -----------------------------------------------------------------------------------


@pytest.mark.fault(34)
@pytest.mark.fault(75)
async def test_while_a_child_waits_the_tree_can_be_stopped(world: World, clock: FakeClock):
    root = supervised(world)
    await done(root.start())
    await fails_again(world, root, "c")
    await until(world, root, waits(clock))
    await done(root.stop())
    assert not clock.waiting
    assert {str(node.state) for node in root.walk()} == {"stopped"}
    root.forget()
    clock.advance(1000)
    await done(root.start())
    assert root.told == "+b +c +d +a"
    assert root.ready
    await done(root.stop())


@pytest.mark.fault(34)
async def test_while_a_child_waits_it_can_be_stopped_for_good(world: World, clock: FakeClock):
    root = supervised(world)
    await done(root.start())
    await fails_again(world, root, "c")
    await until(world, root, waits(clock))
    await done(root["c"].stop())
    assert not clock.waiting
    assert root["c"].state == "stopped"
    assert root.state == "ready", "what was stopped by hand is not missed"
    await done(root.stop())


async def test_while_a_child_waits_it_can_be_removed(world: World, clock: FakeClock):
    root = supervised(world)
    await done(root.start())
    child = root["c"]
    await fails_again(world, root, "c")
    await until(world, root, waits(clock))
    await done(root.remove_service(child))
    assert not clock.waiting
    assert root.state == "ready"
    assert child.parent is None
    await done(root.stop())


async def test_while_a_child_waits_the_others_are_reloaded(world: World, clock: FakeClock):
    root = supervised(world)
    await done(root.start())
    await fails_again(world, root, "c")
    await until(world, root, waits(clock))
    root.forget()
    await done(root.reload())
    assert root.told == "~b ~d ~a"
    await done(root.stop())


async def test_a_restart_by_hand_does_not_wait(world: World, clock: FakeClock):
    root = supervised(world)
    await done(root.start())
    await fails_again(world, root, "c")
    await until(world, root, waits(clock))
    await done(root["c"].restart())
    await until(world, root, lambda: root.ready)
    assert not clock.waiting
    await done(root.stop())


async def test_a_start_by_hand_brings_the_group_back(world: World, clock: FakeClock):
    root = supervised(world, a={"strategy": "one_for_all"})
    await done(root.start())
    await fails_again(world, root, "c")
    await until(world, root, waits(clock))
    await done(root["d"].start())
    await until(world, root, lambda: root.ready)
    assert not clock.waiting
    await done(root.stop())


async def test_two_children_that_fail_together_are_both_restarted(world: World, clock: FakeClock):
    for strategy in TOGETHER:
        root = supervised(world, a={"strategy": strategy})
        await done(root.start())
        root["b"].task(fail)
        root["d"].task(fail)
        await until(world, root, lambda root=root: {"-b", "-d"} <= set(root.story))
        while not root.ready:
            await until(world, root, lambda root=root: clock.waiting or root.ready)
            clock.advance(clock.left or 0)
            await world.breathe()
        assert all(node.state == "ready" for node in root.walk())
        await done(root.stop())


async def test_a_tree_above_a_child_that_is_down_says_degraded(world: World, clock: FakeClock):
    root = plant(world, "a(b(c),d)", b={"max_restarts": 5, "backoff": STEADY})
    await done(root.start())
    waiting = world.ask(root.wait, "degraded", LIMIT)
    await fails_again(world, root, "c")
    await until(world, root, waits(clock))
    assert await waiting.result()
    assert root.states == "a:degraded b:degraded c:failed d:ready"
    assert not root.ready
    waiting = world.ask(root.wait, "ready", LIMIT)
    clock.advance(1)
    assert await waiting.result()
    assert root.states == "a:ready b:ready c:ready d:ready"
    await done(root.stop())


# -- tasks ---------------------------------------------------------------------------------------


async def test_an_error_that_is_only_logged_fails_nothing(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    root = supervised(world)
    await done(root.start())
    task = root["c"].spawn(world.task(fail), root["c"], on_error="log")
    with pytest.raises(Wrong):
        await world.result(task)
    await until(world, root, lambda: kinds(root, "failure"))
    assert root.ready
    assert "a/c: task fail failed: c" in caplog.text
    await done(root.stop())


async def test_repeats_of_an_error_are_counted_and_not_all_told(
    world: World, clock: FakeClock, caplog: pytest.LogCaptureFixture
):
    root = supervised(world)
    await done(root.start())
    for number in range(1, 51):
        root["c"].spawn(world.task(fail), root["c"], on_error="log")
        await until(world, root, lambda number=number: len(kinds(root, "failure")) == number)
    assert caplog.text.count("task fail failed: c") == 1
    clock.advance(11)
    root["c"].spawn(world.task(fail), root["c"], on_error="log")
    await until(world, root, lambda: len(kinds(root, "failure")) == 51)
    assert "and 49 times more before this" in caplog.text
    await done(root.stop())


async def test_what_is_caught_goes_to_the_handler_and_fails_nothing(world: World, clock: FakeClock):
    root = supervised(world)
    caught = []
    gate = world.gate()

    async def handler(error: Exception) -> None:
        caught.append(error)
        gate.open()

    root["c"].catch(Wrong, world.task(handler))
    await done(root.start())
    root["c"].task(fail)
    assert await gate.passed(LIMIT)
    assert [str(error) for error in caught] == ["c"]
    assert root.ready
    await done(root.stop())


async def test_a_handler_that_raises_is_a_task_that_raises(world: World, clock: FakeClock):
    root = supervised(world)

    async def handler(error: Exception) -> None:
        raise Wrong("worse")

    root["c"].catch(Exception, world.task(handler))
    await done(root.start())
    root["c"].task(fail)
    await until(world, root, lambda: root["c"].failure is not None)
    assert str(root["c"].failure.error) == "worse"
    await done(root.stop())


async def test_an_error_of_another_kind_is_not_caught(world: World, clock: FakeClock):
    root = supervised(world)
    root["c"].catch(KeyError, lambda error: None)
    await done(root.start())
    root["c"].task(fail)
    await until(world, root, lambda: root["c"].state == "failed")
    await done(root.stop())


async def test_an_essential_task_that_is_ended_by_hand_is_missed(world: World, clock: FakeClock):
    root = supervised(world)
    await done(root.start())
    task = root["c"].spawn(world.task(hang), root["c"], essential=True)
    await world.breathe()
    world.kill(task)
    await until(world, root, lambda: root["c"].state == "failed")
    assert "its task hang has ended, and is essential" in str(root["c"].failure)
    await done(root.stop())


async def test_a_stop_that_ends_an_essential_task_is_no_failure(world: World, clock: FakeClock):
    root = supervised(world)
    await done(root.start())
    root["c"].spawn(world.task(hang), root["c"], essential=True)
    await world.breathe()
    await done(root["c"].stop())
    assert root["c"].state == "stopped"
    assert root.ready
    await done(root.stop())


# -- what is said wrong --------------------------------------------------------------------------


def test_a_policy_that_does_not_exist_is_told_where_it_is_said(world: World):
    root = plant(world, "a(b)")
    with pytest.raises(UsageError, match="a/b: restart is one of transient, permanent, temporary"):
        root["b"].restart = "always"
    with pytest.raises(UsageError, match=r"Wild: restart is one of .*, not 'forever'"):
        type("Wild", (Node,), {"restart": "forever"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strategy", "all_for_one"),
        ("max_restarts", -1),
        ("max_restarts", "3"),
        ("restart_period", 0),
        ("backoff", 3),
        ("backoff", (1, 0.5)),
        ("backoff", (1, 2, 3, 4)),
    ],
)
async def test_limits_that_cannot_be_meant_fail_the_start(world: World, name: str, value: object):
    root = plant(world, "a(b)", a={name: value})
    with pytest.raises(UsageError, match=f"a: .*{name}"):
        await done(root.start())


def test_a_policy_is_a_name_and_a_call(world: World):
    class Lasting(Node):
        restart = "permanent"

    node = Lasting(world, "a")
    assert node.restart == "permanent"
    assert Node(world, "b").restart == "transient"
    world.run(_restarted(node))


async def _restarted(node: Node) -> None:
    await done(node.restart())
    assert node.ready
    await done(node.stop())
