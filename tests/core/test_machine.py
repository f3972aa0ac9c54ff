"""Random trees, to which everything happens at once: the invariants of DESIGN 4 hold all the same.

Each run makes a tree whose hooks do at random what hooks do in life: they work, wait, raise, hang,
swallow what is thrown into them, get ready late or never, and call the lifecycle of whom they like.
Then starts, stops, reloads, restarts, additions, removals and crashes come in any order, from
outside, from threads, from callbacks and from the services' own tasks, without waiting for each
other. What has to hold at any moment is looked at after every step; what has to hold in the end,
when all of it has been waited for and the tree is stopped.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.dialects import WORLDS, World, done
from tests.leaks import nothing_left_behind
from tests.trees import MARKS, Node, Wrong, hang, hang_and_retry, hang_and_swallow

from ginkgo import Service
from ginkgo.core import tasks
from ginkgo.core.context import context
from ginkgo.core.errors import UsageError
from ginkgo.core.failure import Abandoned, SpawnRefused
from ginkgo.core.policies import RESTARTS, STRATEGIES, Backoff
from ginkgo.core.waiting import at_rest

SOON = 0.004  # seconds; every limit of every service
IN_TIME = 15.0  # seconds in which all that was asked for must have an answer

MOODS = (*["work"] * 3, "wait", "raise", "hang", "retry", "swallow", "late", "never", "call")
CALLS = ("start", "stop", "reload", "restart")
WHO = ("outside", "task", "thread", "callback")

BACKOFF = Backoff(SOON / 2, 2.0, SOON)

supervisions = st.fixed_dictionaries(
    {
        "restart": st.sampled_from(RESTARTS),
        "strategy": st.sampled_from(STRATEGIES),
        "max_restarts": st.sampled_from([0, 2, 1000]),
    }
)
moods = st.fixed_dictionaries({hook: st.sampled_from(MOODS) for hook in MARKS})
numbers = st.integers(min_value=0, max_value=30)


class Moody(Node):
    """A service whose hooks do what they feel like."""

    start_timeout = stop_timeout = SOON
    backoff = BACKOFF

    def __init__(
        self,
        machine: Machine,
        name: str,
        mood: dict[str, str],
        early: bool,
        supervision: dict[str, Any],
    ) -> None:
        super().__init__(machine.world, name, machine.story)
        for key, value in supervision.items():
            setattr(self, key, value)
        self.machine = machine
        self.mood = mood
        self.start_before = early
        self.runs = 0  # do_starts that were entered, less the do_stops
        self.scripts = dict.fromkeys(MARKS, self.feel)
        assert self.backend_in_use.here  # whoever starts it, here is where it lives

    async def feel(self, node: Node) -> Any:
        hook = next(hook for hook, mark in MARKS.items() if mark == self.story[-1][0])
        if hook == "start":
            self.runs += 1
            self.machine.holds(self.runs == 1, f"{self.name} was started twice")
        elif hook == "stop":
            self.runs -= 1
            self.machine.holds(self.runs == 0, f"{self.name} was stopped without a start")
        return await getattr(self, f"feel_{self.mood[hook]}")()

    async def feel_work(self) -> None:
        if not self.async_.stopping:
            self.task(hang)

    async def feel_wait(self) -> None:
        await self.world.sleep(0)

    async def feel_raise(self) -> None:
        raise Wrong(self.name)

    async def feel_hang(self) -> None:
        await hang(self)

    async def feel_retry(self) -> None:
        await hang_and_retry(self)

    async def feel_swallow(self) -> None:
        await hang_and_swallow(self)

    async def feel_late(self) -> Any:
        self.world.soon(self.set_ready)
        return self.NOT_READY

    async def feel_never(self) -> Any:
        return self.NOT_READY

    async def feel_call(self) -> None:
        await self.machine.call_something(self)


class Machine(RuleBasedStateMachine):
    """See this module's docstring."""

    backend: str

    @initialize(
        shape=st.lists(
            st.tuples(numbers, moods, st.booleans(), supervisions), min_size=1, max_size=7
        ),
        calls=st.lists(st.tuples(st.sampled_from(CALLS), numbers), max_size=4),
    )
    def plant(self, shape: list[Any], calls: list[tuple[str, int]]) -> None:
        self.leaks = nothing_left_behind()
        self.leaks.__enter__()
        self.world: World = WORLDS[self.backend]()
        self.story: list[str] = []
        self.broken: list[str] = []
        self.askers: list[Any] = []
        self.all: list[Moody] = []
        self.calls = calls
        for place, mood, early, supervision in shape:
            node = Moody(self, f"n{len(self.all)}", dict(mood), early, supervision)
            if self.all:
                self.all[place % len(self.all)].add_service(node)
            self.all.append(node)

    # -- helpers --------------------------------------------------------------------------------

    def holds(self, condition: bool, what: str) -> None:
        """Remember what does not hold: a hook's errors are not the test's."""
        if not condition:
            self.broken.append(what)

    def node(self, number: int) -> Moody:
        return self.all[number % len(self.all)]

    async def call_something(self, node: Moody) -> None:
        if self.calls:
            call, number = self.calls.pop()
            await done(getattr(self.node(number), call)())

    def ask(self, who: str, node: Moody, function: Any, *args: Any) -> None:
        async def from_a_task(_: Node) -> None:
            await done(function(*args))

        if who == "outside":
            self.askers.append(self.world.ask(function, *args))
        elif who == "thread":
            self.askers.append(self.world.ask(self.world.in_thread, function, *args))
        elif who == "callback":
            self.world.soon(function, *args)
        else:
            try:
                node.task(from_a_task)
            except SpawnRefused:
                self.holds(node.state in {"stopped", "failed"}, f"{node!r} refused a task")

    # -- what happens ---------------------------------------------------------------------------

    @rule(call=st.sampled_from(CALLS), which=numbers, who=st.sampled_from(WHO), by=numbers)
    def call(self, call: str, which: int, who: str, by: int) -> None:
        self.ask(who, self.node(by), getattr(self.node(which), call))

    @rule(who=st.sampled_from(WHO), by=numbers)
    def start_all(self, who: str, by: int) -> None:
        self.ask(who, self.node(by), self.all[0].start)

    @rule(
        parent=numbers,
        mood=moods,
        early=st.booleans(),
        supervision=supervisions,
        who=st.sampled_from(WHO),
    )
    @precondition(lambda self: len(self.all) < 12)
    def add(
        self,
        parent: int,
        mood: dict[str, str],
        early: bool,
        supervision: dict[str, Any],
        who: str,
    ) -> None:
        node = Moody(self, f"n{len(self.all)}", dict(mood), early, supervision)
        self.ask(who, self.node(parent), self.node(parent).add_service, node)
        self.all.append(node)

    @rule(which=numbers, who=st.sampled_from(WHO), by=numbers)
    def remove(self, which: int, who: str, by: int) -> None:
        self.ask(who, self.node(by), self.remove_from_where_it_is, self.node(which))

    def remove_from_where_it_is(self, child: Node) -> Any:
        return child.parent.remove_service(child) if child.parent is not None else None

    @rule(which=numbers, error=st.sampled_from([Wrong, SystemExit, KeyboardInterrupt]))
    def crash(self, which: int, error: type[BaseException]) -> None:
        async def raises(_: Node) -> None:
            raise error

        try:
            self.node(which).task(raises)
        except SpawnRefused:
            pass

    @rule(which=numbers)
    def spawn_a_stubborn_task(self, which: int) -> None:
        try:
            self.node(which).task(hang_and_swallow)
        except SpawnRefused:
            pass

    @rule(which=numbers)
    def tell_ready(self, which: int) -> None:
        self.node(which).set_ready()

    @rule(which=numbers)
    def kill_who_asked(self, which: int) -> None:
        if self.askers:
            self.askers[which % len(self.askers)].kill()

    @rule(which=numbers, mood=moods)
    def change_mood(self, which: int, mood: dict[str, str]) -> None:
        self.node(which).mood = dict(mood)

    @rule(turns=st.integers(min_value=1, max_value=8))
    def go_on(self, turns: int) -> None:
        async def let_run() -> None:
            for _ in range(turns):
                await self.world.sleep(0)

        self.world.run(let_run())

    @rule()
    def go_on_for_a_while(self) -> None:
        self.world.run(self.world.sleep(2 * SOON))

    # -- what holds at any moment ---------------------------------------------------------------

    @invariant()
    def what_does_not_run_has_nothing_that_runs(self) -> None:
        if hasattr(self, "world"):
            with self.world.still():
                self.look_at_all()

    def look_at_all(self) -> None:
        for node in self.all:
            if node._state in ("stopped", "failed") and node._operation is None:
                assert not node._tasks, f"{node!r} has tasks"
                assert node.runs == 0, f"{node!r} is owed a do_stop"
            if node._state == "ready":
                assert node.runs == 1, f"{node!r} was not started"
            if node._state in ("starting", "stopping"):
                assert node._operation is not None, f"{node!r} is held by nobody"
            ailing = sum(child._ailing > 0 for child in node.children)
            assert node._ailing == ailing + node._is_down, f"{node!r} counts what is down wrongly"
        assert not self.broken

    # -- what holds in the end ------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self.world.run(self.the_end())
        finally:
            self.world.close()
            self.world.run(self.world.breathe())
            self.world.leave()
            self.leaks.__exit__(None, None, None)

    async def the_end(self) -> None:
        self.calls = []
        deadline = time.monotonic() + IN_TIME
        await self.world.breathe()
        while not self.is_settled():
            assert time.monotonic() < deadline, f"somebody waits for ever: {self.tell()}"
            await self.world.sleep(SOON / 4)
            await self.world.breathe()
        for asker in self.askers:
            try:
                await asker.result()
            except (Abandoned, Wrong, TimeoutError, BaseExceptionGroup, SystemExit, SpawnRefused):
                pass
            except (UsageError, self.world.Ended):  # it was killed
                pass
        await self.stop_all()
        while not self.world.turns and not all(map(at_rest, self.all)):
            assert time.monotonic() < deadline, self.tell()
            await self.stop_all()  # a task or callback was late with its start
        self.what_does_not_run_has_nothing_that_runs()
        for node in self.all:
            assert node._state in ("init", "stopped"), self.tell()
            assert node._operation is node._reloading is None
            assert not node._watchers
            assert node._mend is None
            assert not node._ailing
        for node in self.all:
            node.mood = dict.fromkeys(MARKS, "work")
            node.start_timeout = node.stop_timeout = IN_TIME
        await self.ordinary_life_goes_on()

    async def stop_all(self) -> None:
        for node in self.all:  # those that were removed too
            try:
                await done(node.stop())
            except (Abandoned, Wrong, TimeoutError, BaseExceptionGroup):
                pass
        await self.world.breathe()

    def is_settled(self) -> bool:
        """Whether all that was asked for has been carried out."""
        idle = all(node._operation is node._reloading is None for node in self.all)
        at_work = any(thread.is_alive() for thread in self.world.threads)
        return idle and not at_work and all(asker.ended for asker in self.askers)

    async def ordinary_life_goes_on(self) -> None:
        """After all that it has been through the tree starts, reloads and stops like a new one."""
        root = self.all[0]
        self.story.clear()
        await done(root.start())
        assert {str(node.state) for node in root.walk()} == {"ready"}
        up = list(self.story)
        assert up == [f"+{node.name}" for node in in_order(root)]
        await done(root.reload())
        await done(root.stop())
        assert self.story[len(up) :] == [
            *(event.replace("+", "~") for event in up),
            *(event.replace("+", "-") for event in reversed(up)),
        ]
        assert not self.broken

    def tell(self) -> str:
        return f"{self.story} {[repr(node) for node in self.all]}"


def in_order(service: Service) -> list[Service]:
    """The services of a tree in the order of their do_start."""
    below = [node for child in service.children for node in in_order(child)]
    return [service, *below] if service.start_before else [*below, service]


@pytest.mark.fault(13)
@pytest.mark.fault(75)
@pytest.mark.parametrize("backend", WORLDS)
def test_whatever_happens_to_a_tree_the_invariants_hold(
    backend: str, monkeypatch: pytest.MonkeyPatch, no_logging: None
):
    monkeypatch.setattr(context, "backend", WORLDS[backend].name)  # type: ignore[attr-defined]
    monkeypatch.setattr(tasks, "GRACE", SOON)
    machine = type("Machine", (Machine,), {"backend": backend})
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=25))
