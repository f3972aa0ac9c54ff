"""A selector loop for a native thread: descriptors, timers, and what other threads want of it.

                    ┌──────────── epoll ────────────┐
    watch(fd) ──────> handler(mask)                 │
    after(seconds) ─> function()                    │ sleeps without a timeout while nothing is due
    post() ──eventfd> function()  from any thread   │
                    └───────────────────────────────┘

It uses nothing that gevent patches, so that it runs while the hub is blocked. Handlers never wait.
"""

from __future__ import annotations

import os
import select
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress

from ginkgo.async_ import native, switching

NAME = "ginkgo-control"


class Loop:
    """The loop. Of its methods only `post` may be called from other threads while it runs.

    Args:
        report: told, in the loop's thread, of handlers that raised; the loop goes on.

    Raises:
        OSError: the process is out of descriptors.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._posted: deque[Callable[[], object]] = deque()
        self._timers: dict[object, tuple[float, Callable[[], object]]] = {}
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._door = native.rlock()
        self._open = True  # changed in the door only
        with ExitStack() as undo:
            self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._wakeup)
            self._poller = native.epoll()
            undo.callback(self._poller.close)
            self.watch(self._wakeup, select.EPOLLIN, self._on_wakeup)
            self._owned = undo.pop_all()

    # -- what is waited for

    def watch(self, fd: int, mask: int, handler: Callable[[int], object]) -> None:
        """Call `handler(mask)` whenever one of the epoll events `mask` is there.

        A handler may be called once without cause: when its descriptor's number was another's
        before, in the same round.
        """
        self._poller.register(fd, mask)
        self._handlers[fd] = handler

    def change(self, fd: int, mask: int) -> None:
        """Wait for other events of a descriptor that is watched."""
        self._poller.modify(fd, mask)

    def watches(self, fd: int) -> bool:
        """Whether the descriptor is watched."""
        return fd in self._handlers

    def unwatch(self, fd: int, *, closed: bool = False) -> None:
        """Watch it no longer; `closed` if it was closed, which takes it from the kernel's set."""
        if self._handlers.pop(fd, None) is not None and not closed:
            self._poller.unregister(fd)

    def post(self, function: Callable[[], object]) -> None:
        """Run `function` soon in the loop's thread; from any thread, and from signal handlers."""
        self._posted.append(function)
        # The door: not to write to a number that was closed meanwhile, and is another file's now.
        with self._door:
            if self._open:
                os.eventfd_write(self._wakeup, 1)

    def after(self, seconds: float, function: Callable[[], object]) -> Callable[[], None]:
        """Run `function` in `seconds`; return what cancels it."""
        key = object()
        self._timers[key] = (time.monotonic() + seconds, function)

        def cancel() -> None:
            self._timers.pop(key, None)

        return cancel

    # -- running

    def run(self, finished: Callable[[], bool]) -> None:
        """Run until `finished()`, which is asked after every round."""
        while not finished():
            ready = self._poller.poll(self._time_left())
            switching.insist(NAME, switching.SOON)
            for fd, mask in ready:
                handler = self._handlers.get(fd)
                if handler is not None:  # None: closed by an earlier event of this round
                    self._guarded(handler, mask)
            for _ in range(len(self._posted)):  # not those that are posted meanwhile
                self._guarded(self._posted.popleft())
            self._run_due()
            switching.relent(NAME)

    @property
    def busy(self) -> bool:
        """Whether something is posted that has not run yet."""
        return bool(self._posted)

    def close(self) -> None:
        """Let go of the descriptors. What is posted later is never run."""
        with self._door:
            self._open = False
            self._owned.close()

    def close_in_child(self) -> None:
        """Let go of them in a forked child, where the loop's thread is not."""
        self._door = native.rlock()  # the old one may be held by that thread, for ever
        self.close()

    def _time_left(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, min(at for at, _ in self._timers.values()) - time.monotonic())

    def _run_due(self) -> None:
        now = time.monotonic()
        due = [(at, key) for key, (at, _) in self._timers.items() if at <= now]
        for _, key in sorted(due, key=lambda one: one[0]):
            _, function = self._timers.pop(key, (0.0, None))
            if function is not None:  # None: cancelled by an earlier one of this round
                self._guarded(function)

    def _guarded(self, function: Callable[..., object], *args: object) -> None:
        try:
            function(*args)
        except Exception:  # noqa: BLE001 - reported: one client's fault must not silence the others
            self._report(f"The control plane failed at something:\n{traceback.format_exc()}")

    def _on_wakeup(self, _mask: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wakeup)
