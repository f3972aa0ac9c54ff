"""What `ginkgoctl` does with an instance: ask how it is, reload it, wait for it.

    Found (the lock)  ──>  Client (the control socket)  ──>  an object for people or for --json
                                │ nobody answers
                                └──>  /proc and signals, and it is said that it came to that

The application is neither imported nor read here, nor is its config file: it may be broken, or
gone. Stopping is in `stopping`, starting in `starting`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from ginkgo.core.errors import (
    ApplicationFailed,
    GinkgoError,
    NotRunning,
    PermissionDenied,
    SystemFailure,
    TemporaryFailure,
)
from ginkgo.process import pids
from ginkgo.process.instances import Found

from .client import Client, NotAnswering, Unreachable, failure
from .instance import NO_WAY_BACK

Say = Callable[[str], None]
"""Is told what a person should know on the way, in a line."""

READY, NOT_RUNNING, UNKNOWN, UNDER_WAY, DEGRADED = 0, 3, 4, 150, 151
"""The exit statuses of `status`: LSB's, and from its range for applications."""

YOUNG = 10.0
"""Seconds in which a process without a control socket is taken to be still on its way to one."""

WAIT_AT_ONCE = 60.0
"""Seconds of one long poll."""

RELOAD_TIMEOUT = 60.0
"""Seconds for a reload, unless told otherwise."""


# -- status


def status(
    found: Found,
    name: str,
    timeout: float,
    also: Callable[[Client], None] | None = None,
) -> dict[str, Any]:
    """Return how an instance is; whatever state it is in, this raises nothing.

    Args:
        found: from `ginkgo.process.instances.find`.
        name: what to call it where it does not say.
        timeout: seconds for its answer.
        also: called once it has answered, to ask for more by the same connection.
    """
    known: dict[str, Any] = {"schema": "ginkgo.status/1", "name": name, "running": found.running}
    if found.state == "stopped":
        why = found.reason or ("it did not stop in order" if found.stale else None)
        do = (
            {"do": "`ginkgoctl TARGET log` shows its last words"}
            if found.stale and found.record
            else {}
        )
        return {**known, "state": "stopped", "pid": None, "why": why, **do}
    if found.state != "running":
        return {**known, "state": "unknown", "pid": None, "why": found.reason}
    known |= _from_record(found)
    try:
        with client_of(found, timeout) as client:
            known |= client.get("/api/v1/status")
            if also is not None:
                also(client)
            return known
    except Unreachable as problem:
        if found.record is None or age(found) < YOUNG:
            return {**known, "state": "starting", "why": f"{problem} yet"}
        why = f"{problem}: signals and `ginkgoctl TARGET stop` still work"
        return {**known, "state": "unknown", "why": why}
    except GinkgoError as problem:
        letter = found.pid and pids.state_letter(found.pid)
        return {
            **known,
            "state": "unknown",
            "process_state": letter,
            "why": str(problem),
            "do": problem.hint,
        }


def exit_status(picture: dict[str, Any]) -> int:
    """Return the exit status for what `status` returned."""
    state = picture.get("state")
    if not picture.get("running"):
        return NOT_RUNNING if state == "stopped" else UNKNOWN
    if state in ("init", "starting", "stopping", "stopped"):
        return UNDER_WAY
    if picture.get("stopping"):
        return UNDER_WAY  # a lame duck: it serves on, and is about to stop
    if state in ("failed", "degraded") or picture.get("failed"):
        return DEGRADED
    return READY if state == "ready" else UNKNOWN


# -- dump


def dump(found: Found, name: str, timeout: float) -> dict[str, Any]:
    """Return what every thread, greenlet and task of an instance does now.

    Args:
        found: from `ginkgo.process.instances.find`.
        name: what to call it in errors.
        timeout: seconds for its answer.

    Raises:
        NotRunning: it is not.
        Unreachable, NotAnswering, PermissionDenied: it cannot be asked.
    """
    need_running(found, name)
    with client_of(found, timeout) as client:
        return client.get("/api/v1/dump")


