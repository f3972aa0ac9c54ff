"""``ginkgoctl logs``: the end of an instance's log, filtered, and with -f what is added to it.

Where `log` and `logtail` read the file, this asks the instance: so it shows the log of one in the
foreground too, and knows which service, level and logger a line is of.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..control import manager
from ..control.client import query
from ..core.errors import NotRunning
from ..logs.escape import escape_lines
from .ctl import locate
from .output import Output, paint

if TYPE_CHECKING:
    import argparse

PATH = "/api/v1/log"

COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


def logs(options: argparse.Namespace) -> int:
    """Print the last lines that are wanted, and with -f those that come."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    if found.state == "stopped" and not found.reason:
        raise NotRunning(
            f"{name} is not running, and its log can only be filtered while it is",
            hint="`ginkgoctl TARGET log` prints that of its last run",
        )
    manager.need_running(found, name)
    wanted = {"service": options.service, "level": options.level, "grep": options.grep}
    with manager.client_of(found, 10.0 if options.timeout is None else options.timeout) as client:
        if not options.follow:
            told = client.get(query(PATH, lines=options.lines, **wanted))
            for line in told.get("lines") or ():
                show(line, out)
            return 0
        from ..control.stream import Stream

        with Stream(client, query(PATH, stream=1, lines=options.lines, **wanted)) as stream:
            for message in stream.messages(sys.stdout):
                show(message.data, out)
    if manager.has_ended(found):
        out.say(f"{name} has ended")
    return 0


def show(line: dict[str, Any], out: Output) -> None:
    """Print one line of the log; a traceback makes it more than one."""
    told = escape_lines(str(line.get("text")))
    colour = COLOURS.get(str(line.get("level")).upper())
    out.stream({"schema": "ginkgo.line/1", **line}, paint(told, colour) if colour else told)
