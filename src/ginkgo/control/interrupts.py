"""An interruption of what a thread runs, as Ctrl+C is one in the main thread.

    the thread computes              the interpreter raises in it: PyThreadState_SetAsyncExc()
    it waits in its own gevent hub   the hub raises in the greenlet that waits
    it waits or computes in C        the interpreter raises when it comes back from there

Only statements are hit, each by its number: an interruption that comes late hits nothing, and one
that comes early its statement when it begins.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from ginkgo.async_ import native

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc

ALL = sys.maxsize
"""Every statement, those that are still to come too."""


class Interruptible:
    """Runs statements in one thread, the one that enters it; others may interrupt them."""

    def __init__(self) -> None:
        self._door = native.lock()
        self._running = 0
        self._interrupted = 0
        self._fired = False

    def enter(self) -> None:
        """Begin, in the thread that is to run what comes."""
        self._ident = native.get_ident()
        self._gevent: Any = _gevent()
        if self._gevent:
            self._hub = self._gevent.get_hub()
            self._greenlet = self._gevent.getcurrent()

    def leave(self) -> None:
        """End, in the same thread: give up its hub."""
        if self._gevent:
            self._hub.destroy(destroy_loop=True)

    def run(self, number: int, act: Callable[[], object]) -> None:
        """Call `act`, the statement of a number.

        Raises:
            KeyboardInterrupt: it was interrupted.
            BaseException: whatever it raises.
        """
        try:
            try:
                self._begin(number)
                act()
            finally:
                self._end()
        except KeyboardInterrupt:
            self._end()  # it may have come in the middle of the other one
            raise

    def interrupt(self, number: int) -> None:
        """Raise a KeyboardInterrupt in each statement up to a number; from another thread."""
        with self._door:
            self._interrupted = max(number, self._interrupted)
            if not 0 < self._running <= number:
                return
            if not self._gevent or self._computes():
                self._fired = True
                self._raise()
            else:
                self._hub.loop.run_callback_threadsafe(self._throw, self._running)

    def _begin(self, number: int) -> None:
        with self._door:
            if number <= self._interrupted:
                raise KeyboardInterrupt
            self._running = number

    def _end(self) -> None:
        with self._door:
            self._running = 0
        # What may still come is taken here. Taken back (by None), it would leave the interpreter
        # looking for it for ever.
        if self._fired:
            try:
                self._raise()
                while True:
                    pass
            except KeyboardInterrupt:
                self._fired = False

    def _raise(self) -> None:
        _raise_in(ctypes.c_ulong(self._ident), ctypes.py_object(KeyboardInterrupt))

    def _computes(self) -> bool:
        """Whether the statement is what the thread runs, and not a hub that it waits in."""
        frame = sys._current_frames().get(self._ident)
        while frame is not None:
            if frame.f_code is Interruptible.run.__code__:
                return True
            frame = frame.f_back
        return False

    def _throw(self, number: int) -> None:
        # The loop may come to it late: what computed meanwhile was hit by the interpreter.
        if self._running == number and not self._greenlet.dead:
            self._greenlet.throw(KeyboardInterrupt)


def _gevent() -> Any:
    """Return gevent, where waits in this process are its own."""
    monkey = sys.modules.get("gevent.monkey")
    return sys.modules["gevent"] if monkey is not None and monkey.saved else None
