"""Processes by their number, without mistaking one for another.

A pid is a hint: once its process has ended, the kernel gives the number to the next one. So a
process is known here by its pid *and* the moment it started, and it is signalled through a pidfd, a
descriptor that stays with that one process and can be waited for although it is not our child::

    hold(pid, ticks) --> ProcessHandle --> send(SIGTERM) --> wait_gone(10.0)
         |
         +--> None: it is gone, or the number belongs to somebody else by now

Where the kernel has no pidfds (before Linux 5.3, some sandboxes), the start time is compared before
each signal and while waiting instead. ``ginkgoctl`` imports this module: keep it light.
"""

from __future__ import annotations

import errno
import math
import os
import select
import signal
import time
from collections.abc import Iterator

PID_MAX = 2**31 - 1
"""The largest number that fits the kernel's pid_t; more digits than that are no pid."""


def parse_pid(text: bytes) -> int | None:
    """Read a pid from the content of a file.

    Strict on purpose: 0 and negative numbers mean whole process groups to kill(2), so nothing
    but plain digits counts, and nothing below 1.

    Returns:
        The pid, or None where the text is anything else.

    Example:
        >>> parse_pid(b"4711\\n"), parse_pid(b"-1"), parse_pid(b"")
        (4711, None, None)
    """
    digits = text.strip()
    if not digits.isdigit() or len(digits) > 10:
        return None
    pid = int(digits)
    return pid if 0 < pid <= PID_MAX else None


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None where it is gone or not to be seen.

    Source: proc_pid_stat(5), field 22.
    """
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def state_letter(pid: int) -> str | None:
    """The kernel's state of a process: R, S, D, T (stopped), t (traced), Z (zombie), ...; or None.

    Source: proc_pid_stat(5), field 3.
    """
    fields = _stat_fields(pid)
    return fields[0].decode("ascii") if fields else None


def name_of(pid: int) -> str | None:
    """The short name of a process (at most 15 characters), or None where it is not to be seen."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().decode("utf-8", "backslashreplace").rstrip("\n")
    except OSError:
        return None


def user_of(pid: int) -> int | None:
    """The real uid of a process, or None where it is not to be seen.

    From /proc/PID/status: the owner of /proc/PID itself is root where a process has changed its
    user (proc(5), "dumpable").
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"Uid:"):
                    return int(line.split()[1])
    except OSError:
        pass  # gone, or hidden
    return None


def running_pids() -> Iterator[int]:
    """The pids in /proc, in rising order."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return
    yield from sorted(int(name) for name in names if name.isdigit())


def open_links(pid: int) -> Iterator[tuple[str, str]]:
    """What a process has open, as pairs of (/proc path of the descriptor, what it leads to).

    Raises:
        OSError: it is gone, or this user may not look (PermissionError).
    """
    folder = f"/proc/{pid}/fd"
    for number in os.listdir(folder):
        path = f"{folder}/{number}"
        try:
            yield path, os.readlink(path)
        except FileNotFoundError:
            continue  # closed since it was listed


def has_open(pid: int, file: os.stat_result, name: str) -> bool | None:
    """Tell whether a process has a file open.

    Args:
        pid: the process.
        file: the file's stat: device and inode are compared.
        name: the file's own name: spares a stat of everything that is called otherwise.

    Returns:
        True or False; None where this user may not look.
    """
    try:
        for path, link in open_links(pid):
            if not link.removesuffix(" (deleted)").endswith("/" + name):
                continue
            try:
                found = os.stat(path)
            except FileNotFoundError:
                continue  # closed meanwhile
            if (found.st_dev, found.st_ino) == (file.st_dev, file.st_ino):
                return True
    except PermissionError:
        return None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return False
        raise
    return False


def hold(pid: int, ticks: int | None = None) -> ProcessHandle | None:
    """Take hold of a process, so that its number cannot come to mean another one.

    Args:
        pid: the process's number, 1 or more.
        ticks: when it started (`start_ticks`), as whoever noted the pid saw it.

    Returns:
        A handle to close after use, or None where that process is gone or the number has passed
        to another one.

    Raises:
        ValueError: for 0 and below: to kill(2) they mean groups of processes.

    Example:
        >>> with hold(os.getpid()) as me:
        ...     me.gone()
        False
    """
    if pid <= 0:
        raise ValueError(f"{pid} is not the number of a process")
    try:
        fd: int | None = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.ENOENT, errno.EINVAL):
            return None  # EINVAL and ENOENT: the number of a thread, not of a process
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
        fd = None  # an old kernel, or a sandbox that forbids the call
    except AttributeError:
        fd = None  # a Python built on a system without the call
    handle = ProcessHandle(pid, fd, ticks)
    # Compared only now: while the descriptor is open, the number cannot be given away.
    if handle.is_same() and not handle.gone():
        return handle
    handle.close()
    return None


class ProcessHandle:
    """A process that is held; made by `hold`."""

    def __init__(self, pid: int, fd: int | None, ticks: int | None) -> None:
        self.pid = pid
        self.fd = fd
        self.ticks = start_ticks(pid) if ticks is None else ticks

    def is_same(self) -> bool:
        """Whether the pid still belongs to the process that started at `ticks`."""
        now = start_ticks(self.pid)
        if now is None:  # gone, or a system without /proc, where there is nothing to compare
            return not os.path.exists("/proc/self/stat") and _accepts_signals(self.pid)
        return now == self.ticks

    def send(self, number: int) -> bool:
        """Send it a signal.

        Returns:
            False where it is gone.

        Raises:
            PermissionError: it belongs to another user.
        """
        try:
            if self.fd is not None:
                signal.pidfd_send_signal(self.fd, number)
            elif not self.is_same():
                return False
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def gone(self) -> bool:
        """Whether it has ended; a zombie that its parent has not buried counts as ended."""
        return self.wait_gone(0)

    def wait_gone(self, timeout: float | None = None) -> bool:
        """Wait until it has ended.

        Args:
            timeout: seconds, or None for as long as it takes.

        Returns:
            False where it still lives after that time.
        """
        if self.fd is not None:
            return wait_gone(self.fd, timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while self.is_same() and state_letter(self.pid) != "Z":
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                pause = min(pause, left)
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        return True

    def close(self) -> None:
        """Let go of it; it runs on."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def __enter__(self) -> ProcessHandle:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def wait_gone(pidfd: int, timeout: float | None = None) -> bool:
    """Wait until the process behind a pidfd has ended, our child or not.

    Args:
        pidfd: from pidfd_open(2).
        timeout: seconds, or None for as long as it takes.

    Returns:
        False where it still lives after that time.
    """
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else math.ceil(timeout * 1000)))


def _stat_fields(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third on; the second may hold spaces and brackets."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError, NotADirectoryError):
        return None


def _accepts_signals(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, and alive
    return True
