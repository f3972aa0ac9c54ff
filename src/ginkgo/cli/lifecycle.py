"""``ginkgoctl start``, ``stop`` and ``restart``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from ..control import starting, stopping
from ..core.errors import UsageError
from ..logs.escape import escape_lines
from .ctl import locate
from .output import Output, coloured, duration

if TYPE_CHECKING:
    import argparse

    from ..process.instances import Found

PATIENCE = 0.3
"""Seconds of a start before it is worth telling what it is at."""


def start(options: argparse.Namespace) -> int:
    """Start a target as a daemon."""
    out = Output(as_json=options.json, quiet=options.quiet)
    if options.target is None:
        raise UsageError(
            "start needs a target: a pid is of what runs already",
            hint="for example: ginkgoctl service.conf.py start",
        )
    from ..process.places import instance_name

    name = instance_name(options.target)
    progress = Progress(out)
    try:
        report = starting.start(
            options.target,
            name,
            start_timeout(options),
            kill_on_timeout=options.kill_on_timeout,
            progress=progress.tell,
        )
    except starting.StartFailed as failure:
        progress.end()
        show_output(failure, out)
        raise
    progress.end()
    out.result(report, started(report))
    return 0


def stop(options: argparse.Namespace) -> int:
    """Stop an instance."""
    found, name = locate(options)
    return stop_found(options, found, name, force=options.force)


def stop_found(
    options: argparse.Namespace,
    found: Found,
    name: str,
    *,
    force: bool = False,
    asked: bool = False,
) -> int:
    """Stop an instance that was found; see `stopping.stop`."""
    out = Output(as_json=options.json, quiet=options.quiet)
    timeout = stopping.STOP_TIMEOUT if options.timeout is None else options.timeout
    report = stopping.stop(found, name, timeout, out.say, force=force, asked=asked)
    out.result(report, *stopped(report, found.reason))
    return 0


def restart(options: argparse.Namespace) -> int:
    """Stop an instance, and start it again."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    progress = Progress(out)
    try:
        report = starting.restart(
            found,
            options.target,
            name,
            stop_timeout=stopping.STOP_TIMEOUT,
            start_timeout=start_timeout(options),
            say=out.say,
            force=options.force,
            progress=progress.tell,
        )
    except starting.StartFailed as failure:
        progress.end()
        show_output(failure, out)
        raise
    progress.end()
    out.result(report, started(report["start"]))
    return 0


def start_timeout(options: argparse.Namespace) -> float:
    """Return how many seconds to wait for ready."""
    timeout: float | None = options.timeout
    return starting.START_TIMEOUT if timeout is None else timeout


def started(report: dict[str, Any]) -> str:
    """Return a start's report in a line."""
    name, pid = report["name"], report["pid"]
    if report["outcome"] == "already running":
        return f"{name} is already running (pid {pid})"
    if report["outcome"] == "already starting":
        return f"{name} was already starting, and is ready (pid {pid})"
    return f"started {name} (pid {pid}), ready in {duration(report['seconds'])}"


def stopped(report: dict[str, Any], reason: str = "") -> list[str]:
    """Return a stop's report in lines.

    Args:
        reason: why there is nothing to stop, where it was asked for by a pid or a pidfile.
    """
    name, pid = report["name"], report["pid"]
    if report["outcome"] == "not running":
        return [f"nothing to stop: {escape_lines(reason)}" if reason else f"{name} is not running"]
    lines = [f"{report['outcome']} {name} (pid {pid}) in {duration(report['seconds'])}"]
    if report["left"]:
        left = ", ".join(f"{one['pid']} ({one['name']})" for one in report["left"])
        lines.append(f"  left running: {escape_lines(left)}")
    return lines


def show_output(failure: starting.StartFailed, out: Output) -> None:
    """Print what the daemon had to say: its traceback, or if it just died, its last lines."""
    if out.as_json or out.quiet:
        return
    outcome = failure.outcome
    text = outcome.traceback or "\n".join(outcome.output)
    told = not outcome.traceback and str(failure) in text  # it is about to be printed anyway
    if text and not told:
        print(escape_lines(text.rstrip("\n")), file=sys.stderr)


class Progress:
    """One line on the terminal that tells what is being started, while it takes a while."""

    def __init__(self, out: Output) -> None:
        self.wanted = coloured(sys.stderr) and not (out.as_json or out.quiet)
        self.began = time.monotonic()
        self.shown = False

    def tell(self, name: str) -> None:
        """Show the name of the service that is being started."""
        took = time.monotonic() - self.began
        if self.wanted and took >= PATIENCE:
            self.shown = True
            line = f"\rstarting {escape_lines(name)}, {took:.1f} s\x1b[K"
            print(line, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away."""
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
