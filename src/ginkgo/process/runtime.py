"""The runtime folder of an instance: one lock, and what the instance tells about itself.

::

    NAME/               0700, of the user who runs it
        logfile         where the log is: kept, so that it can be read after the end
        lock            held (flock) for as long as the instance lives: the truth
        pid             its pid: a hint for people and monitors (the setting `pidfile` moves it)
        instance.json   pid and start time, target, arguments, paths: what the manager needs
        control.sock    the control plane listens here

The kernel lets go of the lock when its process is gone, however that came about: a crash, a power
cut and a full disk leave nothing behind that could keep the next start away, and no leftover pid,
whatever it says, ever does. The lock file itself stays when the instance stops: to unlink it would
let two instances hold two files of the same name.

This module writes; `places` says where the folders are, and `instances` reads them. Their names
are offered here too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import stat
import time

from ..core.errors import CannotCreate, PermissionDenied, SystemFailure, TemporaryFailure
from .files import cannot_create, foreign, give_to, open_own, overwrite, remove_file, replace_file
from .instances import (
    CONTROL,
    LOCK,
    LOGFILE,
    PID,
    RECORD,
    Found,
    Record,
    elsewhere,
    find,
    inspect,
    instances,
)
from .pids import start_ticks
from .places import RUN, instance_name, is_config_file, runtime_folder

__all__ = [
    "CONTROL",
    "LOCK",
    "PID",
    "RECORD",
    "AlreadyRunning",
    "Found",
    "Record",
    "RuntimeFolder",
    "find",
    "inspect",
    "instance_name",
    "instances",
    "is_config_file",
    "runtime_folder",
]

_PATIENCE = 2.0  # seconds for a start that meets only readers, each of them there for microseconds


class AlreadyRunning(TemporaryFailure):
    """Another process has the lock of this instance.

    Args:
        name: the instance's name.
        found: what is known about the one that holds it: `found.pid` where it is told.
    """

    def __init__(self, name: str, found: Found) -> None:
        self.found = found
        record = found.record
        if found.running and record is not None:
            message = (
                f"{name} is already running: pid {found.pid} ({record.target}, started "
                f"{record.started_at} in {record.cwd})"
            )
        elif found.running:
            message = f"{name} is already running: pid {found.pid}"
        else:
            message = f"{name} cannot start: {found.reason}"
        hint = f"see `ginkgoctl -p {found.pid} status`" if found.running else "end that process"
        if found.folder == os.environ.get("RUNTIME_DIRECTORY") and record and record.name != name:
            hint = "RUNTIME_DIRECTORY is another instance's: unset it, or give each its own"
        super().__init__(message, hint=hint)

    @property
    def pid(self) -> int | None:
        """The process that runs it, where it is known."""
        return self.found.pid


class RuntimeFolder:
    """An instance's folder, open, and later locked.

    Everything in it is reached through the descriptor `fd`, so that it stays the same folder even
    where its path is renamed, or cannot be walked any more after privileges were dropped.

    Example::

        folder = RuntimeFolder.open(runtime_folder(name))
        folder.acquire(name)                     # AlreadyRunning, or ours until we end
        folder.publish(Record.of_this_process(name, target, argv))
        ...
        folder.release()
    """

    def __init__(self, path: str, fd: int, owner: tuple[int, int]) -> None:
        self.path = path
        self.fd = fd
        self.owner = owner
        """The uid and gid that the folder and its files shall belong to."""
        self._lock: int | None = None

    @classmethod
    def open(cls, path: str, *, uid: int | None = None, gid: int | None = None) -> RuntimeFolder:
        """Open the folder, and make it and its parents where they are missing.

        Args:
            path: from `runtime_folder`.
            uid: the user that root is going to become; None: it stays the one it is.
            gid: that user's group.

        Raises:
            CannotCreate: it cannot be made, or is no folder.
            PermissionDenied: it belongs to another user, or others may enter it.
        """
        path = os.path.abspath(path)
        me = os.geteuid()
        owner = (me if uid is None else uid, os.getegid() if gid is None else gid)
        parent, name = os.path.split(path)
        try:
            parent_fd = _open_parent(parent)
            try:
                made = _make(name, 0o700, parent_fd)
                fd = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent_fd)
            finally:
                os.close(parent_fd)
        except OSError as error:
            raise _no_folder(path, error) from error
        try:
            if made:
                os.fchmod(fd, 0o700)
            _check_private(path, os.fstat(fd), {me, owner[0]})
        except BaseException:  # raised again: whatever it was, the folder is not left open
            os.close(fd)
            raise
        return cls(path, fd, owner)

    def acquire(self, name: str) -> None:
        """Take the lock, and hold it until `release` or the end of the process.

        The folder passes to the user that root is going to become only now: as long as the lock
        is another's, so is the folder. A child that is forked gives up its copy of the lock.

        Args:
            name: the instance's name.

        Raises:
            AlreadyRunning: somebody else holds it, here or in another of the folders where an
                instance of this name may be.
            CannotCreate: something else stands in the place of the lock, or the disk is full.
            PermissionDenied: the lock belongs to another user.
        """
        fd = self._take_lock(name)
        try:
            give_to(self.fd, self.owner)
            give_to(fd, self.owner)
            ticks = start_ticks(os.getpid())
            told = f"{os.getpid()}" if ticks is None else f"{os.getpid()} {ticks}"
            overwrite(fd, told.encode("ascii") + b"\n")
            # Two starts that use two folders both look after they have locked: none is missed.
            other = elsewhere(name, self.path)
            if other is not None:
                os.ftruncate(fd, 0)
                raise AlreadyRunning(name, other)
        except OSError as error:
            os.close(fd)
            raise cannot_create(os.path.join(self.path, LOCK), error) from error
        except BaseException:  # raised again: whatever it was, the lock is not kept
            os.close(fd)
            raise
        self._lock = fd
        os.register_at_fork(after_in_child=self._forget)

    def publish(self, record: Record) -> None:
        """Write `instance.json`, in one step.

        Raises:
            CannotCreate: the disk is full, for example.
        """
        shown = os.path.join(self.path, RECORD)
        replace_file(RECORD, record.to_json(), shown, self.fd, self.owner)
        if record.logfile is not None:
            shown = os.path.join(self.path, LOGFILE)
            replace_file(LOGFILE, os.fsencode(record.logfile), shown, self.fd, self.owner)

    @property
    def locked(self) -> bool:
        """Whether this process holds the lock."""
        return self._lock is not None

    def release(self) -> None:
        """Remove the record and let go of the lock: from here on the next one may start.

        Does nothing where the lock is not held.
        """
        fd, self._lock = self._lock, None
        if fd is None:
            return
        try:
            remove_file(RECORD, dir_fd=self.fd)
            os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Release the lock and close the folder."""
        try:
            self.release()
        finally:
            fd, self.fd = self.fd, -1
            if fd >= 0:
                os.close(fd)

    def __enter__(self) -> RuntimeFolder:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _take_lock(self, name: str) -> int:
        shown = os.path.join(self.path, LOCK)
        deadline = time.monotonic() + _PATIENCE
        while True:
            owners = {os.geteuid(), self.owner[0]}
            fd = open_own(LOCK, shown, owners, mode=0o600, dir_fd=self.fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(shown, fd):
                    return fd
            except BlockingIOError:
                found = inspect(self.path)
                if found.state != "stopped" or time.monotonic() > deadline:
                    os.close(fd)
                    raise AlreadyRunning(name, found) from None
            except OSError as error:
                os.close(fd)
                raise _no_lock(shown, error) from error
            os.close(fd)
            if time.monotonic() > deadline:
                raise SystemFailure(f"{shown} is replaced again and again by somebody else")
            # Only another's look at the lock was in the way: next time at another moment.
            time.sleep(random.uniform(0.0005, 0.005))  # noqa: S311 - no secret

    def _forget(self) -> None:
        """In a forked child: close its copy, or it would keep the lock beyond our end."""
        fd, self._lock = self._lock, None
        if fd is not None:
            os.close(fd)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def _is_still(path: str, fd: int) -> bool:
    """Whether a path still leads to the file that was opened: it may have been replaced."""
    mine = os.fstat(fd)
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _open_parent(parent: str) -> int:
    """Open the folder above, made where it is missing, and see that nobody else rules in it."""
    # What lies under /run is root's, and walked by the users that daemons become.
    shared = parent == os.path.join(RUN, "ginkgo")
    missing = []
    base = parent
    while not os.path.isdir(base) and base != os.path.dirname(base):
        base, name = os.path.split(base)
        missing.append(name)
    fd = os.open(base, _FOLDER)
    try:
        for name in reversed(missing):
            made = _make(name, 0o700, fd)
            below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = below
            if made:
                os.fchmod(fd, 0o755 if shared else 0o700)
        _check_parent(parent, os.fstat(fd))
    except BaseException:  # raised again: whatever it was, the folder is not left open
        os.close(fd)
        raise
    return fd


def _make(name: str, mode: int, dir_fd: int) -> bool:
    """Make a folder; False where it was there already."""
    try:
        os.mkdir(name, mode, dir_fd=dir_fd)
    except FileExistsError:
        return False
    return True


def _check_private(path: str, found: os.stat_result, owners: set[int]) -> None:
    if found.st_uid not in owners:
        raise foreign(path, found.st_uid, owners)
    if stat.S_IMODE(found.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        hint = f"chmod 700 {path}"
        if path == os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
            hint = "set RuntimeDirectoryMode=0700 in the unit"
        raise PermissionDenied(
            f"the runtime folder {path} has mode {mode}: others than its owner may enter it",
            hint=hint,
        )


def _check_parent(path: str, found: os.stat_result) -> None:
    """Who may rename what lies in the folder above could put another one in its place."""
    if found.st_uid not in (0, os.geteuid()):
        raise foreign(path, found.st_uid, {0, os.geteuid()})
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o022 and not mode & stat.S_ISVTX:
        raise PermissionDenied(
            f"the folder {path} has mode {mode:04o}: others than its owner may replace what is "
            "in it",
            hint=f"chmod go-w {path}",
        )


def _no_folder(path: str, error: OSError) -> CannotCreate:
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        return CannotCreate(
            f"cannot use {path}: it is no folder, or a symbolic link", hint="remove it"
        )
    hint = (
        f"uid {os.geteuid()} needs a folder of its own, of mode 0700, there; "
        "XDG_RUNTIME_DIR can name another place"
    )
    return cannot_create(path, error, hint)


def _no_lock(path: str, error: OSError) -> SystemFailure:
    return SystemFailure(
        f"{path} cannot be locked: {error.strerror}",
        hint="the runtime folder has to be on a local file system that knows flock(2)",
    )
