"""Signals, for every backend in one place.

::

    kernel --> C handler --> one byte into a pipe --> the backend's loop --> what the signal means
                    \\
                     +-> Python handler in the main thread, between two of its instructions:
                         a second Ctrl+C, and the guard that ends a process whose loop is hung

What a signal means is decided in the loop, where the tree may be touched. The Python handler only
does what has to work even when the loop does not come round any more.

===============  ==========================================================================
SIGTERM, SIGINT  stop; a repeated SIGTERM is the same stop; a second SIGINT ends at once
SIGQUIT          the stacks of everything into the log, then a quick stop
SIGHUP           reload; where the terminal of a foreground process is gone, stop
SIGUSR1          reopen the log files
SIGUSR2, ...     nothing: signals without a meaning here do not end a daemon
===============  ==========================================================================
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

STOP = (signal.SIGTERM, signal.SIGINT)
HANDLED = (*STOP, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)
WITHOUT_MEANING = (
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGIO,
    signal.SIGPWR,
    signal.SIGSTKFLT,
    *range(signal.SIGRTMIN, signal.SIGRTMAX + 1),
)


class Stopped(SystemExit):
    """Raised in the main thread by SIGTERM or Ctrl+C while there is no tree yet to stop in order.

    A SystemExit, because that is what gevent's hub hands on to the main greenlet without a word.
    """


class Early:
    """What signals mean before there is a loop: the target is being imported.

    SIGTERM, SIGINT and SIGQUIT end the process, in order; the others are noted.

    Args:
        ignored: the signals that whoever started this process had set to be ignored.

    Attributes:
        noted: the numbers of those that came and are still to be acted on.
        hangup_ignored: SIGHUP was to be ignored, as under nohup(1).
    """

    def __init__(self, ignored: frozenset[int] = frozenset()) -> None:
        self.noted: list[int] = []
        self.hangup_ignored = signal.SIGHUP in ignored
        self._former = {number: signal.signal(number, self._handle) for number in HANDLED}

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGHUP, signal.SIGUSR1):
            self.noted.append(number)
        else:
            raise KeyboardInterrupt

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._former.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)


class Loop(Protocol):
    """What this module needs of a backend.

    A backend may have an attribute `wakes_for_signals`: Python's handlers run also while it waits,
    and the wakeup descriptor is its own (uvloop's).
    """

    def watch(self, fd: int, callback: Callable[[], object]) -> Any:
        """Call `callback` in the loop whenever `fd` is readable; returns what has ``close()``."""


class Signals:
    """The process's signal handlers, from :meth:`install` to :meth:`restore`.

    Args:
        loop: the backend.
        act: called in the loop with the number of each signal that arrived, in their order.
        at_once: called in the main thread, between two instructions of whatever runs there, with
            the signal's number and how often it has come. It must not touch the tree.
    """

    def __init__(
        self,
        loop: Loop,
        act: Callable[[int], object],
        at_once: Callable[[int, int], object],
    ) -> None:
        self._loop = loop
        self._act = act
        self._at_once = at_once
        self._counts: dict[int, int] = {}
        self._former: dict[int, Any] = {}
        self._pid = os.getpid()
        self._reader = self._writer = -1
        self._watcher: Any = None
        self._former_wakeup = -1
        self._by_hand = False

    def install(self, signals: tuple[int, ...] = HANDLED + WITHOUT_MEANING) -> None:
        """Take the signals over. Only in the main thread, as Python has it."""
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._by_hand = getattr(self._loop, "wakes_for_signals", False)
        if not self._by_hand:
            self._former_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._watcher = self._loop.watch(self._reader, self._arrived)
        for number in signals:
            self._former[number] = signal.signal(number, self._handle)
        _active.append(self)

    def restore(self) -> None:
        """Give the signals back to who had them."""
        if self._watcher is None:
            return
        _active.remove(self)
        if not self._by_hand:
            signal.set_wakeup_fd(self._former_wakeup)
        for number, handler in self._former.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._former.clear()
        self._watcher.close()
        self._watcher = None
        os.close(self._reader)
        os.close(self._writer)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._counts[number] = self._counts.get(number, 0) + 1
        self._at_once(number, self._counts[number])
        if self._by_hand:
            try:
                os.write(self._writer, bytes((number,)))
            except BlockingIOError:
                pass  # there are thousands in it: one more changes nothing

    def _arrived(self) -> None:
        try:
            numbers = os.read(self._reader, 4096)
        except BlockingIOError:
            return
        for number in dict.fromkeys(numbers):  # a hundred SIGHUPs at once are one
            if number in HANDLED:
                self._act(number)

    def leave_in_child(self) -> None:
        """In a forked child: the parent's pipe and handlers are none of its business."""
        signal.set_wakeup_fd(-1)
        for number in self._former:
            if signal.getsignal(number) == self._handle:
                signal.signal(number, signal.SIG_DFL)
        os.close(self._reader)
        os.close(self._writer)


_active: list[Signals] = []


_masks: list[set[Any]] = []


def _before_fork() -> None:
    # What arrives before the child has its own handlers must not get into the parent's pipe.
    if _active:
        _masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED))


def _after_fork_in_parent() -> None:
    if _masks:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop())


def _after_fork_in_child() -> None:
    while _active:
        _active.pop().leave_in_child()
    _after_fork_in_parent()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


@contextmanager
def serving(service: Any) -> Iterator[None]:
    """Stop `service` on SIGTERM and Ctrl+C while a script is in its ``serve_forever``.

    Without effect in other threads than the main one, and where the application (or the runner)
    handles these signals itself.
    """
    import threading

    mine = tuple(
        number
        for number in STOP
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    )
    if not mine or threading.current_thread() is not threading.main_thread():
        yield
        return

    def act(number: int) -> None:
        service.stop_soon()

    def at_once(number: int, times: int) -> None:
        if number == signal.SIGINT and times > 1:
            os._exit(128 + number)

    signals = Signals(service.backend_in_use, act, at_once)
    signals.install(mine)
    try:
        yield
    finally:
        signals.restore()


def terminal_is_gone() -> bool:
    """Whether this process has lost its controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return True
    return False
