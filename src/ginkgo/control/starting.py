"""Starting a daemon, and starting it again.

    not running             launched; returns when it is ready, or with the reason why it is not
    running and ready       nothing to do
    on its way to ready     waited for
    anything else           told, with what to do

The daemon is a fresh interpreter, started without the current folder on its path (`-P`): what it
may import from there is for `ginkgo` to decide. This process imports nothing of the application.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ginkgo.core.errors import ApplicationFailed, ConfigError, GinkgoError, TemporaryFailure
from ginkgo.process.instances import Found, Record, find

from .manager import DEGRADED, READY, UNDER_WAY, Say, exit_status, need_running, status, wait_ready
from .stopping import stop

if TYPE_CHECKING:
    from ginkgo.process.launcher import Outcome

START_TIMEOUT = 90.0
"""Seconds to wait for ready, unless told otherwise: a daemon gives each of its services 30, and one
that is blocked cannot even tell that its time is over."""

Progress = Callable[[str], None]
"""Is told the name of each service that is being started."""


class StartFailed(GinkgoError):
    """A daemon that was launched is not ready; the exit status is that of the reason.

    Args:
        outcome: what the launcher knows.
    """

    def __init__(self, outcome: Outcome) -> None:
        error = outcome.error
        assert error is not None  # noqa: S101 - it failed
        super().__init__(str(error), hint=error.hint)
        self.status = error.status  # type: ignore[misc]
        self.outcome = outcome


def start(
    target: str,
    name: str,
    timeout: float | None,
    *,
    command: Sequence[str] | None = None,
    kill_on_timeout: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Start a target as a daemon, and return when it is ready.

    Args:
        target: a config file or a dotted name.
        name: of the instance.
        timeout: seconds to wait for it; None for as long as it takes.
        command: how to start it, if not the usual way.
        kill_on_timeout: end it if it is not ready by then; else it goes on.
        progress: is told what is being started.

    Raises:
        StartFailed: it is not ready, for the reason that its launcher knows.
        TemporaryFailure: an instance is there that is neither ready nor on its way.
    """
    began = time.monotonic()
    found = find(target)
    if found.state == "stopped":
        outcome = _launch(command or usual_command(target), timeout, kill_on_timeout, progress)
        if outcome.ready:
            return _started(name, outcome.pid, "started", began)
        found = find(target)
        if found.pid == outcome.pid or not found.running:
            raise StartFailed(outcome)
        # Somebody else's start was faster, and ours was refused: that one is as good.
    return _join(found, name, timeout, began)


def restart(
    found: Found,
    target: str | None,
    name: str,
    *,
    stop_timeout: float,
    start_timeout: float | None,
    say: Say,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Stop an instance, and when it is gone start it again as it had been started.

    One that runs is not stopped when its configuration is such that the start would be refused.

    Args:
        found: the instance; if none runs, it is only started.
        target: as given by the user; None to take it from the instance's record.
        name, stop_timeout, say, force: as for `stopping.stop`.
        start_timeout, progress: as for `start`.

    Raises:
        ConfigError: the configuration is wrong; nothing was stopped.
        TemporaryFailure: it is not known how it had been started.
        GinkgoError: as `stop` and `start`; the first half is told by `say` before the second.
    """
    again = how_again(found.record if trusted(found) else None, target)
    if again is None:
        raise TemporaryFailure(
            f"{name} cannot be started again: it is not known how it was started",
            hint="name its target, for example: `ginkgoctl service.conf.py restart`",
        )
    folder, target, command = again
    if found.running:
        _check(name, folder, command, start_timeout)
    stopped = stop(found, name, stop_timeout, say, force=force)
    if stopped["outcome"] != "not running":
        say(f"{name} (pid {stopped['pid']}) {stopped['outcome']} in {stopped['seconds']:.1f} s")
    if folder is not None:
        os.chdir(folder)
    started = start(target, name, start_timeout, command=command, progress=progress)
    return {"schema": "ginkgo.restart/1", "name": name, "stop": stopped, "start": started}


def _check(name: str, folder: str | None, command: Sequence[str], timeout: float | None) -> None:
    """Have the configuration checked by `ginkgo check`, as the command would start with it.

    Raises:
        ConfigError: it is wrong. Whatever else `ginkgo check` ends with is for the start to tell.
    """
    import subprocess  # only where it is needed

    at = command.index("ginkgo") + 1
    options = [each for each in command[at:] if each not in ("-d", "--daemonize")]
    try:
        run = subprocess.run(
            [*command[:at], "check", *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    if run.returncode != ConfigError.status:
        return
    _, _, why = f"\n{run.stderr}".rpartition("\nginkgo: ")
    raise ConfigError(
        f"the restart of {name} was refused, nothing was stopped: {why.strip()}",
        hint="mend the configuration, and `ginkgoctl TARGET restart` again",
    )


def usual_command(target: str) -> list[str]:
    """Return the command that runs a target as a daemon."""
    return [sys.executable, "-P", "-m", "ginkgo", "-d", "--", target]


def trusted(found: Found) -> bool:
    """Whether to believe an instance's record how to start it.

    The record is the word of whoever owns the folder: root must not run what another user put
    there.
    """
    return found.owner is None or found.owner == os.geteuid()


def how_again(
    record: Record | None, target: str | None
) -> tuple[str | None, str, list[str]] | None:
    """Return the folder, the target and the command of the next start; None if they are unknown.

    With a record all is as it was, the options included; else it is what `start` would do.
    """
    if record is None:
        return None if target is None else (None, target, usual_command(target))
    options = list(record.argv[1:])
    if not {"-d", "--daemonize"} & set(options):
        options.insert(0, "-d")
    folder = record.cwd if os.path.isdir(record.cwd) else None
    return folder, record.target, [record.python, "-P", "-m", "ginkgo", *options]


def _launch(
    command: Sequence[str],
    timeout: float | None,
    kill_on_timeout: bool,
    progress: Progress | None,
) -> Outcome:
    from ginkgo.process.launcher import launch  # brings subprocess along: only where it is needed

    return launch(command, None, timeout, kill_on_timeout=kill_on_timeout, on_progress=progress)


def _join(found: Found, name: str, timeout: float | None, began: float) -> dict[str, Any]:
    """Make the best of an instance that is there already."""
    need_running(found, name)
    picture = status(found, name, 5.0)
    verdict = exit_status(picture)
    if picture.get("stopping"):
        raise TemporaryFailure(
            f"{name} (pid {found.pid}) is about to stop ({picture['stopping']})",
            hint="`ginkgoctl TARGET wait --for stopped`, and start it then",
        )
    if verdict == UNDER_WAY and picture.get("state") != "stopping":
        wait_ready(found, name, timeout)
        return _started(name, found.pid, "already starting", began)
    if verdict == READY or picture.get("state") in ("ready", "degraded"):
        return _started(name, found.pid, "already running", began)
    if verdict == DEGRADED:
        raise ApplicationFailed(
            f"{name} (pid {found.pid}) is running, but failed",
            hint=f"see `ginkgoctl -p {found.pid} status`, or restart it",
        )
    why = picture.get("why")
    raise TemporaryFailure(
        f"{name} (pid {found.pid}) is {picture.get('state')}" + (f": {why}" if why else ""),
        hint=picture.get("do") or f"`ginkgoctl -p {found.pid} stop`, and start it then",
    )


def _started(name: str, pid: int | None, outcome: str, began: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - began, 3)
    return {
        "schema": "ginkgo.start/1",
        "name": name,
        "pid": pid,
        "outcome": outcome,
        "seconds": seconds,
    }
