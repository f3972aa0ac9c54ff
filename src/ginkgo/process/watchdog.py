"""The watchdog: a thread that notices a loop in which nothing else gets its turn any more.

::

    rests --- something to do ---> works --- `blocked_after` ---> blocked: its stack to the log,
      ^                              |                              |   again, ever more seldom,
      +---- nothing to do any more --+------------------------------+   and a line when it is over

What is watched is the pulse of the tree's loop and of the bridge's (:mod:`ginkgo.async_.pulse`); on
threads, which have no loop, the monitor that every thread has to get. A loop is blocked when it is
in the same round for `blocked_after` seconds: one callback, greenlet or step of a task does not let
go of it. While all loops rest this thread sleeps, without a time limit.

Time counts that this thread has seen pass. Where it was itself held up, the process was stopped
(SIGSTOP, a debugger, a suspended machine) and nobody is to blame, unless the processor was busy for
us meanwhile: then something written in C did not let go of the interpreter.

As soon as a loop has not moved from one look to the next, this thread and the control plane's get
the interpreter sooner (:mod:`ginkgo.async_.switching`).
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..async_ import native, pulse, switching
from ..async_.pulse import Pulse
from ..async_.stacks import NOBODY, Owner, places, running_in
from ..core.service import Service
from ..logs.beside import Beside
from .stacks import text_of, users

if TYPE_CHECKING:
    from ..async_.pulse import Detach

logger = logging.getLogger(__name__)

NAME = "ginkgo-watchdog"
LOOKS = 4  # so often within `blocked_after` the thread looks at a loop that works, and
LOOK = 0.25  # seconds, at least so often
LATE = 0.25  # seconds that it is held up by a machine with much to do, without a cause to wonder
NEVER = float("inf")
DEBUGGERS = frozenset({"bdb", "pdb", "pydevd", "_pydevd_bundle", "debugpy", "ipdb", "pudb"})


@dataclass(eq=False)
class _Watched:
    """One loop, as far as the watchdog has come with it."""

    pulse: Pulse
    seen: int = -1  # the round
    works: bool = False  # at the last look
    stood: float = 0.0  # seconds that it has worked in that round
    blocked: bool = False
    owner: Owner = NOBODY
    next_report: float = 0.0  # seconds of `stood`


class Watchdog:
    """Watches the loops of a tree, from :meth:`start` to :meth:`close`.

    Args:
        root: the root of the tree.
        after: seconds after which a loop is blocked.

    Attributes:
        count: how often a loop was blocked.
        longest: seconds, the longest time that one was, as far as it is over.
    """

    def __init__(self, root: Service, after: float) -> None:
        self.count = 0
        self.longest = 0.0
        self._root = root
        self._after = after
        self._tick = min(after / LOOKS, LOOK)
        self._watched: list[_Watched] = []
        self._ends: list[Detach] = []
        self._bell = native.lock()
        self._bell.acquire()
        self._thread: native.NativeThread | None = None
        self._over = False
        self._log = Beside(logger, self._post, NAME)

    def _post(self, function: Callable[..., object], *args: object) -> None:
        self._root.backend_in_use.post(function, *args)

    # -- for the application ---------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch. Called in the thread of the tree's loop."""
        backend = self._root.backend_in_use
        name = {"gevent": "the hub", "asyncio": "the loop"}.get(backend.name, "the monitor")
        self._add(name, backend.attach_pulse)
        pulse.observe(self._add)
        try:
            self._thread = native.start_thread(self._run, name=NAME)
        except RuntimeError as error:  # a service with one thread less is better than none
            logger.warning("blocked loops are not going to be noticed: %s", error)

    def _add(self, name: str, attach: Callable[[Pulse], Detach]) -> Detach:
        watched = _Watched(Pulse(name, self._ring))
        watched.pulse.resting = name == "the monitor"  # a loop works until it says otherwise
        detach = attach(watched.pulse)
        self._watched.append(watched)
        self._ring()

        def end() -> None:
            if watched in self._watched:
                self._watched.remove(watched)
                detach()

        self._ends.append(end)
        return end

    def close(self) -> None:
        """End the thread. Called in the thread of the tree's loop."""
        pulse.observe_no_more(self._add)
        self._over = True
        self._ring()
        for end in self._ends:
            end()
        if self._thread is not None:
            self._thread.join(2.0)
        switching.relent(NAME)

    @property
    def tree_is_blocked(self) -> bool:
        """Whether the loop of the tree itself is blocked, as far as it has been seen by now."""
        return any(each.blocked for each in self._watched[:1])

    def status(self) -> dict[str, Any]:
        """How often and how long loops were blocked, and what blocks one now; JSON-able."""
        now = next((each for each in self._watched if each.blocked), None)
        return {
            "count": self.count,
            "longest": round(max(self.longest, now.stood if now else 0.0), 3),
            "now": None
            if now is None
            else {
                "loop": now.pulse.name.removeprefix("the "),
                "seconds": round(now.stood, 3),
                "path": now.owner.service,
                "doing": now.owner.doing,
            },
        }

    # -- the thread ------------------------------------------------------------------------------

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it rings already

    def _run(self) -> None:
        before = Moment.now()
        while not self._over:
            timeout = self._look()
            self._bell.acquire(timeout=timeout)
            now = Moment.now()
            passed = now.time - before.time
            if timeout >= 0 and stood_still(before, now, timeout):
                passed = timeout
            for watched in tuple(self._watched):
                if watched.works:
                    watched.stood += passed
            before = now

    def _look(self) -> float:
        """Look at all loops; returns in how many seconds to do so again, -1 for when it rings."""
        soonest = min((self._look_at(each) for each in tuple(self._watched)), default=NEVER)
        if any(each.stood for each in tuple(self._watched)):
            switching.insist(NAME, switching.SOONER)
        else:
            switching.relent(NAME)
        return -1 if soonest == NEVER else soonest

    def _look_at(self, watched: _Watched) -> float:
        pulse = watched.pulse
        if pulse.look is not None:
            pulse.look()
        if pulse.resting or pulse.rounds != watched.seen:
            if watched.blocked:
                self._is_over(watched)
            watched.seen = pulse.rounds
            watched.stood = 0.0
        elif watched.stood >= (watched.next_report if watched.blocked else self._after):
            self._report(watched)
        watched.works = not pulse.resting
        # First the wish, then the look: whoever begins to work in between has seen the wish.
        pulse.alert = pulse.resting or watched.blocked
        if not (pulse.resting and pulse.alert):
            return self._tick
        if watched.blocked:
            return 0.0  # it has come to rest while its block was being told: it is over
        return NEVER if pulse.look is None else self._after

    def _report(self, watched: _Watched) -> None:
        pulse = watched.pulse
        owner, frames = running_in(self._root, pulse.thread, pulse.loop)
        if pulse.resting or pulse.rounds != watched.seen:
            return  # it has gone on: this is what it does now
        if _is_debugged(frames):
            watched.stood = 0.0
            return
        again = watched.blocked
        if not again:
            watched.blocked = True
            watched.owner = owner
            self.count += 1
            watched.next_report = watched.stood
        watched.next_report += max(self._after, watched.next_report)  # 1, 2, 4, 8 ...
        who = f"{said_of(owner)} {'still ' if again else ''}blocks {pulse.name}"
        text = f"{who}: nothing else has had a turn for {watched.stood:.1f} s"
        self._log.log(logging.WARNING, __file__, text, text_of(users(places(frames))))

    def _is_over(self, watched: _Watched) -> None:
        watched.blocked = False
        self.longest = max(self.longest, watched.stood)
        text = f"{watched.pulse.name} goes on: {said_of(watched.owner)} had blocked it"
        text = f"{text[0].upper()}{text[1:]} for {watched.stood:.1f} s"
        self._log.log(logging.WARNING, __file__, text)