def _from_record(found: Found) -> dict[str, Any]:
    record = found.record
    facts = {"pid": found.pid, "uptime": age(found)}
    if record is None:
        return facts
    return {
        **facts,
        "target": record.target,
        "started_at": record.started_at,
        "logfile": record.logfile,
    }


# -- reload


def reload(found: Found, name: str, timeout: float, say: Say) -> dict[str, Any]:
    """Have an instance reload, and return its report.

    Where its control socket does not answer it gets a SIGHUP; what comes of that is in its log.

    Raises:
        NotRunning: it is not.
        TemporaryFailure: it is busy, or not done in time.
        NotAnswering: it is stopped by a signal: it could not even take one.
    """
    need_running(found, name)
    with client_of(found, timeout) as client:
        try:
            # Asked first whether anybody is there at all: a reload may take its time.
            client.get("/api/v1/", timeout=min(timeout, 2.0))
        except (Unreachable, NotAnswering) as problem:
            return _reload_by_signal(found, problem, say)
        try:
            reply = client.ask("POST", "/api/v1/reload", {}, timeout=timeout)
        except NotAnswering:
            raise TemporaryFailure(
                f"the reload of {name} is asked for, and not done after {timeout:g} s",
                hint="its loop may be blocked: see `ginkgoctl TARGET dump`; "
                "--timeout gives it longer",
            ) from None
        except (ConnectionError, EOFError):
            raise TemporaryFailure(f"{name} ended during the reload") from None
    if "outcome" not in reply.content:
        raise failure(reply)
    return {**reply.content, "name": name}


def _reload_by_signal(found: Found, problem: GinkgoError, say: Say) -> dict[str, Any]:
    if isinstance(problem, NotAnswering) and problem.letter in ("T", "t"):
        raise problem
    with hold(found) as process:
        process.send(signal.SIGHUP)
    if found.record is None:  # it is published when there is a control socket
        problem = TemporaryFailure(f"pid {found.pid} is starting, and {problem} yet")
        say(f"{problem}; sent SIGHUP instead: it reloads when it is ready, and tells its log")
    else:
        say(f"{problem}; sent SIGHUP instead: what came of it is in the log")
    return {
        "schema": "ginkgo.reload/1",
        "outcome": "signalled",
        "signal": "SIGHUP",
        "pid": found.pid,
        "why": str(problem),
    }


# -- wait


def wait_ready(found: Found, name: str, timeout: float | None) -> dict[str, Any]:
    """Wait until an instance is ready, and return its status then.

    Args:
        timeout: seconds; None waits for ever.

    Raises:
        NotRunning: it is not running, or ends meanwhile.
        ApplicationFailed: it failed, or is being stopped: it will not become ready.
        TemporaryFailure: time is over.
    """
    need_running(found, name)
    deadline = None if timeout is None else time.monotonic() + timeout
    with hold(found) as process, client_of(found) as client:
        while True:
            left = WAIT_AT_ONCE if deadline is None else max(0.0, deadline - time.monotonic())
            poll = min(left, WAIT_AT_ONCE)
            path = f"/api/v1/wait?state=ready&timeout={poll:.3f}"
            try:
                answer = client.get(path, timeout=poll + client.timeout)
            except Unreachable:
                # Not there yet, or not there any more.
                if process.wait_gone(min(0.05, left)):
                    raise _ended(name, found) from None
                answer = {}
            state = str(answer.get("state", "starting"))
            if answer.get("reached"):
                content = answer.get("status")
                return {**answer, **(content if isinstance(content, dict) else {}), "name": name}
            told = answer.get("status")
            ends = told.get("stopping") if isinstance(told, dict) else None
            if ends and state not in NO_WAY_BACK:
                raise ApplicationFailed(
                    f"{name} is {state}, and about to stop ({ends}): it takes no new work",
                    hint="`ginkgoctl TARGET wait --for stopped` waits for its end",
                )
            if state in NO_WAY_BACK:
                raise ApplicationFailed(
                    f"{name} is {state}, and will not become ready",
                    hint="see `ginkgoctl TARGET log`",
                )
            if deadline is not None and time.monotonic() >= deadline:
                raise _late(name, found, state, answer, timeout)


