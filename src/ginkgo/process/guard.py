"""What ends a process when its loop does not: the last deadline, and the second Ctrl+C.

Both work in the Python signal handler or in a native thread, so they need nothing of a tree that
may hang: they take away the files that would mislead the manager, and call ``_exit``.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from ..async_ import native


class Guard:
    """Ends the process for sure.

    Args:
        clean: takes the instance's files away; must not block.
    """

    def __init__(self, clean: Callable[[], object]) -> None:
        self._clean = clean
        self._deadline = float("inf")

    def arm(self, seconds: float, status: int, message: str) -> None:
        """End the process with `status` in so many seconds, unless it has ended by itself.

        The earliest end counts; may be called in a signal handler.
        """
        deadline = time.monotonic() + seconds
        if deadline < self._deadline:
            self._deadline = deadline
            native.start_thread(self._wait, seconds, status, message, name="ginkgo-guard")

    def _wait(self, seconds: float, status: int, message: str) -> None:
        native.sleep(seconds)
        self.end_now(status, message)

    def end_now(self, status: int, message: str) -> None:
        """End the process, with a line about it on stderr (in a daemon: in the log)."""
        try:
            os.write(2, f"{message}\n".encode())
        except OSError:
            pass  # stderr is closed: the exit status says it
        try:
            self._clean()
        except OSError:
            pass  # the lock goes with the process; what is left behind is known to be stale
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except (OSError, ValueError):
            pass  # a closed pipe is no reason to stay
        os._exit(status)


def leave(status: int) -> NoReturn:
    """End the process, when everything has stopped, without waiting for the interpreter's end.

    What a program may rely on is done: threads that are not daemons are waited for, the functions
    of `atexit` run, the standard streams are flushed. What is left out is the taking apart of every
    module, which takes 100 ms and finishes nothing.
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # its reader has gone, or it was closed: nobody will miss it
    os._exit(status)
