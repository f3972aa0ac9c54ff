"""What watches over a config file while it runs: it is code, and code can hang.

A native thread waits for the deadline, and then has an exception raised in the file:

    the file               runs in the main thread            runs in another thread
    computes               a signal, whose handler raises     an exception set by the interpreter
    waits in the kernel    the same                           the same, when the wait is over
    waits in gevent's hub  gevent's own timer                 the same

The signal is one that nobody uses, sent to the main thread only, and given back. An alarm would
do too, but there is one for the whole process, and others use it. Only code in C that computes and
lets no other thread run (a hopeless regular expression) is out of reach.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import CodeType, FrameType

from .native import original, patched

# A file that catches the exception gets it again after so many seconds.
AGAIN = 0.25


class DeadlinePassed(BaseException):
    """Raised in a config file that runs for too long; a BaseException, so that it is not caught."""


class Guard:
    """Runs a config file's code, and ends it at a deadline.

    Args:
        code: the code of the whole file; the exception is raised only while it is running.
        seconds: how long it may take; 0 for ever.

    Attributes:
        interrupted: Ctrl+C was pressed meanwhile, so that a KeyboardInterrupt is a real one.
    """

    def __init__(self, code: CodeType, seconds: float) -> None:
        self._code = code
        self._seconds = seconds
        self._disarm: list[Callable[[], object]] = []
        self.interrupted = False

    def run(self, act: Callable[[], object]) -> None:
        """Call `act`, which runs the code.

        Raises:
            DeadlinePassed: it took too long; the traceback says where it was.
            BaseException: whatever the code raises.
        """
        try:
            try:
                self._arm()
                act()
            finally:
                self._stop()
        except DeadlinePassed:
            self._stop()  # it may have come in the middle of the other one
            raise

    def _arm(self) -> None:
        main = _in_main_thread()
        if main:
            self._hear_interrupts()
        if self._seconds <= 0:
            return
        if patched():
            self._arm_gevent()
        self._arm_watchdog((self._by_signal() if main else None) or self._by_interpreter())

    def _stop(self) -> None:
        while self._disarm:
            self._disarm[-1]()  # twice, if the deadline's exception comes in between: harmless
            self._disarm.pop()

    def _hear_interrupts(self) -> None:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)
            self._disarm.append(self._hear_no_more)

    def _hear_no_more(self) -> None:
        if signal.getsignal(signal.SIGINT) == self._interrupt:  # the file may have set its own
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        signal.default_int_handler(number, frame)

    def _arm_watchdog(self, way: tuple[Callable[[], object], Callable[[], object]]) -> None:
        """Start a thread that raises in the file, in a certain way, and again until it ends.

        Args:
            way: how to raise, and how to make sure that nothing of it arrives later.
        """
        fire, cease = way
        over = original("_thread", "allocate_lock")()
        firing = original("_thread", "allocate_lock")()
        over.acquire()
        ident = original("_thread", "get_ident")()

        def watch() -> None:
            pause = self._seconds
            while not over.acquire(timeout=pause):
                with firing:
                    # On gevent another greenlet may run in the thread: it must not be hit.
                    if over.locked() and self._running(sys._current_frames().get(ident)):
                        fire()
                pause = AGAIN

        def disarm() -> None:
            if over.locked():
                over.release()
            with firing:
                cease()

        self._disarm.append(disarm)
        # Signals are for the main thread, which they wake: blocked here, the new thread has none.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            original("_thread", "start_new_thread")(watch, ())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _by_signal(self) -> tuple[Callable[[], object], Callable[[], object]] | None:
        """Return a way for the main thread, or None if every signal has its use."""
        number = _free_signal()
        if number is None:
            return None
        ident = original("_thread", "get_ident")()

        def ring(_: int, frame: FrameType | None) -> None:
            if self._running(frame):
                raise DeadlinePassed

        def cease() -> None:
            # Ignoring it discards what was sent and has not arrived; the default would end us.
            if signal.getsignal(number) is ring:
                signal.signal(number, signal.SIG_IGN)
                signal.signal(number, signal.SIG_DFL)

        signal.signal(number, ring)
        return lambda: signal.pthread_kill(ident, number), cease

    def _by_interpreter(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """Return a way for any thread: PyThreadState_SetAsyncExc()."""
        import ctypes  # not in the watchdog: the file may hold the import lock that it would need

        raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        thread = ctypes.c_ulong(original("_thread", "get_ident")())
        error = ctypes.py_object(DeadlinePassed)
        fired = False

        def fire() -> None:
            nonlocal fired
            fired = True
            raise_in(thread, error)

        def cease() -> None:
            # What may still come is taken here. Taken back (by None), it would leave the
            # interpreter looking for it for ever: slower, and in a debugger without an end.
            if fired:
                try:
                    raise_in(thread, error)
                    while True:
                        pass
                except DeadlinePassed:
                    pass

        return fire, cease

    def _running(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code is self._code:
                return True
            frame = frame.f_back
        return False

    def _arm_gevent(self) -> None:
        timeout = sys.modules["gevent"].Timeout(self._seconds, DeadlinePassed())
        self._disarm.append(timeout.close)
        timeout.start()


def _free_signal() -> int | None:
    """Return a real-time signal that nobody handles, ignores or blocks, or None."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for number in range(signal.SIGRTMAX, signal.SIGRTMIN, -1):
        if number not in blocked and signal.getsignal(number) is signal.SIG_DFL:
            return number
    return None


def _in_main_thread() -> bool:
    """Whether signal handlers run in this thread. Linux gives the main thread the process's id."""
    return bool(original("_thread", "get_native_id")() == os.getpid())
