"""The pidfile: a number in a file, for people, monitors and init scripts.

It is a hint and nothing more. Whether an instance runs is known from the lock in its runtime
folder; a pidfile that is left over, whatever it says, keeps no start away. The setting `pidfile`
puts it where somebody expects it, often a folder that others write to as well: so no link is
followed, no foreign file touched, and at the end only our own is removed.
"""

from __future__ import annotations

import os

from ..core.errors import TemporaryFailure
from .files import cannot_create, give_to, open_own, overwrite, remove_file
from .instances import find
from .pids import parse_pid

_LIMIT = 64
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Pidfile:
    """A pidfile that holds the number of this process.

    Args:
        path: where; made absolute here, so that a later `rundir` changes nothing.
        uid: the user that root is going to become: the file shall belong to that one.
        gid: that user's group.
        mode: its permissions. Outside of a runtime folder others may read it: that is what it is
            for, and a pid is no secret.

    Example::

        pidfile = Pidfile("/run/app.pid")
        pidfile.write()
        ...
        pidfile.remove()
    """

    def __init__(
        self,
        path: str,
        *,
        uid: int | None = None,
        gid: int | None = None,
        mode: int = 0o644,
    ) -> None:
        self.path = os.path.abspath(path)
        self._owner = (
            os.geteuid() if uid is None else uid,
            os.getegid() if gid is None else gid,
        )
        self._mode = mode
        self._fd: int | None = None
        self._folder: int | None = None
        self._pid = 0

    def write(self) -> None:
        """Write the pid of this process.

        Call it once the instance's lock is held: what the file said before is then out of date.

        Raises:
            TemporaryFailure: it is the pidfile of another instance that runs.
            CannotCreate: it cannot be made, or a link, a FIFO, a folder stands in its place.
            PermissionDenied: it belongs to another user.
        """
        folder, name = os.path.split(self.path)
        try:
            self._folder = os.open(folder, _FOLDER)
        except OSError as error:
            raise cannot_create(self.path, error) from error
        try:
            owners = {os.geteuid(), self._owner[0]}
            fd = open_own(name, self.path, owners, mode=self._mode, dir_fd=self._folder)
        except BaseException:  # raised again: whatever it was, nothing is left open
            self._close()
            raise
        self._fd = fd
        try:
            self._refuse_shared(fd)
            give_to(fd, self._owner)
            overwrite(fd, f"{os.getpid()}\n".encode("ascii"))
        except OSError as error:
            self._close()
            raise cannot_create(self.path, error) from error
        except BaseException:  # raised again: whatever it was, nothing is left locked
            self._close()
            raise
        self._pid = os.getpid()

    def remove(self) -> None:
        """Remove the file, if it is still the one that we wrote.

        Where the folder does not let us remove it (root made the file there, and we are root no
        longer), the file is left empty: nobody's.
        """
        fd, folder = self._fd, self._folder
        if fd is None or folder is None or self._pid != os.getpid():
            return
        name = os.path.basename(self.path)
        try:
            if self._is_ours(fd, name, folder):
                try:
                    remove_file(name, dir_fd=folder)
                except PermissionError:
                    os.ftruncate(fd, 0)
        finally:
            self._close()

    def _is_ours(self, fd: int, name: str, folder: int) -> bool:
        mine = os.fstat(fd)
        try:
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        same = (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
        return same and parse_pid(os.pread(fd, _LIMIT, 0)) == self._pid

    def _refuse_shared(self, fd: int) -> None:
        """Two instances with the same pidfile: the second would make the first unreachable."""
        former = parse_pid(os.pread(fd, _LIMIT, 0))
        if former is None or former == os.getpid():
            return
        found = find(pid=former)
        if found.running and found.record is not None and found.record.pidfile == self.path:
            raise TemporaryFailure(
                f"the pidfile {self.path} is in use by {found.record.name}, pid {former}",
                hint="give each instance a `pidfile` of its own",
            )

    def _close(self) -> None:
        for fd in (self._fd, self._folder):
            if fd is not None:
                os.close(fd)
        self._fd = self._folder = None
