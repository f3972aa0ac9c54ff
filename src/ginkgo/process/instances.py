"""Which instances run: the reading side of the runtime folders, for the manager.

The lock is the truth, the pid in it a hint that is checked::

    nobody holds the lock                                       stopped  (stale: it had crashed)
    held, and its pid is the process that has the lock open     running
    held, and its pid is gone or is somebody else by now        held     (an orphan keeps it)
    this user may not look, or it is no folder of ours          unknown

Nothing here imports the application, changes a file, or sends a signal. ``ginkgoctl`` lives on
this module: keep it light.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from .files import NotAFile, open_to_read, read_small
from .pids import (
    PID_MAX,
    has_open,
    hold,
    name_of,
    open_links,
    parse_pid,
    running_pids,
    start_ticks,
    user_of,
)
from .places import all_folders, candidates, instance_name, systemd_folders

State = Literal["running", "held", "unknown", "stopped"]
"""What is known about an instance, the most telling first."""

LOCK = "lock"
RECORD = "instance.json"
LOGFILE = "logfile"
PID = "pid"
CONTROL = "control.sock"

_GRACE = 1.0  # seconds between taking the lock and writing the pid into it, with room to spare
_RECORD_LIMIT = 4 * 1024 * 1024  # the kernel's arguments alone may be 2 MiB
_HINT_LIMIT = 64
_PATH_LIMIT = 4096


class Record(NamedTuple):
    """What an instance tells about itself in `instance.json`."""

    name: str
    pid: int
    start_ticks: int | None
    """With the pid: which process that is, should the number come round again."""
    target: str
    cwd: str
    argv: tuple[str, ...]
    """How it was started, so that it can be started again; secrets are never in argv."""
    python: str
    logfile: str | None
    pidfile: str | None
    control: str | None
    """The path of the control socket."""
    started_at: str
    """RFC 3339, UTC."""

    @classmethod
    def of_this_process(
        cls,
        name: str,
        target: str,
        argv: tuple[str, ...],
        *,
        logfile: str | None = None,
        pidfile: str | None = None,
        control: str | None = None,
    ) -> Record:
        """The record of the running process, to be published once it holds its lock."""
        import sys

        return cls(
            name=name,
            pid=os.getpid(),
            start_ticks=start_ticks(os.getpid()),
            target=target,
            cwd=os.getcwd(),
            argv=argv,
            python=sys.executable,
            logfile=logfile,
            pidfile=pidfile,
            control=control,
            started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )

    def to_json(self) -> bytes:
        """The content of `instance.json`: one object, readable for people too."""
        return json.dumps(self._asdict(), indent=2).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Record | None:
        """Read it back; None where it is no such thing (unknown fields of later versions pass)."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return cls._from_data(data) if isinstance(data, dict) else None

    @classmethod
    def _from_data(cls, data: dict[str, Any]) -> Record | None:
        values: dict[str, Any] = {field: data.get(field) for field in cls._fields}
        texts = [values[field] for field in ("name", "target", "cwd", "python", "started_at")]
        options = [values[field] for field in ("logfile", "pidfile", "control")]
        ticks, argv = values["start_ticks"], values["argv"]
        sound = (
            type(values["pid"]) is int
            and values["pid"] > 0
            and (ticks is None or type(ticks) is int)
            and all(isinstance(text, str) for text in texts)
            and all(option is None or isinstance(option, str) for option in options)
            and isinstance(argv, list)
            and all(isinstance(argument, str) for argument in argv)
        )
        return cls(**{**values, "argv": tuple(argv)}) if sound else None


class Found(NamedTuple):
    """What was found out about an instance."""

    state: State
    pid: int | None = None
    """Its process: given only where it is running."""
    start_ticks: int | None = None
    """For `pids.hold`: signal it through that, and never another process."""
    record: Record | None = None
    """What it told about itself; also the last words of one that crashed."""
    folder: str | None = None
    owner: int | None = None
    """The uid whose folder it is. What lies there is that user's word: root must not take a program
    or its arguments from the record of anybody else."""
    stale: bool = False
    """Stopped, but not in order: a pid or a record was left behind."""
    reason: str = ""
    """Why it is held or unknown, for people."""

    @property
    def running(self) -> bool:
        """Whether there is a process to talk to."""
        return self.state == "running"


