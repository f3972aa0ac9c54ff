"""Tasks: who owns them, and how they end."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from tests.dialects import World, done
from tests.trees import SEVEN, Node, Wrong, fail, hang, hang_and_swallow, plant, ready_later

from ginkgo import autospawn, require_ready
from ginkgo.core import tasks
from ginkgo.core.failure import Abandoned, NotReady, SpawnRefused, StopTimeout

SOON = 0.02  # seconds


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# -- spawn ------------------------------------------------------------------------------------


async def test_a_task_gets_its_arguments_and_gives_its_result(world: World):
    root = plant(world, "a")
    await done(root.start())
    task = root.spawn(lambda *args, **kwargs: (args, kwargs), 1, 2, three=3)
    assert await world.result(task) == ((1, 2), {"three": 3})
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
    assert not world.ended(task)
    await done(root.stop())
    assert world.ended(task)


async def test_a_stop_ends_what_was_spawned_in_a_service_that_was_never_started(world: World):
    root = plant(world, "a(b)")
    spawned = [root.task(hang), root["b"].task(hang)]
    await world.breathe()
    await done(root.stop())
    assert all(world.ended(task) for task in spawned)
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
    while root._operation is None:  # the stop has not begun: another thread asks for it
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
    # It may end one that has not begun yet, and that spawns no other: then nothing is left behind.
    with contextlib.suppress(StopTimeout, ExceptionGroup):
        await done(root.stop())
    assert root.state == "stopped"


# -- how they end -----------------------------------------------------------------------------


async def test_a_task_that_was_killed_before_it_began_is_forgotten(world: World):
    root = plant(world, "a")
    await done(root.start())
    world.kill(root.spawn(bool))
    await world.breathe()
    assert not root._tasks
    await done(root.stop())


async def test_a_later_task_that_was_killed_is_forgotten(world: World):
    root = plant(world, "a")
    await done(root.start())
    task = root.spawn_later(60, bool)
    assert root._tasks == {task}
    world.kill(task)
    await world.breathe()
    assert not root._tasks
    await done(root.stop())


async def test_a_later_task_waits_for_its_time_and_ends_with_its_service(world: World):
    root = plant(world, "a")
    await done(root.start())
    began = time.monotonic()
    assert await world.result(root.spawn_later(SOON, lambda: "ran")) == "ran"
    assert time.monotonic() - began >= SOON * 0.9
    later = root.spawn_later(60, bool)
    await done(root.stop())
    assert world.ended(later)


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
    assert messages(caplog) == [
        "a/b: a task does not end, and is asked again",
        "a/b: a task is left behind",
    ]
    for record in caplog.records:
        assert str(record.stack_info).startswith("stubborn\n")
        assert "await gate.passed()" in str(record.stack_info)


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


# -- decorators -------------------------------------------------------------------------------


async def test_autospawn_makes_calls_tasks(world: World):
    class Sender(Node):
        @autospawn
        def send(self, message: str) -> str:
            """Send it."""
            return message * 2

    sender = Sender(world, "a")
    await done(sender.start())
    assert await world.result(sender.send("ab")) == "abab"
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
