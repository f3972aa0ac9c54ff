"""Being told by the kernel that a file is gone from a folder: nobody has to keep looking."""

from __future__ import annotations

import ctypes
import os

from ginkgo.logs.inotify import Inotify

IN_MOVED_FROM = 0x00000040
IN_DELETE = 0x00000200
IN_DELETE_SELF = 0x00000400
IN_MOVE_SELF = 0x00000800
IN_ONLYDIR = 0x01000000

REMOVALS = IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR


class RemovalWatch(Inotify):
    """Becomes readable when a name disappears from a folder, or the folder itself does.

    Args:
        path: the folder; a path of `/proc/self/fd` will do.

    Raises:
        OSError: the user's inotify instances or watches are used up, or there is no inotify.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        if not self._add(path, REMOVALS):
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, os.strerror(number), path)