def find(target: str | None = None, *, pid: int | None = None, pidfile: str | None = None) -> Found:
    """Find an instance by its target, its pid, or its pidfile; exactly one of the three.

    Args:
        target: as given to ``ginkgo``.
        pid: the number of its process.
        pidfile: the path of a file with that number.

    Returns:
        What is known. A pid or a pidfile that means another program is never `running`.

    Raises:
        ValueError: not exactly one of them was given.

    Example:
        >>> find("service.NeverStarted").state
        'stopped'
    """
    if (target is None) + (pid is None) + (pidfile is None) != 2:
        raise ValueError("find() takes exactly one of target, pid and pidfile")
    if target is not None:
        return _by_name(instance_name(target))
    if pid is not None:
        return _by_pid(pid)
    assert pidfile is not None  # noqa: S101 - for the type checker: one of the three is given
    return _by_pidfile(pidfile)


def instances() -> list[Found]:
    """Every instance that this user can see and that is not stopped in order."""
    found = (inspect(folder) for folder in all_folders())
    return [one for one in found if one.state != "stopped" or one.stale]


def elsewhere(name: str, folder: str) -> Found | None:
    """The instance of this name that runs from another folder than this one, if there is one.

    A daemon that was started with another environment (cron, systemd, ssh) has its lock in another
    folder than the one that a start from here would use.
    """
    for found in _all_of(name, but=folder):
        if found.state in ("running", "held"):
            return found
    return None


def inspect(folder: str) -> Found:
    """Look at one runtime folder.

    Never waits for longer than a second, whatever stands there.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(folder, flags)
    except FileNotFoundError:
        return Found("stopped", folder=folder)
    except OSError as error:
        return Found("unknown", folder=folder, reason=f"{folder}: {error.strerror}")
    try:
        owner = os.fstat(fd).st_uid
        if os.geteuid() not in (0, owner) and owner != 0:
            return Found("unknown", folder=folder, reason=f"{folder} belongs to uid {owner}")
        return _look(folder, fd)._replace(owner=owner)
    except PermissionError as error:
        return Found("unknown", folder=folder, reason=f"{folder}: {error.strerror}")
    except NotAFile as error:
        return Found("unknown", folder=folder, reason=f"{folder} holds {error}, and no file")
    finally:
        os.close(fd)


def _look(folder: str, dir_fd: int) -> Found:
    fd = open_to_read(LOCK, dir_fd=dir_fd)
    if fd is None:
        record = _read_record(dir_fd)
        return Found("stopped", record=record, folder=folder, stale=record is not None)
    try:
        deadline = time.monotonic() + _GRACE
        while True:
            try:
                # Shared, and given back at once: a start that meets this looks for itself, and
                # tries again (see runtime.py). While it is held, what lies there is of the past.
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found = _judge(fd, folder)
            else:
                record = _read_record(dir_fd)
                stale = record is not None or os.fstat(fd).st_size > 0
                return Found("stopped", record=record, folder=folder, stale=stale)
            if found is not None:
                record = _read_record(dir_fd)
                if record is None or (record.pid, record.start_ticks) != found[1:3]:
                    record = None  # of a predecessor: the new one is not written yet
                return found._replace(record=record)
            if time.monotonic() > deadline:
                return Found("held", folder=folder, reason=_who_keeps(fd, folder))
            time.sleep(0.002)  # its holder may be about to write its pid over the last one's
    finally:
        os.close(fd)


def last_logfile(folder: str) -> str | None:
    """Where the last instance of a runtime folder logged; it is known after its end too."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = read_small(LOGFILE, _PATH_LIMIT, dir_fd=fd)
    except (NotAFile, PermissionError):
        return None
    finally:
        os.close(fd)
    return os.fsdecode(text) if text else None


def _read_record(dir_fd: int) -> Record | None:
    text = read_small(RECORD, _RECORD_LIMIT, dir_fd=dir_fd)
    return Record.from_json(text) if text else None


