"""What becomes of what tasks raise, and of the worst that tasks and hooks can raise."""

from __future__ import annotations

import pytest
from tests.dialects import World, done
from tests.trees import SEVEN, Node, Wrong, fail, hang, plant

from ginkgo.core.failure import Abandoned

SOON = 0.02  # seconds


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is in the log, but for what the supervisors do about it."""
    records = (record for record in caplog.records if record.name != "ginkgo.core.supervision")
    return [record.getMessage() for record in records]


@pytest.mark.fault(29)
@pytest.mark.parametrize("name", "abcdefg")
async def test_a_task_that_raises_fails_its_service_and_those_above(
    world: World, name: str, caplog: pytest.LogCaptureFixture
):
    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    root[name].task(fail)
    await done(root.wait("failed"))
    above = [*root[name]._ancestors()][::-1]
    assert [node for node in root.walk() if node.state == "failed"] == [*above, root[name]]
    assert all(node.state in ("failed", "stopped") for node in root.walk())
    assert sorted(root.story) == [f"-{each}" for each in "abcdefg"]
    chain = list(root.failure.chain())
    assert [failure.path for failure in chain] == [node.path for node in above] + [root[name].path]
    assert [failure.phase for failure in chain] == ["child"] * len(above) + ["task fail"]
    assert str(root.failure) == f"{root[name].path}: task fail failed: Wrong: {name}"
    assert messages(caplog) == [f"{root[name].path}: task fail failed: {name}"]
    assert caplog.records[0].exc_info[1] is root.failure.error


async def test_a_failed_service_is_brought_down_before_its_parents(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    root["d"].task(fail)
    await done(root.wait("failed"))
    assert root.told == "-d -b -e -a -c -g -f"


async def test_a_failed_tree_can_be_started_and_stopped_again(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    root["d"].task(fail)
    await done(root.wait("failed"))
    await done(root.start())
    assert {str(node.state) for node in root.walk()} == {"ready"}
    assert root.failure is root["d"].failure is None
    root["d"].task(fail)
    await done(root.wait("failed"))
    await done(root.stop())
    assert {str(node.state) for node in root.walk()} == {"stopped"}


async def test_the_error_of_a_task_is_there_for_who_waits_for_it(world: World):
    root = plant(world, "a")
    await done(root.start())
    task = root.task(fail)
    with pytest.raises(Wrong):
        await world.result(task)
    assert world.ended(task)
    await done(root.wait("failed"))


async def test_a_task_that_raises_during_the_start_fails_it_with_its_error(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def start(node: Node) -> None:
        node.task(fail)
        await hang(node)

    root = plant(world, SEVEN, e={"start": start})
    with pytest.raises(Wrong) as caught:
        await done(root.start())
    assert root.told == "+d +e -e -d"
    assert root.states == "a:failed b:failed d:stopped e:failed c:init f:init g:init"
    chain = list(root.failure.chain())
    assert [failure.path for failure in chain] == ["a", "a/b", "a/b/e"]
    assert chain[-1].phase == "task fail"
    assert chain[-1].error is caught.value
    assert messages(caplog) == [], "whoever started it is told, and nobody twice"


async def test_a_task_that_raises_before_its_service_is_ready_fails_the_start(world: World):
    async def start(node: Node) -> object:
        node.task(fail)
        return node.NOT_READY

    root = plant(world, "a(b)", b={"start": start})
    with pytest.raises(Wrong):
        await done(root.start())
    assert root.states == "a:failed b:failed"


async def test_of_two_tasks_that_raise_during_the_start_none_is_silent(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def start(node: Node) -> None:
        node.task(fail)
        node.spawn(world.task(raise_other))
        await hang(node)

    async def raise_other() -> None:
        raise ValueError("the other")

    root = plant(world, "a", a={"start": start})
    with pytest.raises(Wrong):
        await done(root.start())
    assert messages(caplog) == ["a: task raise_other failed: the other"]


async def test_a_task_that_raises_while_the_start_is_given_up_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def work(node: Node) -> None:
        try:
            await hang(node)
        finally:
            raise Wrong("in the end")

    async def start(node: Node) -> None:
        node.task(work)
        await hang(node)

    root = plant(world, "a", a={"start": start})
    asker = world.ask(root.start)
    await world.breathe()
    await done(root.stop())
    with pytest.raises(Abandoned):
        await asker.result()
    assert messages(caplog) == ["a: task work failed: in the end"]


async def test_a_task_of_a_parent_that_raises_while_a_child_of_it_unwinds_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
):
    gate, failing = world.gate(), world.gate()

    async def work(node: Node) -> None:
        await failing.passed()
        raise Wrong("parent's task")

    async def start(node: Node) -> None:
        node.task(work)

    async def stop(node: Node) -> None:
        failing.open()
        await gate.passed()

    root = plant(
        world,
        "a(b)",
        a={"start": start, "start_before": True},
        b={"start": ValueError("b"), "stop": stop},
    )
    asker = world.ask(root.start)
    await world.breathe()
    gate.open()
    with pytest.raises(ValueError, match="b"):
        await asker.result()
    assert messages(caplog) == ["a: task work failed: parent's task"]


async def test_an_error_that_a_hook_put_its_own_in_place_of_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def start(node: Node) -> None:
        node.task(fail)
        try:
            await hang(node)
        finally:
            raise ValueError("clean-up")

    root = plant(world, "a", a={"start": start})
    with pytest.raises(ValueError, match="clean-up"):
        await done(root.start())
    assert messages(caplog) == ["a: task fail failed: a"]


async def test_a_child_that_fails_while_its_parent_starts_fails_that_start(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def start(node: Node) -> None:
        root["b"].task(fail)
        await hang(node)

    root = plant(world, "a(b,c)", c={"start": start})
    with pytest.raises(Wrong):
        await done(root.start())
    assert root.states == "a:failed b:failed c:stopped"
    assert root.told == "+b +c -b -c"
    assert messages(caplog) == ["a/b: task fail failed: b"]


async def test_a_task_that_raises_during_the_stop_is_logged_and_stops_nothing(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def work(node: Node) -> None:
        try:
            await hang(node)
        finally:
            raise Wrong("in the end")

    root = plant(world, "a(b)")
    await done(root.start())
    root["b"].task(work)
    await world.breathe()
    await done(root.stop())
    assert root.states == "a:stopped b:stopped"
    assert root.failure is None
    assert messages(caplog) == ["a/b: task work failed: in the end"]


async def test_two_leaves_that_fail_at_once_bring_the_tree_down_once(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    for name in "dg":
        root[name].task(fail)
    await done(root.wait("failed"))
    await world.breathe()
    assert sorted(root.story) == [f"-{name}" for name in "abcdefg"]
    assert all(node.state in ("failed", "stopped") for node in root.walk())


@pytest.mark.fault(30)
@pytest.mark.fault(31)
@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_a_task_that_ends_the_process_stops_the_tree_in_order(
    world: World, ending: BaseException, caplog: pytest.LogCaptureFixture
):
    async def end(node: Node) -> None:
        raise ending

    root = plant(world, SEVEN)
    await done(root.start())
    root.forget()
    serving = world.ask(root.serve_forever)
    await world.breathe()
    root["d"].task(end)
    with pytest.raises(type(ending)) as caught:
        await serving.result()
    assert caught.value is ending
    assert root.told == "-a -c -g -f -b -e -d"
    assert {str(node.state) for node in root.walk()} == {"stopped"}
    assert root.failure is None
    assert messages(caplog) == []


async def test_the_end_of_one_run_is_not_that_of_the_next(world: World):
    async def end(node: Node) -> None:
        raise SystemExit(3)

    root = plant(world, "a")
    await done(root.start())
    serving = world.ask(root.serve_forever)
    await world.breathe()
    root.task(end)
    with pytest.raises(SystemExit):
        await serving.result()
    await done(root.start())
    serving = world.ask(root.serve_forever)
    await world.breathe()
    await done(root.stop())
    await serving.result()


async def test_a_task_that_ends_the_process_during_the_start_stops_it(world: World):
    async def end(node: Node) -> None:
        raise SystemExit(3)

    async def start(node: Node) -> None:
        node.task(end)
        await hang(node)

    root = plant(world, "a(b)", b={"start": start})
    with pytest.raises(SystemExit):
        await done(root.serve_forever())
    assert root.states == "a:stopped b:stopped"


async def test_a_task_that_ends_the_process_from_a_child_that_runs_alone(world: World):
    async def end(node: Node) -> None:
        raise SystemExit(3)

    root = plant(world, "a(b)")
    await done(root["b"].start())
    root["b"].task(end)
    await done(root["b"].wait("stopped", timeout=5))
    assert root.states == "a:init b:stopped"


@pytest.mark.fault(31)
async def test_a_task_that_is_killed_or_ends_itself_fails_nothing(world: World):
    async def end(node: Node) -> None:
        raise world.Ended

    root = plant(world, "a")
    await done(root.start())
    world.kill(root.task(hang))
    root.task(end)
    await world.breathe()
    assert root.ready
    await done(root.stop())


class Evil(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Frozen(Exception):
    """Takes no attribute, so no note; like a frozen dataclass."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class Loud(BaseException):
    """Not even an Exception."""


