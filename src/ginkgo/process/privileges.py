"""From root to somebody who may do less, without a way back.

::

    find_identity(user, group)    before anything is started: a typing error costs nothing
    ... open what only root may: listeners below 1024, the log, the runtime folder ...
    drop(identity)                initgroups, setresgid, setresuid; then root is asked for again,
                                  in five ways, and every one has to be refused
    apply_rundir, apply_umask     as the user, who may see less

The order is the security: supplementary groups can be set by root only, so they come first; with
the user given up too early, root's groups would stay (as they did in Ginkgo 0.6).

Source: setresuid(2), credentials(7); Chen, Wagner, Dean, "Setuid Demystified" (2002).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import NamedTuple, NoReturn, Protocol

from ..core.errors import ConfigError, NoSuchUser, PermissionDenied, SystemFailure

DEFAULT_UMASK = 0o027
"""Others get nothing, the group may read: what an application's files start with."""

_PR_SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>
_ID_LIMIT = 2**32 - 1  # (uid_t) -1 means "leave it as it is" to setresuid(2)


class Identity(NamedTuple):
    """Whom a process is going to become."""

    user: str
    """The name, or the number where the user database has none."""
    uid: int
    gid: int
    groups: tuple[int, ...]
    """All groups, the first one included."""


class System(Protocol):
    """The part of `os` that `drop` calls; a test hands in a recorder."""

    def initgroups(self, username: str, gid: int, /) -> None: ...
    def setgroups(self, groups: list[int], /) -> None: ...
    def setresgid(self, rgid: int, egid: int, sgid: int, /) -> None: ...
    def setresuid(self, ruid: int, euid: int, suid: int, /) -> None: ...
    def setgid(self, gid: int, /) -> None: ...
    def setuid(self, uid: int, /) -> None: ...
    def seteuid(self, euid: int, /) -> None: ...
    def getresgid(self) -> tuple[int, int, int]: ...
    def getresuid(self) -> tuple[int, int, int]: ...
    def getgroups(self) -> list[int]: ...
    def _exit(self, status: int) -> NoReturn: ...


def find_identity(user: str | int | None, group: str | int | None) -> Identity | None:
    """Look up whom to become; call it before any work is done.

    Args:
        user: a name or a uid; None: the user stays.
        group: a name or a gid; None: the user's own group.

    Returns:
        None where nothing is to change: neither is set, or this process is that user already.

    Raises:
        NoSuchUser: one of them does not exist, or a uid has no group and none is set.
        PermissionDenied: another user is asked for, and this process is not root's.
    """
    if user is None and group is None:
        return None
    name, uid, own_gid = _find_user(os.geteuid() if user is None else user)
    gid = own_gid if group is None else _find_group(group)
    if gid is None:
        raise NoSuchUser(
            f"uid {uid} is not in the user database, so its group is not known",
            hint="set `group` as well",
        )
    if os.geteuid() != 0:
        _refuse_change(name, uid, gid, group)
        return None
    groups = [gid] if own_gid is None else os.getgrouplist(name, gid)
    return Identity(name, uid, gid, tuple(groups))


def drop(identity: Identity, system: System = os) -> None:
    """Become another user for good, and prove it.

    Call it in the main thread, before threads of our own are started: the kernel's
    `no_new_privs` belongs to the thread that asks for it and to those that it starts.

    Args:
        identity: from `find_identity`.
        system: where the system calls are; `os` but for tests.

    Raises:
        PermissionDenied: the kernel refuses, for want of CAP_SETUID or CAP_SETGID.

    A process that could become root again does not go on: it says so on its standard error and
    ends with status 77.
    """
    prctl = _load_prctl()  # an import needs files, which the new user may not be able to read
    uid, gid = identity.uid, identity.gid
    try:
        if identity.user == str(uid):
            system.setgroups(list(identity.groups))
        else:
            system.initgroups(identity.user, gid)
        system.setresgid(gid, gid, gid)
        system.setresuid(uid, uid, uid)
    except PermissionError as error:
        raise PermissionDenied(
            f"cannot become {identity.user} (uid {uid}, gid {gid}): {error.strerror}",
            hint="start as root, with the capabilities CAP_SETUID and CAP_SETGID",
        ) from error
    if uid != 0:  # only the group was to change: root is root
        _prove(identity, system)
        prctl(_PR_SET_NO_NEW_PRIVS, 1)


def apply_umask(umask: int | str | None) -> int:
    """Set the permissions that new files do not get.

    Args:
        umask: a number (`0o027`) or octal digits as text ("027"). None: `DEFAULT_UMASK`, on top of
            whatever stricter mask was inherited.

    Returns:
        The mask that is in force now.

    Raises:
        ConfigError: it is no mask.
    """
    if umask is None:
        inherited = os.umask(0o077)
        mask = inherited | DEFAULT_UMASK
    else:
        mask = read_umask(umask)
    os.umask(mask)
    return mask


