"""The order of start, stop and reload, as sequences of events, three levels deep.

``+`` is a do_start, ``-`` a do_stop, ``~`` a do_reload; see :mod:`tests.trees`.
"""

from __future__ import annotations

import itertools

import pytest
from tests.dialects import World, done
from tests.trees import SEVEN, Node, Wrong, fail, plant, ready_later

NAMES = "abcdefg"


async def test_children_start_before_their_parent_and_stop_after_it(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    assert root.told == "+d +e +b +f +g +c +a"
    root.forget()
    await done(root.stop())
    assert root.told == "-a -c -g -f -b -e -d"


async def test_start_before_turns_it_round(world: World):
    root = plant(world, SEVEN, **{name: {"start_before": True} for name in NAMES})
    await done(root.start())
    assert root.told == "+a +b +d +e +c +f +g"
    root.forget()
    await done(root.stop())
    assert root.told == "-g -f -c -e -d -b -a"


@pytest.mark.parametrize(
    "early", [early for size in range(4) for early in itertools.combinations("abc", size)]
)
async def test_a_stop_is_the_exact_reverse_of_a_start(world: World, early: tuple[str, ...]):
    root = plant(world, SEVEN, **{name: {"start_before": True} for name in early})
    await done(root.start())
    started = root.told.replace("+", "-").split()
    root.forget()
    await done(root.stop())
    assert root.story == started[::-1]


async def test_each_child_is_ready_before_the_next_starts(world: World):
    async def late(node: Node) -> object:
        node.task(say_ready)
        return node.NOT_READY

    async def say_ready(node: Node) -> None:
        await world.sleep(0.01)
        node.story.append(f"{node.name} is ready")
        node.set_ready()

    root = plant(world, "a(b,c)", b={"start": late}, c={"start": late}, a={"start": late})
    await done(root.start())
    assert root.told == "+b b is ready +c c is ready +a a is ready"
    await done(root.stop())


async def test_tasks_end_before_do_stop_and_after_the_parents(world: World):
    async def work(node: Node) -> None:
        try:
            await world.gate().passed()
        finally:
            node.story.append(f"{node.name}'s task ends")

    async def start(node: Node) -> None:
        node.task(work)

    root = plant(world, "a(b)", a={"start": start}, b={"start": start})
    await done(root.start())
    await world.breathe()
    root.forget()
    await done(root.stop())
    assert root.told == "a's task ends -a b's task ends -b"


async def test_a_reload_goes_the_way_of_a_start(world: World):
    root = plant(world, SEVEN, b={"start_before": True})
    await done(root.start())
    root.forget()
    await done(root.reload())
    assert root.told == "~b ~d ~e ~f ~g ~c ~a"
    await done(root.stop())


@pytest.mark.fault(8)
@pytest.mark.fault("O7")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("early", ["", "a", "b", "abc"])
async def test_a_start_that_fails_anywhere_unwinds_what_had_started(
    world: World, name: str, early: str
):
    root = plant(world, SEVEN, **{each: {"start_before": True} for each in early})
    root[name].scripts["start"] = fail
    with pytest.raises(Wrong) as caught:
        await done(root.start())
    entered = [event[1:] for event in root.story if event[0] == "+"]
    left = [event[1:] for event in root.story if event[0] == "-"]
    assert entered[-1] == name, "nothing starts after the one that failed"
    assert left == entered[::-1], "do_stop runs if and only if do_start was entered"
    assert caught.value.__notes__ == [f"in do_start of {root[name].path}"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_start_that_failed_is_seen_on_the_way_to_the_root(world: World, name: str):
    root = plant(world, SEVEN)
    root[name].scripts["start"] = fail
    with pytest.raises(Wrong) as caught:
        await done(root.start())
    failed = [node for node in root.walk() if node.state == "failed"]
    assert failed == [*reversed([*root[name]._ancestors()]), root[name]]
    assert all(node.state in ("failed", "stopped", "init") for node in root.walk())
    assert [failure.path for failure in root.failure.chain()] == [node.path for node in failed]
    assert [failure.phase for failure in root.failure.chain()][-1] == "start"
    assert all(failure.error is caught.value for failure in root.failure.chain())


@pytest.mark.parametrize("name", NAMES)
async def test_a_tree_that_failed_starts_once_its_fault_is_mended(world: World, name: str):
    root = plant(world, SEVEN)
    root[name].scripts["start"] = fail
    with pytest.raises(Wrong):
        await done(root.start())
    del root[name].scripts["start"]
    root.forget()
    await done(root.start())
    assert root.told == "+d +e +b +f +g +c +a"
    assert root.failure is None
    await done(root.stop())
    assert {str(node.state) for node in root.walk()} == {"stopped"}


async def test_a_failing_child_unwinds_its_elder_siblings(world: World):
    root = plant(world, "a(b,c,d,e,f)", d={"start": fail})
    with pytest.raises(Wrong):
        await done(root.start())
    assert root.told == "+b +c +d -d -c -b"
    assert root.states == "a:failed b:stopped c:stopped d:failed e:init f:init"


@pytest.mark.fault(8)
async def test_errors_of_the_unwinding_are_notes_of_the_one_that_failed_the_start(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, "a(b,c,d)", c={"stop": ValueError("stuck")}, d={"start": fail})
    with pytest.raises(Wrong) as caught:
        await done(root.start())
    assert root.told == "+b +c +d -d -c -b"
    assert caught.value.__notes__ == [
        "in do_start of a/d",
        "and undoing the start raised ValueError: stuck",
    ]
    assert [record.getMessage() for record in caplog.records] == ["a/c: do_stop failed: stuck"]


@pytest.mark.fault(7)
def test_a_constructor_that_raises_starts_nothing(world: World):
    made = []

    class App(Node):
        def __init__(self) -> None:
            super().__init__(world, "a")
            for name in "bcdef":
                if name == "d":
                    raise Wrong(name)
                made.append(self.add_service(Node(world, name, self.story)))

    with pytest.raises(Wrong):
        App()
    assert [node.name for node in made] == ["b", "c"]
    assert all(node.state == "init" and not node.story for node in made)


@pytest.mark.fault(73)
@pytest.mark.fault("O2")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("early", ["", "b"])
async def test_a_stop_never_stops_half_way(
    world: World, name: str, early: str, caplog: pytest.LogCaptureFixture
):
    root = plant(world, SEVEN, **{each: {"start_before": True} for each in early})
    await done(root.start())
    started = root.told.replace("+", "-").split()
    root.forget()
    root[name].scripts["stop"] = fail
    with pytest.raises(Wrong) as caught:
        await done(root.stop())
    assert root.story == started[::-1]
    assert {str(node.state) for node in root.walk()} == {"stopped"}
    assert caught.value.__notes__ == [f"in do_stop of {root[name].path}"]
    assert len(caplog.records) == 1


async def test_several_errors_of_a_stop_come_out_together(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, SEVEN, **{name: {"stop": fail} for name in NAMES})
    await done(root.start())
    with pytest.raises(ExceptionGroup) as caught:
        await done(root.stop())
    assert str(caught.value.message) == "stopping a"
    assert [str(error) for error in caught.value.exceptions] == [*"acgfbed"]
    assert {str(node.state) for node in root.walk()} == {"stopped"}
    assert len(caplog.records) == len(NAMES)
    await done(root.stop())  # the second has nothing to do, and nothing to say


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
async def test_whatever_a_do_stop_raises_is_collected(
    world: World, error: BaseException, caplog: pytest.LogCaptureFixture
):
    root = plant(world, "a(b,c)", c={"stop": error})
    await done(root.start())
    root.forget()
    with pytest.raises(BaseException) as caught:
        await done(root.stop())
    assert error in (caught.value, caught.value.__cause__), "a coroutine takes no GeneratorExit"
    assert root.told == "-a -c -b"
    assert root.states == "a:stopped b:stopped c:stopped"


async def test_ready_is_a_state_of_its_own_beside_started(world: World):
    root = plant(world, "a(b)", b={"start": ready_later})
    asker = world.ask(root.start)
    await world.breathe()
    assert root.told == "+b"
    assert root.states == "a:starting b:starting"
    assert not root["b"].ready
    root["b"].set_ready()
    await asker.result()
    assert root.told == "+b +a"
    assert root.ready
    await done(root.stop())