class Huge(Exception):
    def __str__(self) -> str:
        return "x" * 5_000_000


EVIL = [Evil, Frozen, Loud, Huge, StopIteration, GeneratorExit, BaseExceptionGroup]


def make(kind: type[BaseException]) -> BaseException:
    return kind("several", [Loud(), Evil()]) if kind is BaseExceptionGroup else kind()


@pytest.mark.fault(32)
@pytest.mark.parametrize("kind", EVIL)
async def test_a_task_may_raise_the_worst(
    world: World, kind: type[BaseException], caplog: pytest.LogCaptureFixture
):
    error = make(kind)

    def work() -> None:
        raise error

    root = plant(world, SEVEN)
    await done(root.start())
    root["d"].spawn(work)
    await done(root.wait("failed"))
    assert root.failure.error is error
    assert kind.__name__ in str(root.failure)
    assert len(messages(caplog)) == 1


@pytest.mark.fault(32)
@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize("hook", ["start", "stop", "reload"])
async def test_a_hook_may_raise_the_worst(world: World, kind: type[BaseException], hook: str):
    root = plant(world, SEVEN)
    root["d"].do_start = root["d"].do_start  # type: ignore[method-assign]
    error = make(kind)

    def raises() -> None:
        raise error

    setattr(root["d"], f"do_{hook}", raises)
    raised: BaseException | None = None
    for step in (root.start, root.reload, root.stop):
        try:
            await done(step())
        except BaseException as caught:
            raised = caught
    cannot_be_thrown = kind in (StopIteration, GeneratorExit)
    assert raised is error or (cannot_be_thrown and raised.__cause__ is error)
    assert not {str(node.state) for node in root.walk()} & {"starting", "ready", "stopping"}
    # Undone even when the unwinding raises too.
    root["c"].scripts["start"] = root["e"].scripts["stop"] = make(Evil)
    if hook != "start":
        with pytest.raises(Evil):
            await done(root.start())
        assert root.state == "failed"