def apply_rundir(path: str | None) -> None:
    """Change to the folder of the setting `rundir`; None: stay.

    Call it after `drop`: what root may enter, the user perhaps may not.

    Raises:
        ConfigError: there is no such folder.
        PermissionDenied: this user may not enter it.
    """
    _enter(path, os.chdir)


def check_rundir(path: str | None) -> None:
    """Raise what `apply_rundir` would, and stay.

    As root it is not seen here what another user may not enter.
    """

    def look(path: str) -> None:
        os.close(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        if not os.access(path, os.X_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    _enter(path, look)


def _enter(path: str | None, enter: Callable[[str], None]) -> None:
    if path is None:
        return
    try:
        enter(path)
    except PermissionError as error:
        raise PermissionDenied(
            f"cannot change to rundir {path} as uid {os.geteuid()}: {error.strerror}",
            hint="give that user search permission (x) on it and on the folders above",
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"cannot change to rundir {path}: {reason}",
            hint="make the folder, or change the setting `rundir`",
        ) from error


def _find_user(user: str | int) -> tuple[str, int, int | None]:
    """The name, uid and gid of a user given by name or number."""
    import pwd

    number = _number(user)
    try:
        entry = pwd.getpwnam(str(user))  # a name that looks like a number is still a name
    except (KeyError, ValueError):
        if number is None:
            raise NoSuchUser(
                f"there is no user {str(user)!r}", hint="check the setting `user`"
            ) from None
        try:
            entry = pwd.getpwuid(number)
        except KeyError:
            return str(number), number, None
    return entry.pw_name, entry.pw_uid, entry.pw_gid


def _find_group(group: str | int) -> int:
    import grp

    try:
        return grp.getgrnam(str(group)).gr_gid
    except (KeyError, ValueError):
        number = _number(group)
        if number is None:
            raise NoSuchUser(
                f"there is no group {str(group)!r}", hint="check the setting `group`"
            ) from None
        return number


def _number(name: str | int) -> int | None:
    """The id that a number or digits stand for; never -1, which the kernel takes for "as it is"."""
    text = str(name)
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    number = int(text)
    return number if number < _ID_LIMIT else None


def _refuse_change(name: str, uid: int, gid: int, group: str | int | None) -> None:
    """For a process that is not root's: nothing to change, or an error."""
    if uid != os.geteuid():
        raise PermissionDenied(
            f"cannot become {name} (uid {uid}): this process is not root's, but uid {os.geteuid()}",
            hint="start as root or as that user, or drop the setting `user`",
        )
    if group is not None and gid != os.getegid():
        raise PermissionDenied(
            f"cannot change to group {group} (gid {gid}) as uid {uid}: only root may",
            hint="start as root, or drop the setting `group`",
        )


def _prove(identity: Identity, system: System) -> None:
    uid, gid = identity.uid, identity.gid
    if system.getresuid() != (uid, uid, uid) or system.getresgid() != (gid, gid, gid):
        _abort(system, f"the ids of {identity.user} are not in force")
    if set(system.getgroups()) != set(identity.groups):
        _abort(system, f"the groups are not those of {identity.user}")
    attempts: list[tuple[str, Callable[[], None]]] = [
        ("setuid(0)", lambda: system.setuid(0)),
        ("seteuid(0)", lambda: system.seteuid(0)),
        ("setresuid(0, 0, 0)", lambda: system.setresuid(0, 0, 0)),
        ("setgid(0)", lambda: system.setgid(0)),
        ("setgroups([0])", lambda: system.setgroups([0])),
    ]
    if gid == 0:
        del attempts[3]  # the user's own group is root's: nothing to regain there
    for call, attempt in attempts:
        try:
            attempt()
        except PermissionError:
            continue
        _abort(system, f"{call} was not refused")


def _abort(system: System, why: str) -> NoReturn:
    """End at once: no cleaning up runs with privileges that nobody meant it to have."""
    os.write(2, f"ginkgo: the privileges were not dropped: {why}; the process ends\n".encode())
    system._exit(os.EX_NOPERM)


def read_umask(umask: int | str) -> int:
    """Return a file mode mask as a number; see `apply_umask`.

    Raises:
        ConfigError: it is no mask.
    """
    try:
        mask = int(umask, 8) if isinstance(umask, str) else umask
    except ValueError:
        mask = -1
    if isinstance(umask, bool) or not 0 <= mask <= 0o777:
        raise ConfigError(
            f"the umask {umask!r} is not a file mode mask",
            hint='write it in octal: umask = 0o027, or umask = "027"',
        )
    return mask


def _load_prctl() -> Callable[[int, int], None]:
    """prctl(2), which the standard library does not offer."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, value: int) -> None:
        zero = ctypes.c_ulong(0)
        if libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
            number = ctypes.get_errno()
            if number != errno.EINVAL:  # a kernel before 3.5 does not know the option
                raise SystemFailure(f"prctl({option}, {value}): {os.strerror(number)}")

    return prctl
