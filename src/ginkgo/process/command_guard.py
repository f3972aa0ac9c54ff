"""The guardian: a small process that outlives ours by a moment, and ends what our commands left.

``kill -9`` gives a process no time to stop the programs that it has started. So each Ginkgo process
with commands has one of these beside it::

    Ginkgo                                       guardian
    ------                                       --------
    Popen(python -I -S command_guard.py) ------->  waits: for a line, or for the end of Ginkgo
    "+4711\\n", "-4711\\n"  ------ pipe -------->  notes which process groups there are
    (killed)  <------------ pidfd --------------   kills the groups, and what carries the mark
    (closes the pipe, no group is left) ------->   ends

It is run as a script, isolated and without site-packages, which takes 10 ms: it imports nothing of
Ginkgo. Its search for a command's processes is used by Ginkgo as well.

Sources: proc_pid_stat(5), proc_pid_environ(5), pidfd_open(2).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

MARK = "GINKGO_COMMAND_ID"
"""The environment variable that a command's program has, and with it all that it starts."""

CLEAN = 3  # so often, PAUSE apart, nothing may be found before the guardian believes it
PAUSE = 0.02  # seconds; in that time a child that was forked just now has its new environment
PATIENCE = 5.0  # seconds in which all has to be gone: what the kernel holds longer is left


def relatives(
    leaders: set[int], mark: str, since: int = 0, known: frozenset[int] = frozenset()
) -> dict[int, int]:
    """Find the processes of one or more commands.

    They are those in the groups and sessions of the leaders, the descendants of these, and whoever
    carries the mark in its environment, wherever it has gone to.

    Args:
        leaders: process groups; the number is that of the program that leads it.
        mark: what the value of `MARK` begins with.
        since: clock ticks since boot; what started before is not looked at for its mark.
        known: processes of theirs that were found before.

    Returns:
        Pid and process group of each that runs, zombies left out.
    """
    mine = os.getpid()
    parents: dict[int, int] = {}
    groups: dict[int, int] = {}
    found: set[int] = set()
    unsure = []
    for name in os.listdir("/proc"):
        fields = _stat(name) if name.isdigit() else None
        if fields is None or fields[0] in (b"Z", b"X"):
            continue
        pid, parent, group, session = int(name), int(fields[1]), int(fields[2]), int(fields[3])
        parents[pid], groups[pid] = parent, group
        if group in leaders or session in leaders or pid in known:
            found.add(pid)
        elif int(fields[19]) >= since:
            unsure.append(pid)
    wanted = f"{MARK}={mark}".encode()
    found.update(pid for pid in unsure if pid != mine and _carries(pid, wanted))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    found.discard(mine)
    return {pid: groups[pid] for pid in found}


def _stat(name: str) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third on: the second may hold spaces and brackets."""
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None  # it has ended since the folder was listed


def _carries(pid: int, wanted: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return any(each.startswith(wanted) for each in file.read().split(b"\0"))
    except OSError:
        return False  # another user's, which is no program of ours, or it has ended


def end_all(groups: set[int], mark: str) -> None:
    """Kill groups, and whatever carries the mark, until nothing of it is found any more."""
    deadline = time.monotonic() + PATIENCE
    clean = 0
    while clean < CLEAN and time.monotonic() < deadline:
        found = relatives(groups, mark)  # before the first is killed: orphans have no ancestors
        for group in groups & set(found.values()):
            _kill(os.killpg, group)
        for pid in found:
            _kill(os.kill, pid)
        clean = 0 if found else clean + 1
        time.sleep(PAUSE)


def _kill(how: object, number: int) -> None:
    try:
        how(number, signal.SIGKILL)  # type: ignore[operator]
    except OSError:
        pass  # it has ended meanwhile, or is a program that root alone may kill


def guard(ginkgo: int, mark: str) -> None:
    """Wait for the end of the process `ginkgo`, or of its pipe, which is our standard input."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # whoever ends the whole service ends us too early
    groups: set[int] = set()
    poll = select.poll()
    poll.register(0, select.POLLIN)
    try:
        pidfd = os.pidfd_open(ginkgo)
        poll.register(pidfd, select.POLLIN)
        gone = os.getppid() != ginkgo  # else the number may have passed to another one
    except OSError:
        pidfd, gone = -1, True
    rest = b""
    while not gone:
        ready = {fd for fd, _ in poll.poll()}
        data = os.read(0, 65536) if 0 in ready else b""
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
        if 0 in ready and not data:
            break
        gone = pidfd in ready and 0 not in ready  # what is in the pipe is read first
    if gone or groups or select.select([pidfd], [], [], 0)[0]:
        end_all(groups, mark)


if __name__ == "__main__":
    with open("/proc/self/comm", "w") as comm:
        comm.write("ginkgo-guard")
    guard(int(sys.argv[1]), sys.argv[2])
    os._exit(0)