class Moment(NamedTuple):
    """What the watchdog's thread knows at one moment."""

    time: float
    """Monotonic seconds."""
    worked: float
    """Seconds of the processor that the process has had."""
    waits: int
    """How often this thread has gone to sleep."""

    @classmethod
    def now(cls) -> Moment:
        """This moment."""
        waits = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        return cls(time.monotonic(), time.process_time(), waits)


def stood_still(before: Moment, now: Moment, timeout: float) -> bool:
    """Whether it was the whole process that stood still, when this thread was woken too late.

    If it was not, something kept the interpreter for itself: the processor has worked for us, and
    this thread has asked for the interpreter every few milliseconds (sys.setswitchinterval).

    Args:
        before: when the thread went to sleep.
        now: when it came back.
        timeout: seconds that it wanted to sleep.
    """
    late = now.time - before.time - timeout
    worked = now.worked - before.worked - timeout
    return late > LATE and worked < late / 4 and now.waits - before.waits < late * 10


def said_of(owner: Owner) -> str:
    """Whose something is, in words."""
    known = [part for part in owner if part is not None]
    return ": ".join(known) or "something"


def _is_debugged(frames: list[FrameType]) -> bool:
    """Whether a person looks at this in a debugger, and takes the time that it takes."""
    if DEBUGGERS.isdisjoint(sys.modules):
        return False
    names = {str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames}
    return not DEBUGGERS.isdisjoint(names)