def wait_stopped(found: Found, name: str, timeout: float | None) -> dict[str, Any]:
    """Wait until an instance has ended; not to run is to have ended.

    Raises:
        TemporaryFailure: it still runs when the time is over.
    """
    answer = {"schema": "ginkgo.wait/1", "name": name, "reached": True, "state": "stopped"}
    if found.state == "stopped":
        return answer
    need_running(found, name)
    with hold(found) as process:
        if not process.wait_gone(timeout):
            raise TemporaryFailure(
                f"{name} (pid {found.pid}) still runs after {timeout:g} s",
                hint=f"`ginkgoctl -p {found.pid} stop` ends it",
            )
    return answer


def _ended(name: str, found: Found) -> NotRunning:
    return NotRunning(
        f"{name} (pid {found.pid}) ended before it was ready", hint="see `ginkgoctl TARGET log`"
    )


def _late(
    name: str, found: Found, state: str, answer: dict[str, Any], timeout: float | None
) -> TemporaryFailure:
    content = answer.get("status")
    late = content.get("not_ready", []) if isinstance(content, dict) else []
    paths = ", ".join(str(one.get("path")) for one in late if isinstance(one, dict))
    return TemporaryFailure(
        f"{name} (pid {found.pid}) is {state}, and not ready after {timeout:g} s"
        + (f": {paths}" if paths else ""),
        hint=f"see `ginkgoctl -p {found.pid} status`",
    )


# -- common


def client_of(found: Found, timeout: float = 5.0) -> Client:
    """Return a client of an instance that runs."""
    assert found.folder is not None  # noqa: S101 - it runs, so it has been found somewhere
    return Client(found.folder, pid=found.pid, timeout=timeout)


def hold(found: Found) -> pids.ProcessHandle:
    """Return the process of an instance, held so that its number cannot become another's.

    Raises:
        NotRunning: it has gone meanwhile.
    """
    assert found.pid is not None  # noqa: S101 - it runs
    process = pids.hold(found.pid, found.start_ticks)
    if process is None:
        raise NotRunning(f"pid {found.pid} has just ended")
    return process


def has_ended(found: Found) -> bool:
    """Whether the process of an instance is gone."""
    process = None if found.pid is None else pids.hold(found.pid, found.start_ticks)
    if process is None:
        return True
    with process:
        return process.wait_gone(1.0)  # it may have closed its socket a moment before its end


def need_running(found: Found, name: str) -> None:
    """Insist on a process to talk to.

    Raises:
        NotRunning: there is none.
        PermissionDenied: this user may not look.
        TemporaryFailure: something holds the lock that is not an instance any more.
    """
    if found.state == "stopped":
        if found.reason:  # asked for by a pid or a pidfile, and it means no instance
            raise NotRunning(found.reason, hint="name the target instead, if it is one that runs")
        raise NotRunning(f"{name} is not running", hint="`ginkgoctl TARGET start` starts it")
    if found.state == "held":
        raise TemporaryFailure(
            f"{name} is not running, but {found.reason}", hint="end that process"
        )
    if found.state == "unknown":
        raise PermissionDenied(
            f"it is not known whether {name} runs: {found.reason}", hint=who_may_look()
        )


def who_may_look() -> str:
    """What to do where this user may not look."""
    if os.geteuid() == 0:
        return "not even root may look into it from here; name the target, if it is one"
    return "ask as its user, or as root"


def age(found: Found) -> float:
    """Seconds since the process of an instance started; 0 where that is not to be seen."""
    if found.start_ticks is None:
        return 0.0
    # Source: proc_pid_stat(5), field 22: since boot, the time of suspension included.
    started = found.start_ticks / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)


def unkillable(pid: int) -> SystemFailure:
    """The error for a process that not even SIGKILL ends."""
    letter = pids.state_letter(pid)
    return SystemFailure(
        f"pid {pid} does not end, not even by SIGKILL (state {letter})",
        hint="the kernel waits for a device or a network file system: see `dmesg`",
    )
