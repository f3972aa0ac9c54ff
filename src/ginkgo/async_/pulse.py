"""The pulse of a loop: whether it waits or works, told without a tick.

::

    the loop's thread                              the watchdog's thread
      works()   it comes back with something         sleeps while every loop rests
      ...       callbacks, greenlets, tasks          looks now and then while one works:
      rests()   it waits for the next                is it still in the same round?

A loop that turns writes two attributes for each round, and wakes nobody. Only the first round after
a rest that the watchdog has seen wakes it. What is hooked in where:

==================  ==============================================================================
gevent              libev's prepare and check watchers, behind and before everything else's
asyncio             the selector that the loop was made with
uvloop              has no hook: the watchdog looks once in a while where the loop's thread is, and
                    sends a callback through a loop that works. It is the one that needs a tick
threading           has no loop; what all threads have to get is the monitor
==================  ==============================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any

from . import native

if TYPE_CHECKING:
    import asyncio

Detach = Callable[[], object]


class Pulse:
    """What is known about one loop. Written by its thread, read by the watchdog's.

    Args:
        name: what to call the loop in the log.
        wake: wakes the watchdog; from any thread.

    Attributes:
        thread: the ident of the thread that the loop runs in, or that has the monitor.
        loop: the asyncio loop, or None.
        rounds: how often it has begun to work.
        resting: whether it waits for something to do.
        alert: whether the watchdog wants to be woken at the next change.
        look: for a loop that cannot tell: called by the watchdog, at every tick, to find it out.
    """

    __slots__ = ("alert", "look", "loop", "name", "resting", "rounds", "thread", "wake")

    def __init__(self, name: str, wake: Callable[[], object]) -> None:
        self.name = name
        self.wake = wake
        self.thread = native.get_ident()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.rounds = 0
        self.resting = False
        self.alert = False
        self.look: Callable[[], object] | None = None

    def works(self) -> None:
        """The loop has something to do."""
        self.rounds += 1
        self.resting = False
        if self.alert:
            self.changed()

    def rests(self) -> None:
        """The loop has nothing to do."""
        self.resting = True
        if self.alert:
            self.changed()

    def changed(self) -> None:
        """Wake the watchdog, which wants to know of this."""
        self.alert = False
        self.wake()


def attach_to_hub(loop: Any, pulse: Pulse) -> Detach:
    """Take the pulse of gevent's loop. Called in the hub's thread."""
    # Greenlets run in a prepare watcher of gevent's, and in the callbacks of whatever is ready:
    # ours comes after the one and before the others.
    prepare = loop.prepare(ref=False, priority=loop.MINPRI)
    check = loop.check(ref=False, priority=loop.MAXPRI)
    prepare.start(pulse.rests)
    check.start(pulse.works)

    def detach() -> None:
        for watcher in (prepare, check):
            watcher.stop()
            watcher.close()

    return detach


def attach_to_loop(loop: asyncio.AbstractEventLoop, pulse: Pulse, runs: set[CodeType]) -> Detach:
    """Take the pulse of an asyncio loop. Called in the loop's thread.

    Args:
        loop: the loop; one of :func:`~ginkgo.async_.loops.new_loop` brings its selector along.
        pulse: what is told.
        runs: the functions that run the loop; where its thread is in one of these, and in nothing
            that this has called, the loop has nothing to do. Needed for uvloop.
    """
    pulse.loop = loop
    selector = getattr(loop, "ginkgo_selector", None)
    if selector is not None:
        return _attach_to_selector(selector, pulse)
    pulse.look = _Look(loop, pulse, runs)

    def detach() -> None:
        pulse.look = None

    return detach


def _attach_to_selector(selector: Any, pulse: Pulse) -> Detach:
    select = selector.select

    def told(timeout: float | None = None) -> Any:
        pulse.resting = True  # not by calls of its methods: this is done for every round
        if pulse.alert:
            pulse.changed()
        try:
            return select(timeout)
        finally:
            pulse.rounds += 1
            pulse.resting = False
            if pulse.alert:
                pulse.changed()

    selector.select = told

    def detach() -> None:
        del selector.select  # of the instance; that of its class is there again

    return detach


class _Look:
    """Finds out from outside whether a loop works, and whether it comes round."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pulse: Pulse, runs: set[CodeType]) -> None:
        self._loop = loop
        self._pulse = pulse
        self._runs = runs
        self._sent = False

    def __call__(self) -> None:
        pulse = self._pulse
        frame = sys._current_frames().get(pulse.thread)
        if frame is None or frame.f_code in self._runs:
            pulse.resting = True
            return
        pulse.resting = False
        if not self._sent:  # an idle loop is left asleep
            self._sent = True
            try:
                self._loop.call_soon_threadsafe(self._came_round)
            except RuntimeError:
                pass  # it is closed

    def _came_round(self) -> None:
        self._sent = False
        self._pulse.works()


Observer = Callable[[str, Callable[[Pulse], Detach]], Detach]

_observers: list[Observer] = []


def observe(observer: Observer) -> None:
    """Have `observer(name, attach)` called in the thread of every loop that begins from now on.

    What it returns is called when the loop has ended.
    """
    _observers.append(observer)


def observe_no_more(observer: Observer) -> None:
    """Take an observer back."""
    _observers.remove(observer)


def begins(name: str, attach: Callable[[Pulse], Detach]) -> Detach:
    """A loop of ours begins, in the calling thread; what is returned is called at its end."""
    ends = [observer(name, attach) for observer in tuple(_observers)]

    def end() -> None:
        for each in ends:
            each()

    return end
