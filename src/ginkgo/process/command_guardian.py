"""Our side of the guardian: it is there as long as this process has commands.

What it does is told in :mod:`.command_guard`. There is one for the process, whatever the number of
trees, threads and commands; with the last command it ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from ..async_ import native
from ..core.errors import SystemFailure
from .command_popen import close, start

if TYPE_CHECKING:
    from ..core.backend import Backend

SCRIPT = Path(__file__).with_name("command_guard.py")
PATIENCE = 1.0  # seconds that it has for its end, which takes it a millisecond


class Guardian:
    """The one of this process, whether it runs or not."""

    def __init__(self) -> None:
        # A lock of the operating system: it is held for a moment, and never over a wait.
        self._lock = native.lock()
        self._forget()

    def _forget(self) -> None:
        self._process: Any = None
        self._pipe = -1
        self._groups: set[int] = set()
        self._users = 0
        self._number = 0
        self.mark = f"{os.urandom(12).hex()}."

    def after_fork(self) -> None:
        """In a child that was forked: the guardian is the parent's, and so are the commands."""
        close(self._pipe)
        self._lock = native.lock()
        self._forget()

    def hold(self) -> str:
        """Have it run, for one command more; call `let_go` when that is over.

        Returns:
            The mark of the command.

        Raises:
            SystemFailure: it cannot be started.
        """
        with self._lock:
            self._look_after()
            self._users += 1
            self._number += 1
            return f"{self.mark}{self._number}."

    def add(self, group: int) -> None:
        """A process group that has to end with us."""
        with self._lock:
            self._groups.add(group)
            self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """The group is no more, or was not ours."""
        with self._lock:
            self._groups.discard(group)
            self._tell(f"-{group}\n")

    async def let_go(self, backend: Backend) -> None:
        """One command less; with the last one the guardian ends, and is waited for."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            process, self._process = self._process, None
            self._close_pipe()
        if process is not None:
            await _ended(process, backend)

    def _tell(self, line: str) -> None:
        """Write a line; one that does not listen any more is replaced by another one."""
        if self._process is None:
            return
        try:
            os.write(self._pipe, line.encode())
        except BlockingIOError:
            pass  # somebody has stopped it: the mark in the environment has to be enough
        except BrokenPipeError:
            self._look_after()

    def _look_after(self) -> None:
        """Start it, or again where somebody has killed it."""
        if self._process is not None:
            if not _reap(self._process):
                return
            self._close_pipe()
            self._process = None
        reader, writer = os.pipe()
        command = [sys.executable, "-I", "-S", str(SCRIPT), str(os.getpid()), self.mark]
        try:
            self._process = start(command, sys.executable, {}, "/", (reader, -1, -1))
        except OSError as error:
            close(writer)
            raise SystemFailure(
                f"cannot start the guardian of the commands, {' '.join(command[:4])}: "
                f"{error.strerror}",
                hint="It is Python itself: the limit of processes or of open files is reached?",
            ) from error
        finally:
            close(reader)
        os.set_blocking(writer, False)
        self._pipe = writer
        for group in self._groups:
            self._tell(f"+{group}\n")

    def _close_pipe(self) -> None:
        close(self._pipe)
        self._pipe = -1


async def _ended(process: Any, backend: Backend) -> None:
    signal = backend.signal()
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:  # out of descriptors, or somebody else has reaped it
        _reap(process)
        return
    watch = backend.watch(pidfd, signal.set)
    try:
        if not await backend.wait(signal, PATIENCE):
            os.kill(process.pid, SIGKILL)
            await backend.wait(signal, PATIENCE)
    finally:
        watch.close()
        close(pidfd)
        _reap(process)


def _reap(process: Any) -> bool:
    """Whether it has ended. Popen is told so, and would complain else."""
    try:
        pid, status = native.original("os", "waitpid")(process.pid, os.WNOHANG)
    except ChildProcessError:
        pid, status = process.pid, 0
    if pid:
        process.returncode = os.waitstatus_to_exitcode(status)
    return bool(pid)


guardian = Guardian()
"""That of this process."""

os.register_at_fork(after_in_child=guardian.after_fork)
