"""Stopping an instance, which always works.

    asked, by its control socket   (nobody answers: SIGTERM)
      │ the time is over, or --force
    SIGTERM and SIGCONT            a process that is stopped cannot end before it continues
      │ 5 seconds
    SIGKILL                        and what it left behind is told

What is waited for is the end of the process, through its pidfd: no pid can be mistaken, and nothing
polls. Orderly or not, the lock of a process that is gone is free for the next start.
"""

from __future__ import annotations

import signal
import time
from typing import Any

from ginkgo.core.errors import NotRunning
from ginkgo.process import pids
from ginkgo.process.instances import Found

from .client import NotAnswering, Skewed, Unreachable
from .manager import Say, client_of, hold, need_running, unkillable

STOP_TIMEOUT = 30.0
"""Seconds for an orderly stop, unless told otherwise: more than a process gives itself (25)."""

GRACE = 5.0
"""Seconds after each signal of the escalation."""


def stop(
    found: Found,
    name: str,
    timeout: float,
    say: Say,
    *,
    force: bool = False,
    asked: bool = False,
) -> dict[str, Any]:
    """Stop an instance and return when its process is gone.

    Args:
        found: from `ginkgo.process.instances.find`.
        name: what to call it.
        timeout: seconds for the orderly stop.
        force: do not ask: begin with the signals.
        asked: it has been asked already.

    Raises:
        PermissionDenied: it is another user's.
        TemporaryFailure: it does not run, but a child of it keeps its lock.
        SystemFailure: not even SIGKILL ends it.
    """
    report: dict[str, Any] = {"schema": "ginkgo.stop/1", "name": name, "pid": found.pid}
    if found.state == "stopped":
        return {**report, "outcome": "not running", "seconds": 0.0, "signals": [], "left": []}
    need_running(found, name)
    began = time.monotonic()
    try:
        process = hold(found)
    except NotRunning:  # it was faster than we
        outcome = "stopped" if asked else "not running"
        return {**report, "outcome": outcome, "seconds": 0.0, "signals": [], "left": []}
    with process:
        stopping = _Stopping(found, process, say)
        outcome = stopping.run(timeout, force=force, asked=asked)
    seconds = round(time.monotonic() - began, 3)
    return {
        **report,
        "outcome": outcome,
        "seconds": seconds,
        "signals": stopping.signals,
        "left": stopping.left,
    }


class _Stopping:
    """The steps, and what came of them."""

    def __init__(self, found: Found, process: pids.ProcessHandle, say: Say) -> None:
        self.found = found
        self.process = process
        self.say = say
        self.signals: list[str] = []
        self.left: list[dict[str, Any]] = []

    def run(self, timeout: float, *, force: bool, asked: bool) -> str:
        if not force:
            if not asked and not self.ask():
                self.send(signal.SIGTERM)
                self.wake()
            if self.process.wait_gone(timeout):
                return "stopped"
            self.say(f"pid {self.process.pid} still runs after {timeout:g} s: sending signals")
        self.send(signal.SIGTERM)
        self.send(signal.SIGCONT)
        if self.process.wait_gone(min(GRACE, timeout) if force else GRACE):
            return "stopped"
        family = descendants(self.process.pid)
        self.send(signal.SIGKILL)
        if not self.process.wait_gone(GRACE):
            raise unkillable(self.process.pid)
        self.left = [
            {"pid": pid, "name": pids.name_of(pid)}
            for pid, ticks in family
            if pids.start_ticks(pid) == ticks and pids.state_letter(pid) != "Z"
        ]
        return "killed"

    def ask(self) -> bool:
        """Ask on the control socket; False if nobody is there to be asked."""
        if pids.state_letter(self.process.pid) in ("T", "t"):
            self.say(f"pid {self.process.pid} is stopped by a signal: sending SIGTERM and SIGCONT")
            return False
        try:
            with client_of(self.found, timeout=2.0) as client:
                client.post("/api/v1/stop", {})
        except (Unreachable, NotAnswering, Skewed) as problem:
            if not self.process.gone():
                self.say(f"{problem}; sending SIGTERM instead")
            return False
        return True

    def wake(self) -> None:
        """Let it continue if it is stopped: it could not end."""
        if pids.state_letter(self.process.pid) in ("T", "t"):
            self.send(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        if self.process.send(number):
            self.signals.append(number.name)


def descendants(pid: int) -> list[tuple[int, int]]:
    """Return the children of a process, their children, and so on, each with its start time."""
    parents: dict[int, list[int]] = {}
    for one in pids.running_pids():
        parent = _parent(one)
        if parent is not None:
            parents.setdefault(parent, []).append(one)
    found: list[tuple[int, int]] = []
    queue = list(parents.get(pid, ()))
    while queue:
        one = queue.pop()
        ticks = pids.start_ticks(one)
        if ticks is not None:
            found.append((one, ticks))
        queue += parents.get(one, ())
    return sorted(found)


def _parent(pid: int) -> int | None:
    # Source: proc_pid_stat(5), field 4; the second field may hold spaces and brackets.
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return None
