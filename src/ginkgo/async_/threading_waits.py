"""How a thread waits, so that somebody else can end its wait.

A thread cannot be broken into from outside, as a greenlet or an asyncio task can. What can be ended
is a wait that was made for it: every wait of Ginkgo's own on this backend, and each one of
``service.async_``, goes through :meth:`Strand.wait`. There a thread learns that it is to end::

    who wants it to end                      the thread
      strand.pending = reason                  strand.waiter = waiter
      strand.waiter.set(), if there is one     strand.pending? raise it
                                               waiter.wait()
                                               strand.pending? raise it

Each side writes first and looks then, so that one of them sees the other. Python could raise an
exception in another thread at any of its instructions (``PyThreadState_SetAsyncExc``); that is left
alone: it would come between ``lock.acquire()`` and the ``try`` behind it, and never come into a
call that blocks in C.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from _thread import TIMEOUT_MAX, allocate_lock
from collections.abc import Callable
from typing import Any


class Stopping(BaseException):
    """Raised by what a task waits for, when the task is told to end: its service stops.

    It ends the task silently. A BaseException, so that ``except Exception`` lets it through. It is
    raised once each time that the task is told to end, which is when its service begins to stop
    and every second from then on: what cleans up may wait.
    """


class Waiter:
    """What a thread waits for: a lock of the operating system, released by who wakes it.

    Attributes:
        woken: it was set, and nobody has waited since then.
    """

    __slots__ = ("_lock", "woken")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()
        self.woken = False

    def set(self) -> None:
        """Wake the thread that waits, or the next one that will. From any thread, repeatedly."""
        self.woken = True
        try:
            self._lock.release()
        except RuntimeError:
            pass  # set already, and not waited for since

    def wait(self, timeout: float | None = None) -> bool:
        """Block the calling thread; False when `timeout` seconds went by first.

        In the main thread signal handlers run meanwhile.
        """
        seconds = -1 if timeout is None else min(max(0.0, timeout), TIMEOUT_MAX)
        if not self._lock.acquire(True, seconds):
            return False
        self.woken = False
        return True


class Strand:
    """One thread, as those know it who may have to end its waits.

    Args:
        owner: what runs in it, a task or the hooks of an operation; None in threads of others.

    Attributes:
        pending: what its next wait is to raise, or None.
        waiter: what it waits for, or None.
        timeouts: the ``with timeout(...)`` that it is in.
        runs: how many coroutines of the core it runs for its own caller.
        hang_up: called when it is interrupted, to end what waits in the kernel; or None. It must
            not block.
    """

    __slots__ = ("hang_up", "owner", "pending", "runs", "timeouts", "waiter")

    def __init__(self, owner: Any = None) -> None:
        self.owner = owner
        self.pending: BaseException | None = None
        self.waiter: Waiter | None = None
        self.timeouts: list[Timeout] = []
        self.runs = 0
        self.hang_up: Callable[[], object] | None = None

    def interrupt(self, reason: BaseException) -> None:
        """Make its wait, or the next one if it is in none, raise `reason`. From any thread."""
        self.pending = reason
        waiter, hang_up = self.waiter, self.hang_up
        if waiter is not None:
            waiter.set()
        if hang_up is not None:
            hang_up()

    def check(self) -> None:
        """Raise what is pending."""
        reason, self.pending = self.pending, None
        if reason is not None:
            try:
                raise reason
            finally:
                del reason  # its traceback holds this frame

    def wait(self, waiter: Waiter, timeout: float | None = None) -> bool:
        """Wait, in the strand's own thread; False when `timeout` seconds went by first.

        Raises:
            BaseException: what the strand was interrupted with, or a timeout that it is in.
        """
        self.waiter = waiter
        try:
            if self.pending is not None:
                self.check()
            first = self._first_timeout() if self.timeouts else None
            if first is None:
                woken = waiter.wait(timeout)
            else:
                woken = self._wait_within(first, waiter, timeout)
        finally:
            self.waiter = None
        if self.pending is not None:
            self.check()
        return woken

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds`; 0 lets another thread run."""
        if seconds > 0:
            self.wait(Waiter(), seconds)
            return
        self.check()
        time.sleep(0)

    def _first_timeout(self) -> Timeout | None:
        active = [timeout for timeout in self.timeouts if not timeout.raised]
        return min(active, key=lambda timeout: timeout.deadline, default=None)

    def _wait_within(self, first: Timeout, waiter: Waiter, timeout: float | None) -> bool:
        left = first.deadline - time.monotonic()
        if timeout is not None and timeout < left:
            return waiter.wait(timeout)
        woken = waiter.wait(left)
        if not woken and self.pending is None:
            first.expire()
        return woken


class Timeout(TimeoutError):
    """What ``async_.timeout`` is: the waits in its body end, and raise it, when the time is over.

    Args:
        seconds: how long; None for no limit.
        exception: what to raise instead; False ends the body, and raises nothing behind it.
    """

    def __init__(self, seconds: float | None, exception: Any = None) -> None:
        super().__init__(f"{seconds} seconds")
        self.seconds = seconds
        self.deadline = 0.0
        self.raised = False
        self._exception = exception
        self._strand: Strand | None = None

    def __enter__(self) -> Timeout:
        if self.seconds is not None:
            self.deadline = time.monotonic() + self.seconds
            self._strand = current()
            self._strand.timeouts.append(self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if self._strand is not None:
            self._strand.timeouts.remove(self)
            self._strand = None
        return error is self and self._exception is False

    def expire(self) -> None:
        """Raise what it raises, once."""
        self.raised = True
        raise self if self._exception in (None, True, False) else self._exception


_local = threading.local()


def current() -> Strand:
    """The strand of the calling thread."""
    try:
        strand: Strand = _local.strand
    except AttributeError:
        strand = _local.strand = Strand()
    return strand


def start_thread(strand: Strand, function: Callable[[], object], name: str) -> threading.Thread:
    """Run a function in a new thread, whose strand is `strand`.

    A daemon: no thread that does not end keeps the process from its end. Signals are not blocked in
    it, because a program that is started from there would inherit that; on Linux the main thread
    gets them first all the same (signal(7): any thread may, but the kernel tries that one first).
    """
    thread = threading.Thread(target=_run, args=(strand, function), name=name, daemon=True)
    thread.start()
    return thread


def _run(strand: Strand, function: Callable[[], object]) -> None:
    _local.strand = strand
    function()


def stack_of(thread: threading.Thread | None) -> str:
    """Where a thread is, as a traceback shows it; empty when it does not run."""
    frame = sys._current_frames().get(thread.ident or 0) if thread is not None else None
    return "" if frame is None else "".join(traceback.format_stack(frame)).rstrip()
