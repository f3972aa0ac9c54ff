"""Tasks: who owns them, how they end, and what becomes of what they raise."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from tests.dialects import World, cancel, done, ended, outcome
from tests.trees import SEVEN, Node, Wrong, fail, hang, hang_and_swallow, plant, ready_later

from ginkgo import autospawn, require_ready
from ginkgo.core import tasks
from ginkgo.core.errors import UsageError
from ginkgo.core.failure import Abandoned, NotReady, SpawnRefused, StopTimeout

SOON = 0.02  # seconds


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def play(world: World) -> str:
    """What a task that plays a script is called."""
    return world.play.__qualname__


# -- spawn ------------------------------------------------------------------------------------


async def test_a_task_gets_its_arguments_and_gives_its_result(world: World):
    root = plant(world, "a")
    await done(root.start())
    task = root.spawn(lambda *args, **kwargs: (args, kwargs), 1, 2, three=3)
    assert await outcome(task) == ((1, 2), {"three": 3})
    await done(root.stop())


async def test_a_task_that_ends_is_forgotten(world: World):
    root = plant(world, "a")
    await done(root.start())
    for _ in range(10):
        root.spawn(bool)
    if world.turns:
        assert len(root._tasks) == 10
    await world.breathe()
    assert not root._tasks
    await done(root.stop())


async def test_a_task_may_be_spawned_before_the_start_and_ends_with_the_stop(world: World):
    root = plant(world, "a")
    task = root.task(hang)
    await world.breathe()
    await done(root.start())
    assert not ended(task)
    await done(root.stop())
    assert ended(task)


async def test_a_stop_ends_what_was_spawned_in_a_service_that_was_never_started(world: World):
    root = plant(world, "a(b)")
    spawned = [root.task(hang), root["b"].task(hang)]
    await world.breathe()
    await done(root.stop())
    assert all(ended(task) for task in spawned)
    assert root.states == "a:init b:init"


async def test_a_start_during_that_stop_waits_for_it(world: World):
    async def work(node: Node) -> None:
        try:
            await hang(node)
        finally:
            await world.sleep(SOON)

    root = plant(world, "a", a={"start": lambda node: spawn_and_return(node)})

    async def spawn_and_return(node: Node) -> None:
        node.task(hang)

    root.task(work)
    await world.breathe()
    stop = world.ask(root.stop)
    await world.sleep(0)
    await done(root.start())
    await stop.result()
    assert root.ready
    assert len(root._tasks) == 1, "the task of the new run is not taken for one of the old"
    await done(root.stop())


@pytest.mark.parametrize("state", ["stopped", "failed"])
@pytest.mark.parametrize("how", ["spawn", "spawn_later", "every"])
async def test_nothing_is_spawned_in_a_service_that_is_stopped(world: World, state: str, how: str):
    root = plant(world, "a")
    if state == "failed":
        root.scripts["start"] = fail
        with pytest.raises(Wrong):
            await done(root.start())
    else:
        await done(root.start())
        await done(root.stop())
    args = (bool,) if how == "spawn" else (SOON, bool)
    with pytest.raises(SpawnRefused, match=f"a: nothing can be spawned in .* that is {state}"):
        getattr(root, how)(*args)


async def test_a_task_can_be_spawned_by_every_hook(world: World):
    ended = []

    async def work(node: Node, hook: str) -> None:
        try:
            await hang(node)
        finally:
            ended.append(hook)

    def spawns(hook: str) -> Any:
        async def script(node: Node) -> None:
            node.task(work, hook)
            await world.sleep(0)

        return script

    root = plant(world, "a", a={hook: spawns(hook) for hook in ("start", "reload", "stop")})
    await done(root.start())
    await done(root.reload())
    await done(root.stop())
    assert sorted(ended) == ["reload", "start", "stop"]
    assert root._tasks is None


async def test_what_a_child_spawns_in_its_stopping_parent_ends_too(world: World):
    async def stop(node: Node) -> None:
        node.parent.task(hang)
        await world.sleep(0)

    root = plant(world, "a(b)", b={"stop": stop})
    await done(root.start())
    await done(root.stop())
    assert not root._tasks


async def test_a_task_may_spawn_another_in_its_last_moment(world: World):
    async def first(node: Node) -> None:
        try:
            await hang(node)
        finally:
            node.task(second)

    async def second(node: Node) -> None:
        node.story.append("second")
        await hang(node)

    root = plant(world, "a")
    await done(root.start())
    root.task(first)
    await world.breathe()
    await done(root.stop())
    assert root.told in ("+a second -a", "+a -a")
    assert not root._tasks


async def test_a_task_that_always_spawns_another_does_not_hold_up_the_stop(world: World):
    async def again(node: Node) -> None:
        try:
            await hang(node)
        finally:
            with contextlib.suppress(SpawnRefused):
                node.task(again)
                await world.sleep(0)

    root = plant(world, "a", a={"stop_timeout": SOON})
    await done(root.start())
    root.task(again)
    await world.breathe()
    with pytest.raises((StopTimeout, ExceptionGroup)):
        await done(root.stop())
    assert root.state == "stopped"


# -- how they end -----------------------------------------------------------------------------


async def test_a_task_that_was_killed_before_it_began_is_forgotten(world: World):
    root = plant(world, "a")
    await done(root.start())
    cancel(root.spawn(bool))
    await world.breathe()
    assert not root._tasks
    await done(root.stop())


async def test_a_later_task_that_was_killed_is_forgotten(world: World):
    root = plant(world, "a")
    await done(root.start())
    task = root.spawn_later(60, bool)
    assert root._tasks == {task}
    cancel(task)
    await world.breathe()
    assert not root._tasks
    await done(root.stop())


async def test_a_later_task_waits_for_its_time_and_ends_with_its_service(world: World):
    root = plant(world, "a")
    await done(root.start())
    began = time.monotonic()
    assert await outcome(root.spawn_later(SOON, lambda: "ran")) == "ran"
    assert time.monotonic() - began >= SOON * 0.9
    later = root.spawn_later(60, bool)
    await done(root.stop())
    assert ended(later)


@pytest.mark.fault(71)
@pytest.mark.fault("O22")
async def test_a_stubborn_task_is_asked_again_and_then_left_behind(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tasks, "GRACE", SOON)
    asked = []

    async def stubborn(node: Node) -> None:
        gate = world.gate()
        while not world.closing:
            try:
                await gate.passed()
            except BaseException as error:
                asked.append(error)

    root = plant(world, "a(b)", b={"stop_timeout": 3 * SOON})
    await done(root.start())
    root["b"].task(stubborn)
    await world.breathe()
    with pytest.raises(StopTimeout, match="a/b: 1 task did not end when told to"):
        await done(root.stop())
    assert root.told == "+b +a -a -b", "do_stop runs all the same"
    assert root.states == "a:stopped b:stopped"
    assert len(asked) >= 2
    again, left = messages(caplog)
    assert again.startswith(f"a/b: a task does not end, and is asked again: {play(world)}\n")
    assert left.startswith(f"a/b: left behind: {play(world)}\n")
    assert "await gate.passed()" in again
    assert "await gate.passed()" in left


async def test_a_task_is_asked_again_after_a_second(world: World):
    asked: list[float] = []

    async def deaf_once(node: Node) -> None:
        for _ in range(2):
            try:
                await world.gate().passed()
            except BaseException:
                asked.append(time.monotonic())

    root = plant(world, "a")
    await done(root.start())
    root.task(deaf_once)
    await world.breathe()
    await done(root.stop())
    assert 0.9 < asked[1] - asked[0] < 5


@pytest.mark.fault(71)
async def test_the_stop_of_a_tree_with_stubborn_tasks_is_in_time(world: World):
    root = plant(world, SEVEN)
    await done(root.start())
    for node in root.walk():
        node.stop_timeout = SOON
        node.task(hang_and_swallow)
    await world.breathe()
    began = time.monotonic()
    with pytest.raises(ExceptionGroup) as caught:
        await done(root.stop())
    assert time.monotonic() - began < 7 * SOON + 2
    assert len(caught.value.exceptions) == 7
    assert {str(node.state) for node in root.walk()} == {"stopped"}


async def test_a_task_that_cleans_up_slowly_is_waited_for(world: World):
    async def work(node: Node) -> None:
        try:
            await hang(node)
        finally:
            await world.sleep(SOON)
            node.story.append("cleaned up")

    root = plant(world, "a")
    await done(root.start())
    root.task(work)
    await world.breathe()
    await done(root.stop())
    assert root.told == "+a cleaned up -a"


# -- what they raise --------------------------------------------------------------------------


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
    assert [failure.phase for failure in chain] == ["child"] * len(above) + [f"task {play(world)}"]
    assert str(root.failure) == f"{root[name].path}: task {play(world)} failed: Wrong: {name}"
    assert messages(caplog) == [f"{root[name].path}: task {play(world)} failed: {name}"]
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
        await outcome(task)
    assert isinstance(task.exception() if callable(task.exception) else task.exception, Wrong)
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
    assert chain[-1].phase == f"task {play(world)}"
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
        node.spawn(world.play, raise_other)
        await hang(node)

    async def raise_other() -> None:
        raise ValueError("the other")

    root = plant(world, "a", a={"start": start})
    with pytest.raises(Wrong):
        await done(root.start())
    assert messages(caplog) == [f"a: task {play(world)} failed: the other"]


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
    assert messages(caplog) == [f"a: task {play(world)} failed: in the end"]


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
    assert messages(caplog) == [f"a: task {play(world)} failed: parent's task"]


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
    assert messages(caplog) == [f"a: task {play(world)} failed: a"]


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
    assert messages(caplog) == [f"a/b: task {play(world)} failed: b"]


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
    assert messages(caplog) == [f"a/b: task {play(world)} failed: in the end"]


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
    cancel(root.task(hang))
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


# -- every ------------------------------------------------------------------------------------


async def test_every_calls_at_multiples_of_its_time(world: World, monkeypatch):
    from ginkgo.async_ import base

    clock = FakeClock()
    monkeypatch.setattr(base.time, "monotonic", clock)
    takes = iter([0.1, 0.2, 2.5, 0.0, 1.0, 0.0])
    calls = []

    def work() -> None:
        calls.append(round(clock.now, 3))
        try:
            clock.now += next(takes)
        except StopIteration:
            raise KeyError from None

    service = FakeService(clock)
    with pytest.raises(KeyError):
        base.repeating(service, 1.0, work, (), {})()
    assert calls == [1, 2, 3, 6, 7, 9, 10], "those that a long call makes impossible are left out"


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeService:
    """Sleeps on a clock of its own."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.async_ = self

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds


async def test_every_is_a_task_like_any_other(world: World):
    calls = []
    root = plant(world, "a")
    await done(root.start())
    enough = world.gate()

    def work(*args: object, **kwargs: object) -> None:
        calls.append((args, kwargs))
        if len(calls) == 3:
            enough.open()

    root.every(0.001, work, 1, two=2)
    await enough.passed()
    await done(root.stop())
    assert calls[0] == ((1,), {"two": 2})
    count = len(calls)
    await world.sleep(0.005)
    assert len(calls) == count


async def test_an_error_in_a_periodic_call_names_the_function(
    world: World, caplog: pytest.LogCaptureFixture
):
    def tidy_up() -> None:
        raise Wrong("every")

    root = plant(world, "a")
    await done(root.start())
    root.every(0.001, tidy_up)
    await done(root.wait("failed"))
    assert "tidy_up failed: every" in messages(caplog)[0]


@pytest.mark.parametrize("seconds", [0, -1])
async def test_every_takes_a_time_above_nothing(world: World, seconds: float):
    with pytest.raises(UsageError, match=r"a: every\(\) takes a time above 0 s"):
        plant(world, "a").every(seconds, bool)


# -- decorators -------------------------------------------------------------------------------


async def test_autospawn_makes_calls_tasks(world: World):
    class Sender(Node):
        @autospawn
        def send(self, message: str) -> str:
            """Send it."""
            return message * 2

    sender = Sender(world, "a")
    await done(sender.start())
    assert await outcome(sender.send("ab")) == "abab"
    assert Sender.send.__doc__ == "Send it."
    await done(sender.stop())


