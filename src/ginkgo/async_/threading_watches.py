"""Calling a function when a descriptor is readable: one thread for all of them.

It is made for the first descriptor and ends with the last. It waits without a time limit, so that a
process in which nothing happens is not woken.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Callable

from .threading_operations import Monitor
from .threading_waits import Strand, start_thread

logger = logging.getLogger(__name__)


class Watches:
    """The descriptors that are watched. Their functions are called under the monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._watched: dict[int, Watch] = {}
        self._poller: _Poller | None = None

    def add(self, fd: int, callback: Callable[[], object]) -> Watch:
        """Call `callback` whenever `fd` is readable."""
        with self._monitor:
            watch = Watch(self, fd, callback)
            if self._poller is None:
                self._poller = _Poller(self._readable)
            self._watched[fd] = watch
            self._poller.add(fd)
            return watch

    def remove(self, watch: Watch) -> None:
        """Call it no more; when this returns it is not being called any more either."""
        with self._monitor:
            if self._watched.get(watch.fd) is not watch or self._poller is None:
                return
            del self._watched[watch.fd]
            self._poller.remove(watch.fd)
            if not self._watched:
                self._poller.end()
                self._poller = None

    def _readable(self, poller: _Poller, fd: int) -> None:
        with self._monitor:
            watch = self._watched.get(fd) if poller is self._poller else None
            if watch is None:
                return
            try:
                watch.callback()
            except Exception:
                logger.exception("What watches a descriptor raised: %r", watch.callback)


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


class _Poller:
    """The thread that waits for all descriptors at once."""

    def __init__(self, readable: Callable[[_Poller, int], None]) -> None:
        self._readable = readable
        self._epoll = select.epoll()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wakeup, select.EPOLLIN)
        start_thread(Strand(), self._run, "ginkgo: descriptors")

    def add(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        self._epoll.unregister(fd)

    def end(self) -> None:
        os.eventfd_write(self._wakeup, 1)

    def _run(self) -> None:
        ready: list[int] = []
        while self._wakeup not in ready:
            ready = [fd for fd, _ in self._epoll.poll()]
            for fd in ready:
                if fd != self._wakeup:
                    self._readable(self, fd)
        self._epoll.close()
        os.close(self._wakeup)
