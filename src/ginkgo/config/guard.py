"""What watches over a config file while it runs: it is code, and code can hang.

A file may hang in three ways, and each needs its own way out:

    what it does            what ends it
    computes for ever       an exception raised in it: by SIGALRM in the main thread, by another
                            thread elsewhere
    waits in the kernel     SIGALRM, in the main thread; elsewhere only the end of the wait
    waits in gevent's hub   gevent's own timer

SIGALRM is used only where nobody else uses it, and given back.
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
        if not (main and self._arm_alarm()):
            self._arm_watchdog()

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

    def _arm_alarm(self) -> bool:
        taken = signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
        if taken or signal.getitimer(signal.ITIMER_REAL)[0]:
            return False
        signal.signal(signal.SIGALRM, self._ring)
        self._disarm.append(self._disarm_alarm)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, AGAIN)
        return True

    def _disarm_alarm(self) -> None:
        if signal.getsignal(signal.SIGALRM) == self._ring:  # the file may have taken it since
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _ring(self, _: int, frame: FrameType | None) -> None:
        # On gevent the signal may arrive while another greenlet runs: it must not be hit.
        if self._running(frame):
            raise DeadlinePassed

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

    def _arm_watchdog(self) -> None:
        import ctypes  # not in the watchdog: the file may hold the import lock that it would need

        raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        over = original("_thread", "allocate_lock")()
        firing = original("_thread", "allocate_lock")()
        over.acquire()
        thread = ctypes.c_ulong(original("_thread", "get_ident")())

        def watch() -> None:
            pause = self._seconds
            while not over.acquire(timeout=pause):
                with firing:
                    frame = sys._current_frames().get(thread.value)
                    if over.locked() and self._running(frame):
                        raise_in(thread, ctypes.py_object(DeadlinePassed))
                pause = AGAIN

        def disarm() -> None:
            if over.locked():
                over.release()
            with firing:  # what was fired and has not arrived is taken back
                raise_in(thread, None)

        self._disarm.append(disarm)
        original("_thread", "start_new_thread")(watch, ())


def _in_main_thread() -> bool:
    """Whether signal handlers run in this thread. Linux gives the main thread the process's id."""
    return bool(original("_thread", "get_native_id")() == os.getpid())
