"""Services that contain services: adding, removing, names and paths, in every state."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tests.dialects import World, done
from tests.trees import SEVEN, Node, Wrong, at, fail, hang, plant, ready_later

from ginkgo import Service
from ginkgo.core.errors import UsageError
from ginkgo.core.failure import Abandoned

# -- what a tree looks like -------------------------------------------------------------------


def test_a_subclass_need_not_call_the_constructor_of_its_base():
    class Bare(Service):
        def __init__(self) -> None:
            self.anything = 1

    class App(Service):
        def __init__(self) -> None:
            self.child = self.add_service(Bare())

    app = App()
    app.start()
    assert app.child.ready
    app.stop()
    assert app.child.state == "stopped"


def test_the_seeds_way_of_composing_gives_the_child_back():
    class App(Service):
        def __init__(self) -> None:
            self.subcomponent = Service()
            self.add_service(self.subcomponent)

    app = App()
    assert app.children == (app.subcomponent,)
    assert app.subcomponent.parent is app
    assert app.subcomponent.root is app


def test_two_services_share_nothing(world: World):
    one, other = plant(world, "a"), plant(world, "b")
    one.add_service(Service())
    assert other.children == ()


@pytest.mark.fault("O9")
async def test_stopping_one_service_leaves_the_tasks_of_another_alone(world: World):
    root = plant(world, "a(b,c)")
    await done(root.start())
    task = root["c"].task(hang)
    root["b"].task(hang)
    await world.breathe()
    await done(root["b"].stop())
    assert not world.ended(task)
    await done(root.stop())
    assert world.ended(task)


def test_paths_lead_from_the_root(world: World):
    root = plant(world, SEVEN)
    assert [node.path for node in root.walk()] == [
        "a",
        "a/b",
        "a/b/d",
        "a/b/e",
        "a/c",
        "a/c/f",
        "a/c/g",
    ]
    assert repr(root["d"]) == "<Node a/b/d init>"


def test_siblings_with_the_same_name_are_numbered():
    class Worker(Service):
        pass

    root = Service()
    workers = [root.add_service(Worker()) for _ in range(3)]
    assert [worker.path for worker in workers] == [
        "Service/Worker",
        "Service/Worker-2",
        "Service/Worker-3",
    ]
    workers[1].name = "other"
    assert workers[2].path == "Service/Worker-2"
    root.remove_service(workers[0])
    assert [worker.path for worker in workers] == ["Worker", "Service/other", "Service/Worker"]
    assert root.add_service(workers[0]).path == "Service/Worker-2"


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_name_is_a_part_of_a_path(name: str):
    with pytest.raises(UsageError, match="a service's name"):
        Service().name = name


@pytest.mark.parametrize(
    "thing", [None, object(), Service, 3], ids=str.split("None object class number")
)
def test_only_services_can_be_added(thing: object):
    with pytest.raises(UsageError, match="Service: add_service takes a service, not"):
        Service().add_service(thing)  # type: ignore[type-var]


def test_a_service_is_in_one_place_only(world: World):
    root = plant(world, SEVEN)
    with pytest.raises(UsageError, match="a/b already has a parent"):
        Service().add_service(root["b"])
    with pytest.raises(UsageError, match="a cannot be added below itself"):
        root["d"].add_service(root)
    with pytest.raises(UsageError, match="a cannot be added below itself"):
        root.add_service(root)
    with pytest.raises(UsageError, match="Service is not a child of a"):
        root.remove_service(Service())
    assert [node.name for node in root.walk()] == [*"abdecfg"]


@dataclass
class Equal(Service):
    """A service that compares equal to others, and cannot be hashed."""

    size: int = 1


async def test_services_may_compare_as_they_like(world: World):
    root = Service()
    one, two, three = (root.add_service(Equal()) for _ in range(3))
    await done(root.start())
    await done(root.remove_service(two))
    assert [child is one or child is three for child in root.children] == [True, True]
    assert two.state == "stopped"
    assert one.ready
    assert three.ready
    two.add_service(Equal())
    await done(root.stop())


# -- adding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["init", "stopped", "failed"])
async def test_what_is_added_to_a_service_that_does_not_run_starts_with_it(
    world: World, state: str
):
    root = plant(world, "a(b)", b={"start": fail} if state == "failed" else {})
    if state == "failed":
        with pytest.raises(Wrong):
            await done(root.start())
        root["b"].scripts.clear()
    elif state == "stopped":
        await done(root.start())
        await done(root.stop())
    root.forget()
    added = root.add_service(Node(world, "x", root.story))
    assert added.state == "init"
    await done(root.start())
    assert root.told == "+b +x +a"
    await done(root.stop())


async def test_what_is_added_to_a_service_that_runs_is_started_at_once(world: World):
    root = plant(world, "a(b)")
    await done(root.start())
    root.forget()
    added = plant(world, "x(y)")
    added.story = added["y"].story = root.story
    assert await done(root.add_service(added)) is added
    assert root.told == "+y +x"
    assert added.ready
    root.forget()
    await done(root.stop())
    assert root.told == "-a -x -y -b"


async def test_an_added_child_that_fails_is_not_part_of_the_service(world: World):
    root = plant(world, "a(b)")
    await done(root.start())
    added = plant(world, "x(y,z)", z={"start": fail})
    with pytest.raises(Wrong) as caught:
        await done(root.add_service(added))
    assert added.told == "+y +z -z -y"
    assert added.parent is None
    assert root.states == "a:ready b:ready"
    assert caught.value.__notes__ == ["in do_start of a/x/z"]
    del added["z"].scripts["start"]
    await done(root.add_service(added))
    assert added.ready
    await done(root.stop())


async def test_a_service_may_be_added_by_every_hook_of_its_parent(world: World):
    def adds(name: str) -> object:
        async def script(node: Node) -> None:
            await done(node.add_service(Node(world, name, node.story)))

        return script

    root = plant(world, "a", a={"start": adds("x"), "reload": adds("y"), "stop": adds("z")})
    await done(root.start())
    assert root.states == "a:ready x:ready"
    await done(root.reload())
    assert root.states == "a:ready x:ready y:ready"
    await done(root.stop())
    assert root.states == "a:stopped x:stopped y:stopped z:init"
    assert root.told == "+a +x ~x ~a +y -a -y -x"


async def test_a_do_start_that_comes_before_its_children_may_add_some(world: World):
    async def start(node: Node) -> None:
        for name in "xy":
            assert node.add_service(Node(world, name, node.story)).state == "init"

    root = plant(world, "a(b)", a={"start": start, "start_before": True})
    await done(root.start())
    assert root.told == "+a +b +x +y"
    await done(root.stop())
    assert root.told == "+a +b +x +y -y -x -b -a"


async def test_a_child_may_add_siblings_while_it_starts(world: World):
    async def start(node: Node) -> None:
        await done(node.parent.add_service(Node(world, "x", node.story)))

    root = plant(world, "a(b,c)", b={"start": start})
    await done(root.start())
    assert root.told == "+b +c +x +a"
    await done(root.stop())


async def test_a_service_that_is_added_while_its_parent_gets_ready_is_part_of_the_start(
    world: World,
):
    root = plant(world, "a", a={"start": ready_later})
    start = world.ask(root.start)
    await world.breathe()
    added = plant(world, "x", x={"start": hang})
    adding = world.ask(root.add_service, added)
    await world.breathe()
    assert root.states == "a:starting x:starting"
    await done(root.stop())
    for asker in (start, adding):
        with pytest.raises(Abandoned):
            await asker.result()
    assert added.state == root.state == "stopped"
    assert added.parent is None


async def test_a_service_that_is_added_while_its_parent_stops_is_not_started(world: World):
    gate = world.gate()
    root = plant(world, "a(b)", b={"stop": at(gate)})
    await done(root.start())
    stop = world.ask(root.stop)
    await world.breathe()
    added = root.add_service(Node(world, "x"))
    gate.open()
    await stop.result()
    assert added.state == "init"


async def test_a_stop_that_comes_before_the_start_of_what_was_added_is_no_race(world: World):
    root = plant(world, "a")
    await done(root.start())
    added = Node(world, "x")
    stop = world.ask(root.stop)
    await world.sleep(0)  # the stop is about to begin
    adding = world.ask(root.add_service, added)
    await stop.result()
    await adding.result()
    await world.breathe()
    # On threads it may be started after all, before the stop begins: then the stop reaches it.
    assert root.states in ("a:stopped x:init", *(() if world.turns else ("a:stopped x:stopped",)))


async def test_a_caller_that_is_killed_while_it_adds_takes_the_child_with_it(world: World):
    root = plant(world, "a")
    await done(root.start())
    added = plant(world, "x", x={"start": hang})
    asker = world.ask(root.add_service, added)
    await world.breathe()
    asker.kill()
    await world.breathe()
    assert added.state == "stopped"
    assert added.parent is None
    await done(root.stop())


async def test_children_that_run_already_are_not_started_again(world: World):
    root = plant(world, SEVEN)
    await done(root["b"].start())
    await done(root.start())
    assert root.told == "+d +e +b +f +g +c +a"
    await done(root.stop())


async def test_a_stop_reaches_children_that_run_below_a_service_that_does_not(world: World):
    root = plant(world, SEVEN)
    await done(root["d"].start())
    await done(root["c"].start())
    root.forget()
    await done(root.stop())
    assert root.told == "-c -g -f -d"
    assert root.states == "a:init b:init d:stopped e:init c:stopped f:stopped g:stopped"


# -- removing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["init", "ready", "stopped"])
async def test_a_child_is_stopped_when_it_is_removed(world: World, state: str):
    root = plant(world, SEVEN)
    b = root["b"]
    if state != "init":
        await done(root.start())
    if state == "stopped":
        await done(root.stop())
    root.forget()
    await done(root.remove_service(b))
    assert root.told == ("-b -e -d" if state == "ready" else "")
    assert b.parent is None
    assert [node.name for node in root.walk()] == [*"acfg"]
    assert not b.ready
    await done(root.stop())


async def test_a_removed_child_can_be_added_elsewhere(world: World):
    root, other = plant(world, "a(b)"), plant(world, "x")
    b = root["b"]
    await done(root.start())
    await done(other.start())
    await done(root.remove_service(b))
    await done(other.add_service(b))
    assert b.path == "x/b"
    assert b.ready
    await done(other.stop())
    assert b.state == "stopped"
    assert root.ready
    await done(root.stop())


async def test_a_child_whose_stop_raises_is_removed_all_the_same(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, "a(b)", b={"stop": fail})
    b = root["b"]
    await done(root.start())
    with pytest.raises(Wrong):
        await done(root.remove_service(b))
    assert b.parent is None
    assert b.state == "stopped"
    await done(root.stop())


async def test_a_child_that_hangs_in_its_start_can_be_removed(world: World):
    root = plant(world, "a(b)", b={"start": hang})
    b = root["b"]
    start = world.ask(root.start)
    await world.breathe()
    await done(root.remove_service(b))
    assert b.parent is None
    assert b.state == "stopped"
    with pytest.raises(Abandoned):
        await start.result()
    await done(root.start())
    assert root.ready
    await done(root.stop())


async def test_a_child_that_has_not_started_yet_can_be_removed_during_the_start(world: World):
    gate = world.gate()
    root = plant(world, "a(b,c,d)", b={"start": at(gate)})
    start = world.ask(root.start)
    await world.breathe()
    await done(root.remove_service(root["c"]))
    gate.open()
    await start.result()
    assert root.told == "+b +d +a"
    await done(root.stop())


async def test_a_child_that_is_ready_can_be_removed_during_the_start(world: World):
    gate = world.gate()
    root = plant(world, "a(b,c,d)", c={"start": at(gate)})
    start = world.ask(root.start)
    await world.breathe()
    await done(root.remove_service(root["b"]))
    gate.open()
    await start.result()
    assert root.told == "+b +c -b +d +a"
    await done(root.stop())


async def test_a_child_can_be_removed_while_its_parent_stops(world: World):
    gate = world.gate()
    root = plant(world, "a(b,c)", c={"stop": at(gate)})
    b = root["b"]
    await done(root.start())
    stop = world.ask(root.stop)
    await world.breathe()
    await done(root.remove_service(b))
    gate.open()
    await stop.result()
    assert b.state == "stopped"
    assert root.told == "+b +c +a -a -c -b"


@pytest.mark.parametrize("hook", ["start", "stop", "reload"])
async def test_a_child_may_be_removed_by_a_hook_of_its_parent(world: World, hook: str):
    async def script(node: Node) -> None:
        if b.parent is node:
            await done(node.remove_service(b))

    root = plant(world, "a(b,c)", a={hook: script})
    b = root["b"]
    await done(root.start())
    await done(root.reload())
    await done(root.stop())
    assert b.parent is None
    assert root.states == "a:stopped c:stopped"
    assert root.told.count("+b") == root.told.count("-b") == 1


@pytest.mark.parametrize("hook", ["start", "stop", "reload"])
async def test_a_child_may_be_removed_by_a_hook_of_its_own(world: World, hook: str):
    async def script(node: Node) -> None:
        if node.parent is not None:
            await done(node.parent.remove_service(node))

    root = plant(world, "a(b,c)", b={hook: script})
    b = root["b"]
    try:
        await done(root.start())
        await done(root.reload())
    except Abandoned:
        assert hook == "start"
    await done(root.stop())
    await world.breathe()
    assert b.parent is None
    assert b.state == "stopped"
    assert root.told.count("+b") == root.told.count("-b") == 1


async def test_removing_twice_at_once_is_removing_once(world: World):
    gate = world.gate()
    root = plant(world, "a(b)", b={"stop": at(gate)})
    b = root["b"]
    await done(root.start())
    askers = [world.ask(root.remove_service, b) for _ in range(2)]
    await world.breathe()
    gate.open()
    for asker in askers:
        await asker.result()
    assert root.states == "a:ready"
    assert b.state == "stopped"
    await done(root.stop())


# -- nothing stays ----------------------------------------------------------------------------


CHANGES = ("story", "scripts", "_since", "_start_seconds")


async def test_ten_cycles_leave_a_tree_as_one_did(world: World):
    async def start(node: Node) -> None:
        node.task(hang)
        node.every(60, bool)
        node.spawn_later(60, bool)

    root = plant(world, SEVEN, **{name: {"start": start} for name in "abcdefg"})
    seen = []
    for _ in range(10):
        await done(root.start())
        await done(root.reload())
        await done(root.stop())
        seen.append(
            [
                {key: value for key, value in vars(node).items() if key not in CHANGES}
                for node in root.walk()
            ]
        )
    assert all(each == seen[0] for each in seen[1:])
    assert all(node._tasks is node._operation is None for node in root.walk())


async def test_a_service_that_does_nothing_keeps_nothing(world: World):
    service = Service()
    await done(service.start())
    await done(service.stop())
    assert set(vars(service)) <= {
        "_backend",
        "_children_up",
        "_entered",
        "_event_log",
        "_operation",
        "_reload_wanted",
        "_since",
        "_start_seconds",
        "_state",
        "_tasks",
    }


async def test_a_tree_on_asyncio_is_not_for_a_with_that_blocks(world: World):
    service = Service()
    if world.name in ("gevent", "threading"):
        with service:
            assert service.ready
        return
    with pytest.raises(UsageError, match="is started in a loop of asyncio"), service:
        raise AssertionError("the body would run while the loop stands still")
    await done(service.stop())
    assert not service.ready
