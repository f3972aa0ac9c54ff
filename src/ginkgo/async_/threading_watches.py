"""Calling a function when a descriptor is readable, or later: one thread for all of them.

It is made for the first of them and ends with the last. It waits until the next time that is due,
and without a limit where there is none, so that a process in which nothing happens is not woken.
"""

from __future__ import annotations

import heapq
import logging
import os
import select
import time
from collections.abc import Callable
from itertools import count

from .threading_operations import Monitor
from .threading_waits import Strand, start_thread

logger = logging.getLogger(__name__)


class Watches:
    """What is watched and waited for. The functions are called under the monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._watched: dict[int, Watch] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._poller: _Poller | None = None

    def add(self, fd: int, callback: Callable[[], object]) -> Watch:
        """Call `callback` whenever `fd` is readable."""
        with self._monitor:
            watch = Watch(self, fd, callback)
            self._watched[fd] = watch
            self._running_poller().add(fd)
            return watch

    def later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` when so many seconds have gone by."""
        with self._monitor:
            timer = Timer(self, time.monotonic() + max(0.0, seconds), callback)
            heapq.heappush(self._timers, (timer.due, next(self._numbers), timer))
            poller = self._running_poller()
            if self._timers[0][2] is timer:
                poller.wake()
            return timer

    def _running_poller(self) -> _Poller:
        if self._poller is None:
            self._poller = _Poller(self._monitor, self._next_due, self._readable)
        return self._poller

    def _end_if_idle(self) -> None:
        if self._poller is not None and not self._watched and not self._timers:
            poller, self._poller = self._poller, None
            poller.end()

    def remove(self, watch: Watch) -> None:
        """Call it no more; when this returns it is not being called any more either."""
        with self._monitor:
            if self._watched.get(watch.fd) is not watch or self._poller is None:
                return
            del self._watched[watch.fd]
            self._poller.remove(watch.fd)
            self._end_if_idle()

    def cancel(self, timer: Timer) -> None:
        """Call it no more; when this returns it is not being called any more either."""
        with self._monitor:
            timer.callback = None
            while self._timers and self._timers[0][2].callback is None:
                heapq.heappop(self._timers)
            self._end_if_idle()

    def _next_due(self, poller: _Poller) -> float | None:
        """Call what is due. Returns the seconds until the next is, or None."""
        with self._monitor:
            while poller is self._poller and self._timers:
                due, _, timer = self._timers[0]
                left = due - time.monotonic()
                if timer.callback is not None and left > 0:
                    return left
                heapq.heappop(self._timers)
                _call(timer.callback)
                timer.callback = None
            if poller is self._poller:
                self._end_if_idle()
            return None

    def _readable(self, poller: _Poller, fd: int) -> None:
        with self._monitor:
            watch = self._watched.get(fd) if poller is self._poller else None
            if watch is not None:
                _call(watch.callback)


def _call(callback: Callable[[], object] | None) -> None:
    if callback is None:
        return
    try:
        callback()
    except Exception:  # somebody's callback: it must not end the thread for the others
        logger.exception("What the loop was to call raised: %r", callback)


class Watch:
    """One descriptor that is watched."""

    __slots__ = ("_watches", "callback", "fd")

    def __init__(self, watches: Watches, fd: int, callback: Callable[[], object]) -> None:
        self._watches = watches
        self.fd = fd
        self.callback = callback

    def close(self) -> None:
        """Watch it no more. Called before the descriptor is closed."""
        self._watches.remove(self)


class Timer:
    """One call that is due later."""

    __slots__ = ("_watches", "callback", "due")

    def __init__(self, watches: Watches, due: float, callback: Callable[[], object]) -> None:
        self._watches = watches
        self.due = due
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Do not call it."""
        self._watches.cancel(self)


class _Poller:
    """The thread that waits for all of them at once."""

    def __init__(
        self,
        monitor: Monitor,
        next_due: Callable[[_Poller], float | None],
        readable: Callable[[_Poller, int], None],
    ) -> None:
        self._monitor = monitor
        self._next_due = next_due
        self._readable = readable
        self._ended = False
        self._epoll = select.epoll()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wakeup, select.EPOLLIN)
        start_thread(Strand(), self._run, "ginkgo: descriptors")

    def add(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        self._epoll.unregister(fd)

    def wake(self) -> None:
        os.eventfd_write(self._wakeup, 1)

    def end(self) -> None:
        self._ended = True
        self.wake()

    def _run(self) -> None:
        while not self._ended:
            left = self._next_due(self)
            if self._ended:
                break
            for fd, _ in self._epoll.poll(left):
                if fd == self._wakeup:
                    os.eventfd_read(self._wakeup)
                else:
                    self._readable(self, fd)
        with self._monitor:  # who tells the end of it has written by then
            self._epoll.close()
            os.close(self._wakeup)
