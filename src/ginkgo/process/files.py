"""Small files that others may have tampered with: opened so that nothing can go wrong.

A pidfile in a shared folder may be a symbolic link to somebody's data, a FIFO that blocks whoever
opens it, a directory, a hard link, a megabyte of noise. Every open here follows no link, waits for
nobody, truncates nothing, and looks at what it has got before it is used. The names are relative to
an open folder where there is one (openat(2)), so that a renamed folder changes nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection

from ..core.errors import CannotCreate, GinkgoError, PermissionDenied

_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class NotAFile(Exception):
    """What stands there is no regular file of its own; the text says what it is."""


def read_small(name: str, limit: int, *, dir_fd: int | None = None) -> bytes | None:
    """Read a small file without trusting it.

    Args:
        name: its path, or its name within the folder `dir_fd`.
        limit: the most bytes it may sensibly hold.

    Returns:
        The content; b"" where it is longer than that, for then it is not what it should be; None
        where there is no such file.

    Raises:
        NotAFile: it is a symbolic link, a FIFO, a folder, a device.
        PermissionError: this user may not read it.
    """
    fd = open_to_read(name, dir_fd=dir_fd)
    if fd is None:
        return None
    try:
        content = os.read(fd, limit + 1)
        return content if len(content) <= limit else b""
    finally:
        os.close(fd)


def open_to_read(name: str, *, dir_fd: int | None = None) -> int | None:
    """Open a file without trusting it; as `read_small`, which reads it as well."""
    try:
        fd = os.open(name, os.O_RDONLY | _SAFE, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _not_a_file(error) from error
    if kind := kind_of(os.fstat(fd)):
        os.close(fd)
        raise NotAFile(kind)
    return fd


def open_own(
    name: str, shown: str, owners: Collection[int], *, mode: int, dir_fd: int | None = None
) -> int:
    """Open a file of ours to read and to write, and make it where it is missing.

    Nothing is truncated: whether the file may be changed is known only later, by its lock.

    Args:
        name: its path, or its name within the folder `dir_fd`.
        shown: its whole path, for messages.
        owners: the users (uid) whom it may belong to.
        mode: its permissions where it is made, whatever the umask.

    Returns:
        The descriptor, not inherited by programs that are started.

    Raises:
        CannotCreate: it cannot be made, or something else stands in its place.
        PermissionDenied: it belongs to another user.
    """
    try:
        fd = _open_or_make(name, mode, dir_fd)
    except NotAFile as error:
        raise _in_the_way(shown, str(error)) from error
    except OSError as error:
        if error.errno == errno.EACCES:
            _refuse_foreign(name, shown, owners, dir_fd)
        raise cannot_create(shown, error) from error
    try:
        found = os.fstat(fd)
        kind = kind_of(found)
        if kind is not None:
            raise _in_the_way(shown, kind)
        if found.st_uid not in owners:
            raise foreign(shown, found.st_uid, owners)
        if found.st_nlink > 1:
            raise _in_the_way(shown, "a file with a second name (hard link)")
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(fd, mode)
    except BaseException:  # raised again: whatever it was, the file is not left open
        os.close(fd)
        raise
    return fd


def _open_or_make(name: str, mode: int, dir_fd: int | None) -> int:
    # O_CREAT comes only with O_EXCL: with fs.protected_regular not even root may open a file of
    # another user in a folder like /tmp with O_CREAT, and that is what the pidfile of a daemon
    # that becomes another user is.
    for _ in range(10):
        for create in (0, os.O_CREAT | os.O_EXCL):
            try:
                return os.open(name, os.O_RDWR | _SAFE | create, mode, dir_fd=dir_fd)
            except (FileNotFoundError, FileExistsError):
                continue  # not there yet; or another start has been faster
            except OSError as error:
                raise _not_a_file(error) from error
    raise FileExistsError(errno.EEXIST, "it comes and goes")


def replace_file(
    name: str, content: bytes, shown: str, dir_fd: int, owner: tuple[int, int]
) -> None:
    """Write a file of a private folder in one step: readers see the old one or the new one.

    There must be one writer only: the holder of the folder's lock.

    Args:
        name: its name within the folder `dir_fd`.
        content: all of it.
        shown: its whole path, for messages.
        owner: the uid and gid that it shall belong to.

    Raises:
        CannotCreate: there is no room, or no permission.
    """
    fresh = f".{name}.new"
    try:
        remove_file(fresh, dir_fd=dir_fd)  # left behind by a crash
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o600, dir_fd=dir_fd)
        try:
            give_to(fd, owner)
            write_all(fd, content)
        finally:
            os.close(fd)
        os.rename(fresh, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError as error:
        try:
            remove_file(fresh, dir_fd=dir_fd)
        except OSError:
            pass  # the first error tells why
        raise cannot_create(shown, error) from error


def overwrite(fd: int, content: bytes) -> None:
    """Make this the whole content of an open file; an empty one stands for "nobody"."""
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    write_all(fd, content)


def write_all(fd: int, content: bytes) -> None:
    """Write every byte: write(2) may take a part of them."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def remove_file(name: str, *, dir_fd: int | None = None) -> None:
    """Remove a file; it is no error that it is gone already."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        pass


def give_to(fd: int, owner: tuple[int, int]) -> None:
    """Let a file belong to this uid and gid, where it does not yet."""
    found = os.fstat(fd)
    if (found.st_uid, found.st_gid) != owner and os.geteuid() == 0:
        os.fchown(fd, *owner)


def kind_of(found: os.stat_result) -> str | None:
    """What something is that is no regular file, in words; None for a regular file."""
    mode = found.st_mode
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a symbolic link" if stat.S_ISLNK(mode) else "a device or a socket"


def cannot_create(path: str, error: OSError, hint: str | None = None) -> CannotCreate:
    """The error for something that the file system refused, with what a person needs to mend it."""
    folder = os.path.dirname(path)
    if hint is None and error.errno in (errno.EACCES, errno.EPERM):
        hint = f"uid {os.geteuid()} needs write and search permission (u+wx) on {folder}"
    reason = error.strerror or str(error)
    return CannotCreate(f"cannot create {path} as uid {os.geteuid()}: {reason}", hint=hint)


def foreign(path: str, uid: int, owners: Collection[int]) -> PermissionDenied:
    """The error for a file or folder that belongs to the wrong user."""
    wanted = " or ".join(f"uid {owner}" for owner in sorted(owners))
    return PermissionDenied(
        f"{path} belongs to uid {uid}, and not to {wanted}: it is not used",
        hint=f"make sure that nobody else runs this instance, then remove {path}",
    )


def _in_the_way(path: str, kind: str) -> GinkgoError:
    return CannotCreate(f"cannot use {path}: it is {kind}", hint="remove it, or name another place")


def _not_a_file(error: OSError) -> NotAFile:
    """Turn what open(2) says about things that are no files into words; raise the rest again."""
    if error.errno == errno.ELOOP:
        return NotAFile("a symbolic link")
    if error.errno == errno.EISDIR:
        return NotAFile("a folder")
    if error.errno in (errno.ENXIO, errno.ENODEV):
        return NotAFile("a device or a socket")
    raise error


def _refuse_foreign(name: str, shown: str, owners: Collection[int], dir_fd: int | None) -> None:
    """A file that may not be opened is refused for its owner rather than for the folder's mode."""
    try:
        found = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return  # not even to be looked at: the first error says enough
    if found.st_uid not in owners:
        raise foreign(shown, found.st_uid, owners)
