"""The options of ``ginkgoctl``, and what stands behind them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import NoReturn

from .. import __version__
from ..core.errors import UsageError

WIDTH = 79

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

EPILOG = """\
exit status:
  0 done (also: started though running, stopped though not running)
  status: 0 ready, 3 not running, 4 unknown, 150 starting or stopping, 151 a service failed
  2 wrong usage, 7 not running, 70 the application failed, 75 not in time, 77 no permission,
  78 the configuration is wrong

examples:
  ginkgoctl service.conf.py start
  ginkgoctl service.HelloWorld status --json
  ginkgoctl service.HelloWorld restart HelloWorld/Db
  ginkgoctl service.HelloWorld log-level app.db DEBUG --for 10m
  ginkgoctl -p /run/app.pid stop
"""


class Parser(argparse.ArgumentParser):
    """One that raises its errors."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line."""
        raise UsageError(message, hint="see `ginkgoctl -h`")


def parser(actions: Mapping[str, tuple[str, str]]) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Args:
        actions: what can be done: for each, what follows it, and what it is.
    """
    lines = "".join(f"  {_line(name, *rest)}\n" for name, rest in actions.items())
    made = Parser(
        prog="ginkgoctl",
        usage="ginkgoctl [-h] [-v] [-p PID] [options]\n" + _choices(actions),
        description="Manage a service that runs as a daemon.",
        epilog=f"actions:\n{lines}\n{EPILOG}",
        allow_abbrev=False,
        # With a width of its own: to find the terminal's, it would import shutil at every call.
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=WIDTH),
    )
    add = made.add_argument
    add("-v", "--version", action="version", version=f"ginkgoctl {__version__}")
    add("-p", "--pid", help="pid or pidfile to use instead of target")
    add("--timeout", type=seconds, metavar="SECONDS", help="how long to wait, for the action's end")
    add("--json", action="store_true", help="print JSON, errors too")
    add("--no-color", action="store_true", help="print no colours")
    add("-q", "--quiet", action="store_true", help="print nothing but errors")
    add("--force", action="store_true", help="stop, restart: send signals instead of asking")
    add("--kill-on-timeout", action="store_true", help="start: end what is not ready in time")
    add(
        "--for",
        metavar="STATE|TIME",
        help="wait: for ready or stopped [ready]; set, log-level: for so long, as 30s, 10m or 2h",
    )
    add(
        "-n",
        "--lines",
        type=count,
        help="logtail, logs, events: how many lines first [20]",
    )
    add("-f", "--follow", action="store_true", help="logs, events: go on with what comes")
    add("--service", metavar="PATH", help="logs, events: of this service and those in it")
    add("--level", help="logs: of this level and above")
    add("--grep", metavar="TEXT", help="logs: in which this is found; .* and | have their meaning")
    add("--kind", help="events: of this kind: state, failure, restart, ...")
    add("--all", action="store_true", help="tree: each service, also where many are alike")
    add("--once", action="store_true", help="top: one picture, and no more")
    add("--every", type=seconds, metavar="SECONDS", help="top: how often [2]")
    add("--raw", action="store_true", help="log, logtail: control characters as they are")
    add(
        "words",
        nargs="*",
        metavar="target",
        help="service class path to use (modulename.ServiceClass) or configuration file path to "
        "use (/path/to/config.py), or an instance's name from `ginkgoctl ls`",
    )
    return made


def _choices(actions: Mapping[str, object]) -> str:
    """The actions, broken into lines."""
    lines, indent = ["                 [target] {"], " " * 26
    for name in actions:
        if len(lines[-1]) + len(name) + 2 > WIDTH:
            lines.append(indent)
        lines[-1] += f"{name},"
    return "\n".join(lines).removesuffix(",") + "}"


def _line(name: str, follows: str, text: str) -> str:
    start = f"{name} {follows}".rstrip()
    return f"{start:<23} {text}"


def seconds(text: str) -> float:
    """Return a number of seconds from the command line."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:  # false for nan too
        raise _refused(text, "a number of seconds")
    return value


def count(text: str) -> int:
    """Return a number of lines from the command line."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise _refused(text, "a number of lines")
    return value


def time_span(text: str) -> float:
    """Return how many seconds a time on the command line is.

    Raises:
        UsageError: it is none.

    >>> time_span("90"), time_span("1.5h")
    (90.0, 5400.0)
    """
    unit = UNITS.get(text[-1:])
    try:
        value = float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise UsageError(
            f"argument --for: {text!r} is no time", hint="for example: 30s, 10m, 2h or 1d"
        )
    return value


def _refused(text: str, what: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r} is not {what}")
