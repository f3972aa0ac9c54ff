"""Opening a log file where others may have been before.

The default log file is in /tmp, where everybody may put anything under any name: a symbolic link or
a hard link to a file that is ours and not theirs (then we would append to it), a file of their own
(then they read our log), a FIFO (then open() waits for ever). So a path is opened in a folder that
is held open meanwhile, nothing is followed, nothing is waited for, nothing is truncated, and what
came out is looked at before a byte is written.

In a folder that nobody but its owner (us, or root) can write, only the kind of file is checked:
whoever put it there had the right to.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ginkgo.core.errors import CannotCreate, GinkgoError, PermissionDenied

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MODE = 0o640
_FOLDER_MODE = 0o700

_ELSEWHERE = "Set logfile to a path in a folder that only this user can write"


def open_log_file(path: str, owners: Collection[int]) -> int:
    """Open a log file for appending, creating it (0640) if need be.

    Args:
        path: absolute.
        owners: the uids that the file may belong to where others can write its folder.

    Returns:
        A descriptor above 2 that is not inherited.

    Raises:
        PermissionDenied: this user may not write there, or what is there is a link, a FIFO, or
            somebody else's.
        CannotCreate: the folder is missing, the disk is full, and the like.

    Source: open(2); CVE-2025-68146 for what a planted link does to a file opened without
    O_NOFOLLOW.
    """
    folder, name = os.path.split(path)
    try:
        with (
            _closing(os.open(folder, _FOLDER_FLAGS)) as folder_fd,
            _closing(_open_or_create(name, folder_fd)) as fd,
        ):
            _check(path, os.fstat(fd), os.fstat(folder_fd), owners)
            os.set_blocking(fd, True)  # O_NONBLOCK was for the open only
            # 0, 1 and 2 are the standard streams', also where a process was started without.
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError as error:
        raise _refusal(path, error) from error


def check_log_file(path: str, owners: Collection[int] | None) -> None:
    """Raise what opening a log file would, and open, make or change none.

    Args:
        path: absolute; its folder may be missing where `make_folder` would make it.
        owners: as for `open_log_file`; None for a file that the standard library opens, which
            asks nobody whose it is.

    Raises:
        PermissionDenied, CannotCreate: as `open_log_file`.
    """
    folder, name = os.path.split(path)
    if not os.path.lexists(folder) and owners is not None:
        folder, name = os.path.split(folder)
    try:
        with _closing(os.open(folder, _FOLDER_FLAGS)) as folder_fd:
            if not os.access(name, os.F_OK, dir_fd=folder_fd, follow_symlinks=False):
                _check_may_write(folder_fd)
            elif owners is None:
                if not os.access(path, os.W_OK, effective_ids=True):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            else:
                with _closing(os.open(name, _FLAGS, dir_fd=folder_fd)) as fd:
                    _check(path, os.fstat(fd), os.fstat(folder_fd), owners)
    except OSError as error:
        raise _refusal(path, error) from error


@contextmanager
def _closing(fd: int) -> Iterator[int]:
    """Close a descriptor at the end."""
    try:
        yield fd
    finally:
        os.close(fd)


def _check_may_write(folder_fd: int) -> None:
    if not os.access(f"/proc/self/fd/{folder_fd}", os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def make_folder(path: str) -> str | None:
    """Make the folder of a log file, 0700, if it is missing and the one above it is not.

    Args:
        path: of the log file, absolute.

    Returns:
        The folder if it was made.

    Raises:
        PermissionDenied, CannotCreate: it cannot be made.
    """
    folder = os.path.dirname(path)
    if os.path.isdir(folder):
        return None
    try:
        os.mkdir(folder, _FOLDER_MODE)
    except FileExistsError:
        return None  # another process of the service was faster; or it is no folder: open says so
    except OSError as error:
        raise _refusal(path, error) from error
    return folder


def _open_or_create(name: str, folder_fd: int) -> int:
    # O_CREAT comes alone and only with O_EXCL: with fs.protected_regular, even root may not open
    # another user's file in /tmp with O_CREAT, which is what the log of a service with `user` is.
    for _ in range(10):
        try:
            return os.open(name, _FLAGS, dir_fd=folder_fd)
        except FileNotFoundError:
            pass
        try:
            return os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=folder_fd)
        except FileExistsError:
            pass  # another process of the service was faster, or somebody plays
    raise FileExistsError(errno.EEXIST, "it keeps appearing and disappearing")


def _check(
    path: str, file: os.stat_result, folder: os.stat_result, owners: Collection[int]
) -> None:
    if stat.S_ISCHR(file.st_mode):  # /dev/null, a console: only root makes devices
        return
    if not stat.S_ISREG(file.st_mode):
        raise PermissionDenied(
            f"logfile {path}: it is not a regular file", hint="Remove it, or choose another path."
        )
    if _is_private(folder):
        return
    if file.st_uid not in owners:
        raise PermissionDenied(
            f"logfile {path}: it belongs to {_user(file.st_uid)}, "
            "in a folder that others can write",
            hint=f"{_ELSEWHERE}, or have the file removed if it is a left-over.",
        )
    if file.st_nlink > 1:
        raise PermissionDenied(
            f"logfile {path}: it is a hard link, in a folder that others can write",
            hint=f"{_ELSEWHERE}, or remove the file.",
        )


def _is_private(folder: os.stat_result) -> bool:
    """Whether only this user and root can put files into the folder."""
    others_can_write = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return folder.st_uid in (0, os.geteuid()) and not others_can_write


def _refusal(path: str, error: OSError) -> GinkgoError:
    if error.errno == errno.ELOOP:
        return PermissionDenied(
            f"logfile {path}: it is a symbolic link, and those are not followed",
            hint=f"Remove it if you did not make it. Else set logfile to {os.path.realpath(path)}.",
        )
    if error.errno == errno.ENXIO:  # what O_NONBLOCK makes of a FIFO without a reader; a socket
        return PermissionDenied(
            f"logfile {path}: it is not a regular file", hint="Remove it, or choose another path."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        if not os.path.lexists(path):
            return PermissionDenied(
                f"logfile {path}: {_user(os.geteuid())} may not make a file in {_nearest(path)}",
                hint="Let that user write to the folder, or set logfile to a path in one of its "
                "own: a log that is rotated has to be made anew.",
            )
        return PermissionDenied(
            f"logfile {path}: {_user(os.geteuid())} may not write it",
            hint="Let that user write the file and its folder, or set logfile to another path.",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return CannotCreate(
            f"logfile {path}: there is no folder {os.path.dirname(path)}",
            hint="Make it, or set logfile to another path.",
        )
    return CannotCreate(f"logfile {path}: {error.strerror}", hint="Set logfile to another path.")


def _nearest(path: str) -> str:
    """Return the lowest folder above `path` that is there and can be seen."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    return folder


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"