def _read_holder(fd: int) -> tuple[int | None, int | None]:
    """The "PID TICKS" of a lock."""
    words = os.pread(fd, _HINT_LIMIT, 0).split()
    pid = parse_pid(words[0]) if words else None
    ticks = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    return pid, ticks


def _judge(fd: int, folder: str) -> Found | None:
    """Decide whether the pid in a lock that is held is to be believed; None: it is not.

    The folder of a daemon that has dropped its privileges belongs to its user, who could write
    any pid into it and have root stop that process. So the process has to have the lock open; where
    that is not to be seen, it has to run as the user whose lock it is.
    """
    pid, ticks = _read_holder(fd)
    process = None if pid is None else hold(pid, ticks)
    if process is None:
        return None
    with process:
        lock = os.fstat(fd)
        proof = has_open(process.pid, lock, LOCK)
        if proof or (proof is None and user_of(process.pid) == lock.st_uid):
            return Found("running", process.pid, process.ticks, folder=folder)
    return None


def _who_keeps(fd: int, folder: str) -> str:
    """Who keeps the lock when it is not its instance: a child that outlived it, for example."""
    lock = os.fstat(fd)
    keepers = [
        f"pid {pid} ({name_of(pid)})"
        for pid in running_pids()
        if pid != os.getpid() and has_open(pid, lock, LOCK)
    ]
    by = ", ".join(keepers) or "a process that cannot be seen from here"
    pid, _ = _read_holder(fd)
    past = f", although its instance, pid {pid}, is gone" if pid is not None else ""
    return f"the lock in {folder} is held by {by}{past}"


def _all_of(name: str, *, but: str | None = None) -> Iterator[Found]:
    """What each folder says that may be this instance's, but for one of them."""
    seen = set() if but is None else {os.path.realpath(but)}
    usual = candidates(name)
    for folder in [*usual, *systemd_folders()]:
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        found = inspect(folder)
        # The folders of systemd do not carry the name: there the record has to.
        if found.record.name == name if found.record else folder in usual:
            yield found


def _by_name(name: str) -> Found:
    return _best(list(_all_of(name)))


def _best(candidates: list[Found]) -> Found:
    """The one that tells most: running before held, held before unknown."""
    order = ("running", "held", "unknown")
    for state in order:
        for found in candidates:
            if found.state == state:
                return found
    left = [found for found in candidates if found.stale]
    return (left or candidates or [Found("stopped")])[0]


def _by_pid(pid: int) -> Found:
    if not 0 < pid <= PID_MAX:
        return Found("stopped", reason=f"{pid} is not the number of a process")
    process = hold(pid)
    if process is None:
        return Found("stopped", reason=f"there is no process {pid}")
    with process:
        own = _folders_of(pid)
        for folder in all_folders() if own is None else own:
            found = inspect(folder)
            if found.running and found.pid == pid:
                return found
    reason = f"pid {pid} ({name_of(pid) or '?'}) is not known to be an instance"
    return Found("unknown" if own is None else "stopped", reason=reason)


def _folders_of(pid: int) -> list[str] | None:
    """The folders whose lock a process has open, wherever its own environment has put them.

    None where this user may not look.
    """
    try:
        links = [link for _, link in open_links(pid)]
    except PermissionError:
        return None
    except OSError:
        return []  # it has gone meanwhile
    return [os.path.dirname(link) for link in links if os.path.basename(link) == LOCK]


def _by_pidfile(path: str) -> Found:
    path = os.path.abspath(path)
    try:
        text = read_small(path, _HINT_LIMIT)
    except NotAFile as error:
        return Found("unknown", reason=f"{path} is {error}, and no pidfile")
    except OSError as error:
        return Found("unknown", reason=f"{path}: {error.strerror}")
    if text is None:
        return Found("stopped", reason=f"there is no pidfile {path}")
    folder = os.path.dirname(path)
    if os.path.basename(path) == PID and os.path.lexists(os.path.join(folder, LOCK)):
        return inspect(folder)  # the lock beside it says more than the number in it
    pid = parse_pid(text)
    if pid is None:
        return Found("stopped", stale=True, reason=f"{path} holds no pid")
    found = _by_pid(pid)
    if found.state == "stopped":
        return found._replace(stale=True)
    return found
