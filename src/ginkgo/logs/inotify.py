"""inotify(7) through ctypes: the kernel tells when a file changes or appears.

Only that something happened is of interest here, not what: the events are read to be rid of them.
"""

from __future__ import annotations

import ctypes
import os

_IN_MODIFY = 0x002
_IN_ATTRIB = 0x004
_IN_MOVED_TO = 0x080
_IN_CREATE = 0x100
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800
_IN_ONLYDIR = 0x01000000

_FILE = _IN_MODIFY | _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
_FOLDER = _IN_CREATE | _IN_MOVED_TO | _IN_ONLYDIR


class Inotify:
    """An inotify instance.

    Raises:
        OSError: there is none to be had: not Linux, or the user's instances are used up.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            init = self._libc.inotify_init1
        except AttributeError:
            raise OSError("no inotify on this system") from None
        self.fd: int = init(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def watch_file(self, path: str) -> bool:
        """Watch a file for changes until it is deleted; return whether that can be done."""
        return self._add(path, _FILE)

    def watch_folder(self, path: str) -> bool:
        """Watch a folder for new names; to say it again is harmless."""
        return self._add(path, _FOLDER)

    def drain(self) -> None:
        """Read the events away, so that `fd` becomes readable only by the next one."""
        try:
            while os.read(self.fd, 65536):
                pass
        except BlockingIOError:
            pass  # that was all

    def close(self) -> None:
        """End all watches."""
        os.close(self.fd)

    def _add(self, path: str, mask: int) -> bool:
        result: int = self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask)
        return result >= 0