class Asked(Node):
    @require_ready
    def ask(self, question: str) -> str:
        return question + "!"


@pytest.mark.fault("O5")
async def test_require_ready_waits_for_the_start_to_end(world: World):
    service = Asked(world, "a")
    service.scripts["start"] = ready_later
    answer = world.ask(service.ask, "now")
    start = world.ask(service.start)
    await world.breathe()
    assert not answer.ended
    service.set_ready()
    assert await answer.result() == "now!"
    await start.result()
    assert await done(service.ask("again")) == "again!"
    await done(service.stop())


@pytest.mark.fault("O5")
async def test_require_ready_says_when_the_service_is_not_going_to_be(world: World):
    service = Asked(world, "a")
    service.start_timeout = SOON
    with pytest.raises(NotReady, match=r"a: Asked.ask needs a ready service; this one is init"):
        await done(service.ask("too early"))
    service.scripts["start"] = fail
    with pytest.raises(Wrong):
        await done(service.start())
    with pytest.raises(NotReady, match="this one is failed"):
        await done(service.ask("too late"))
    await done(service.stop())
    with pytest.raises(NotReady, match="this one is stopped"):
        await done(service.ask("too late"))


@pytest.mark.fault("O5")
async def test_require_ready_gives_up_as_soon_as_the_start_fails(world: World):
    service = Asked(world, "a")
    service.scripts["start"] = ready_later
    answer = world.ask(service.ask, "now")
    start = world.ask(service.start)
    await world.breathe()
    await done(service.stop())
    with pytest.raises(NotReady):
        await answer.result()
    with pytest.raises(Abandoned):
        await start.result()
