"""The log file: what is written there arrives, whatever happens to the file and the disk.

    write(line) --> is the path still this file? --> write(2), in one piece
                          | no                            | refused (disk full)
                          v                               v
                    open it anew                    count it, and go on

logrotate moves the file away, or copies and truncates it; a tidy person deletes it; four workers
write it at the same time. O_APPEND settles the last two, and a look at the path before each line
(one stat) the others, so that no signal is needed. A full disk never stops the service: lines are
counted instead, and the first one that fits says how many are missing.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable

from ginkgo.async_ import native
from ginkgo.core.errors import GinkgoError
from ginkgo.core.repeats import Repeats
from ginkgo.logs import format
from ginkgo.logs.opening import make_folder, open_log_file

_COMPLAIN_EVERY = 60.0  # seconds


class LogFile:
    """A sink that appends to a file.

    Its descriptor keeps its number for good: a reopened file takes the place of the old one, so
    that whoever uses the number meanwhile finds one or the other, and never none.

    Args:
        path: of the file; made absolute now, because the process may change its folder later.
        owner: the uid that this process is going to have, if it still is root.
        clock: a monotonic clock in seconds, for complaints once a minute.

    Raises:
        PermissionDenied, CannotCreate: see `opening.open_log_file`.
    """

    def __init__(
        self,
        path: str,
        *,
        owner: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = os.path.abspath(path)
        self.lock = native.rlock()
        self.dropped = 0
        self.problem: str | None = None
        self._owner = owner
        self._captured: tuple[int, ...] = ()
        self._complaints = Repeats(_COMPLAIN_EVERY, clock)
        self._lost = 0  # lines since the last one that was written
        self._why: str | None = None  # they were lost
        self._torn = False  # the last line was written in part
        self._made = make_folder(self.path)
        self._fd = open_log_file(self.path, self._owners())
        self._identity = _identity(os.fstat(self._fd))

    def fileno(self) -> int:
        """Return the descriptor; it stays valid through every reopening, and -1 once closed."""
        return self._fd

    def write(self, data: bytes) -> None:
        """Append `data` by one write(2); a part of a line is finished or told apart by the next."""
        with self.lock:
            if self._fd < 0:
                self._write_late(data)
                return
            if self._look():
                self._put(data)
            else:
                self._count(self.problem)

    def flush(self, timeout: float) -> None:
        """Do nothing: every line has been given to the system."""

    def reopen(self) -> None:
        """Open the path anew, as after a rotation.

        Raises:
            PermissionDenied, CannotCreate: and the file that was open stays in use.
        """
        with self.lock:
            if self._fd >= 0:
                try:
                    self._swap()
                except GinkgoError as error:
                    self.problem = str(error)
                    self._complaints.due()  # the caller tells it: the next line need not
                    raise

    def truncate(self) -> None:
        """Empty the file (`filemode="w"`), unless it is a device."""
        if stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.ftruncate(self._fd, 0)

    def capture(self, *fds: int) -> None:
        """Make `fds` (1 and 2) descriptors of this file, now and after every reopening."""
        with self.lock:
            self._captured = fds
            self._lend()

    def give_to(self, uid: int, gid: int) -> None:
        """Let the file, and a folder made for it, belong to the user that the process becomes.

        Raises:
            OSError: this process may not do that.
        """
        with self.lock:
            self._owner = uid
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fchown(self._fd, uid, gid)
            if self._made is not None:  # else a rotated file could not be made anew
                os.chown(self._made, uid, gid, follow_symlinks=False)

    def close(self) -> None:
        """Close the file. Captured descriptors stay with it until they are captured elsewhere."""
        with self.lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
                self._captured = ()

    # Below here the lock is held.

    def _owners(self) -> set[int]:
        return {os.geteuid()} if self._owner is None else {os.geteuid(), self._owner}

    def _look(self) -> bool:
        """Follow the path if it is another file by now, or none; return whether one can write."""
        try:
            moved = _identity(os.lstat(self.path)) != self._identity
        except (FileNotFoundError, NotADirectoryError):
            moved = True
        except OSError:
            moved = False  # the folder cannot be searched (any more): nothing better is to be had
        if moved:
            try:
                self._swap()
            except GinkgoError as error:
                self._complain(str(error))
                return os.fstat(self._fd).st_nlink > 0  # what a deleted file gets, nobody can read
        return True

    def _swap(self) -> None:
        make_folder(self.path)
        fd = open_log_file(self.path, self._owners())
        self._identity = _identity(os.fstat(fd))
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._lend()
        self._torn = False
        self.problem = None

    def _lend(self) -> None:
        for fd in self._captured:
            os.dup2(self._fd, fd, inheritable=True)

    def _put(self, data: bytes) -> None:
        if self._lost:
            data = format.lost(self._lost, self._why, __file__) + data
        if self._torn:
            data = b"\n" + data
        try:
            written = os.write(self._fd, data)
            if written < len(data):  # the disk has become full, or a limit is reached, in the midst
                self._torn = True
                if os.write(self._fd, data[written:]) < len(data) - written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._count(error.strerror)
            self._complain(f"logfile {self.path}: {error.strerror}; log lines are being lost")
            return
        self._torn = False
        if self._lost:
            self._lost = 0
            self.problem = None

    def _count(self, why: str | None) -> None:
        self._why = why
        self._lost += 1
        self.dropped += 1

    def _complain(self, problem: str) -> None:
        """Say once a minute on stderr what cannot be said in the log."""
        self.problem = problem
        if self._complaints.due() is None or sys.stderr is None:
            return
        try:
            sys.stderr.write(f"ginkgo: {problem}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass  # stderr is full, gone or closed, too; `problem` and `dropped` still tell

    def _write_late(self, data: bytes) -> None:
        """Write a line that comes after the end: from another thread, or at interpreter exit."""
        try:
            fd = open_log_file(self.path, self._owners())
        except GinkgoError:
            self.dropped += 1
            return
        try:
            os.write(fd, data)
        except OSError:
            self.dropped += 1
        finally:
            os.close(fd)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
