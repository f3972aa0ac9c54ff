"""The control socket as a file: there from the first moment for its owner only, and ours to remove.

    control.sock.4711  bound under a name of its own, mode 0600 before it has a name at all
          │ rename
    control.sock       replaces a file that a dead instance left; never one that somebody answers on

Every path goes through `/proc/self/fd/N`, N being the open runtime folder: it fits in the 107
bytes of a sockaddr_un (unix(7)) however deep the folder is, and it is the folder that was checked,
whatever has been put in its place since.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Literal

from ginkgo.async_ import native
from ginkgo.core.errors import CannotCreate

BACKLOG = 64


class SocketFile:
    """The control socket's file in a runtime folder.

    Args:
        folder: path of the runtime folder, or a descriptor of it (which is not taken over).
        name: of the socket in it.

    Raises:
        CannotCreate: the folder cannot be opened.
    """

    def __init__(self, folder: int | str | os.PathLike[str], name: str = "control.sock") -> None:
        self.name = name
        try:
            if isinstance(folder, int):
                self.folder = os.dup(folder)
            else:
                self.folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as problem:
            raise CannotCreate(
                f"the control socket cannot be made in {folder}: {problem.strerror}",
                hint="the runtime folder has to exist and to belong to the user that runs this",
            ) from problem
        self._inode: tuple[int, int] | None = None

    @property
    def path(self) -> str:
        """A short path of the socket, valid in this process."""
        return self.in_folder(self.name)

    def in_folder(self, name: str) -> str:
        """Return a short path of a file in the folder, valid in this process."""
        return f"/proc/self/fd/{self.folder}/{name}"

    def create(self) -> socket.socket:
        """Make the socket and its file, and listen.

        Raises:
            CannotCreate: the folder is not writable, its file system is full, or another process
                answers on a socket of this name.
        """
        if self._answered():
            raise CannotCreate(
                f"another process answers on {self.readable}",
                hint="it does not hold this instance's lock: find it with `ss -xlp`",
            )
        listener = native.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        name = f"{self.name}.{os.getpid()}"
        try:
            os.fchmod(listener.fileno(), 0o600)  # before bind: the file never has another mode
            self._unlink(name)
            listener.bind(self.in_folder(name))
            # Listening before it has its name: whoever finds the file is answered.
            listener.listen(BACKLOG)
            found = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
            os.rename(name, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except OSError as problem:
            listener.close()
            self._unlink(name)
            raise CannotCreate(
                f"the control socket {self.readable} cannot be made: {problem.strerror}",
                hint=f"uid {os.geteuid()} needs write and search permission (u+wx) on its folder",
            ) from problem
        self._inode = (found.st_dev, found.st_ino)
        return listener

    def state(self) -> Literal["ours", "missing", "foreign"]:
        """Say what is under the socket's name now."""
        try:
            found = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return "missing"
        return "ours" if (found.st_dev, found.st_ino) == self._inode else "foreign"

    def remove(self) -> None:
        """Remove the file, if it is the one that was made here."""
        if self.state() == "ours":
            self._unlink(self.name)

    def disown(self) -> None:
        """Leave the file alone from now on, whoever's it is."""
        self._inode = None

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.folder)

    @property
    def readable(self) -> str:
        """The socket's path for people."""
        try:
            return os.path.join(os.readlink(f"/proc/self/fd/{self.folder}"), self.name)
        except OSError:
            return self.name

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self.folder)
        except FileNotFoundError:
            pass

    def _answered(self) -> bool:
        """Whether a process listens on what is under the socket's name now."""
        try:
            found = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISSOCK(found.st_mode):
            return False
        with native.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # Does not wait: a listener whose queue is full gives EAGAIN, and is there nevertheless.
            return probe.connect_ex(self.path) in (0, errno.EAGAIN)
