"""Where an instance keeps its files: its name, and the folder that follows from it.

::

    target            app.conf.py (in /srv)           service.HelloWorld
    name              app-1f0c9a2b                    service.HelloWorld
    folder            the first of these that applies
                          $RUNTIME_DIRECTORY          systemd has made it for this one service
                          $XDG_RUNTIME_DIR/ginkgo/NAME
                          /run/ginkgo/NAME            for root
                          ~/.local/state/ginkgo/NAME

Never /tmp, where anybody can be first, and never the current directory, which differs from call to
call. The manager looks into all of them: a daemon that was started by cron, by systemd or over ssh
has not had the environment of the shell that asks for it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from ..core.errors import CannotCreate

RUN = "/run"
"""Where the system keeps what lasts until the next boot."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 80


def is_config_file(target: str) -> bool:
    """Whether a target names a config file, and not a class or a factory by its dotted name.

    By its looks alone, so that the answer stays the same once the file is gone.

    Example:
        >>> is_config_file("service.conf.py"), is_config_file("service.HelloWorld")
        (True, False)
    """
    return target.endswith(".py") or os.sep in target


def instance_name(target: str) -> str:
    """The name under which an instance of a target is found; a name for a folder.

    A config file goes by its real path, so that a symbolic link and another working directory
    lead to the same instance. Nothing of the application is imported or even opened.

    Args:
        target: as given on the command line.

    Example:
        >>> instance_name("service.HelloWorld")
        'service.HelloWorld'
    """
    if is_config_file(target):
        path = os.path.realpath(target)
        stem = os.path.basename(path).removesuffix(".py").removesuffix(".conf")
        return f"{_plain(stem) or 'config'}-{_digest(path)}"
    plain = _plain(target)
    return plain if plain == target else f"{plain or 'target'}-{_digest(target)}"


def runtime_folder(name: str) -> str:
    """Where a start of this instance puts its folder; nothing is created yet.

    Raises:
        CannotCreate: there is no place at all: no variable is set, and no home directory known.
    """
    for base in _bases(reading=False):
        return base if base == _of_systemd() else os.path.join(base, name)
    raise CannotCreate(
        f"there is no place for the runtime folder of {name}: uid {os.geteuid()} has no home "
        "directory, and neither RUNTIME_DIRECTORY nor XDG_RUNTIME_DIR names a folder of its own",
        hint="set XDG_RUNTIME_DIR to a folder that belongs to this user and to nobody else",
    )


def candidates(name: str) -> list[str]:
    """Every folder where an instance of this name may be; the one a start would use comes first.

    The folder that systemd made for one service does not carry the name: what is found there has
    to be asked for it.
    """
    own = _of_systemd()
    return [base if base == own else os.path.join(base, name) for base in _bases(reading=True)]


def all_folders() -> Iterator[str]:
    """Every folder that may be an instance's, each once."""
    seen: set[str] = set()
    for base in _bases(reading=True):
        for path in [base] if base == _of_systemd() else _folders_in(base):
            if path not in seen:
                seen.add(path)
                yield path
    yield from (path for path in systemd_folders() if path not in seen)


def systemd_folders() -> Iterator[str]:
    """The folders that RuntimeDirectory= has made for units, seen from outside of the units."""
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), RUN):
        if os.path.isabs(base):
            for path in _folders_in(base):
                if os.path.exists(os.path.join(path, "instance.json")):
                    yield path


def _bases(*, reading: bool) -> Iterator[str]:
    """The roots in order of preference; for reading, also those another start would have used."""
    root = os.geteuid() == 0
    if own := _of_systemd():
        yield own
    session = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(session) and _is_ours(session):
        yield os.path.join(session, "ginkgo")
    if root or reading:
        yield os.path.join(RUN, "ginkgo")
    if not root:
        home = os.path.expanduser("~")
        if os.path.isabs(home):
            yield os.path.join(home, ".local", "state", "ginkgo")


def _of_systemd() -> str:
    """The first folder of $RUNTIME_DIRECTORY, or "".

    Source: systemd.exec(5): several are separated by colons.
    """
    first = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return first if os.path.isabs(first) else ""


def _is_ours(path: str) -> bool:
    """Whether $XDG_RUNTIME_DIR is this user's own: after `su` or `sudo -E` it is another user's.

    Source: XDG Base Directory Specification, "MUST be owned by the user".
    """
    try:
        found = os.stat(path)
    except OSError:
        return False
    private = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and private


def _folders_in(base: str) -> list[str]:
    try:
        with os.scandir(base) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []  # none yet, or not for this user's eyes


def _plain(text: str) -> str:
    """Only what is harmless in a file name and in a terminal, and not too long for a socket."""
    return _UNSAFE.sub("_", text).lstrip(".-")[:_LONGEST]


def _digest(text: str) -> str:
    import hashlib  # brings OpenSSL along, and class targets need none

    return hashlib.sha256(os.fsencode(text)).hexdigest()[:8]
