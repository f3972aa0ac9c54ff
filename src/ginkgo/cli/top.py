"""``ginkgoctl top``: what an instance costs and does, again and again.

CPU and memory are of the process: all its services share them. Tasks, connections, requests and
restarts are of each service. On a terminal the picture is drawn anew every two seconds, until
Ctrl+C; elsewhere, and with --once, there is one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..control import manager
from .ctl import locate
from .output import Output, columns, cut, paint, sign, table
from .texts import ending, headline, memory, percent, text, uptime
from .trees import children, names, runs

if TYPE_CHECKING:
    import argparse

    from ..control.client import Client

HEAD = ("SERVICE", "STATE", "TASKS", "CONN", "REQ", "REQ/S", "ERRORS", "RESTARTS")
NUMBERS = "TASKS CONN REQ REQ/S ERRORS RESTARTS"

OTHERS = 58
"""Characters of a line that are not the service's name."""

ABOVE = 4
"""Lines above the services."""

ENTER, HOME, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[H", "\x1b[?25h\x1b[?1049l"
"""Another screen without a cursor, its upper left corner, and back (xterm's control sequences)."""


def top(options: argparse.Namespace) -> int:
    """Show an instance, once or until Ctrl+C."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    manager.need_running(found, name)
    once = options.once or options.json or not drawable()
    with manager.client_of(found, 5.0 if options.timeout is None else options.timeout) as client:
        frame = ask(client, None)
        if once:
            out.result(frame, *described(frame, None))
            return 0
        sys.stdout.write(ENTER)
        try:
            while True:
                draw(frame)
                time.sleep(max(0.1, options.every))
                frame = ask(client, frame)
        except KeyboardInterrupt:
            return 0
        finally:
            sys.stdout.write(LEAVE)
            sys.stdout.flush()


def drawable() -> bool:
    """Whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM") not in (None, "dumb")


def draw(frame: dict[str, Any]) -> None:
    """Draw a picture over the one before."""
    height = os.get_terminal_size(sys.stdout.fileno()).lines
    lines = [f"{line}\x1b[K" for line in described(frame, height)]
    sys.stdout.write(HOME + "\n".join(lines) + "\x1b[J")
    sys.stdout.flush()


def ask(client: Client, before: dict[str, Any] | None) -> dict[str, Any]:
    """Return a picture of now.

    Args:
        client: of which instance.
        before: the picture before, for what happened since.
    """
    status, tree = client.get("/api/v1/status"), client.get("/api/v1/tree")
    frame: dict[str, Any] = {"schema": "ginkgo.top/1", "running": True}
    frame |= {name: status.get(name) for name in FIGURES}
    passed = None if before is None else max(1e-3, frame["uptime"] - before["uptime"])
    then = {} if before is None else {one["path"]: one for one in before["services"]}
    frame["services"] = [_row(*each, then, passed) for each in _flat([tree], 0)]
    frame["requests_per_second"] = _rate(frame, before, passed)
    return frame


FIGURES = (
    "name",
    "pid",
    "state",
    "stopping",
    "uptime",
    "failed",
    "cpu",
    "memory",
    "threads",
    "lag",
    "tasks",
    "connections",
    "requests",
    "errors",
    "restarts",
)


def _flat(siblings: list[dict[str, Any]], depth: int) -> Iterator[tuple[list[Any], int]]:
    """The services in the order of the tree; those that are alike as one."""
    for run in runs(siblings):
        yield run, depth
        yield from _flat(children(run[0]), depth + 1)


def _row(
    run: list[dict[str, Any]], depth: int, then: dict[str, dict[str, Any]], passed: float | None
) -> dict[str, Any]:
    node = run[0]
    row: dict[str, Any] = {
        "path": str(node.get("path")),
        "label": names(run),
        "alike": len(run),
        "depth": depth,
        "state": ending(node) or node.get("state"),
        "tasks": _sum(run, "tasks"),
        "restarts": _sum(run, "restarts"),
    }
    counters = [one["counters"] for one in run if isinstance(one.get("counters"), dict)]
    row["connections"] = _sum(counters, "active")
    row["requests"] = _sum(counters, "requests" if _has(counters, "requests") else "accepted")
    row["errors"] = _sum(counters, "errors")
    row["requests_per_second"] = _rate(row, then.get(row["path"]), passed)
    return row


def _has(many: list[dict[str, Any]], name: str) -> bool:
    return any(name in one for one in many)


def _sum(many: list[dict[str, Any]], name: str) -> int | None:
    values = [one[name] for one in many if isinstance(one.get(name), int)]
    return sum(values) if values else None


def _rate(row: dict[str, Any], before: dict[str, Any] | None, passed: float | None) -> float | None:
    if before is None or passed is None:
        return None
    new, old = row.get("requests"), before.get("requests")
    if not isinstance(new, int) or not isinstance(old, int):
        return None
    return round(max(0, new - old) / passed, 1)


def described(frame: dict[str, Any], height: int | None) -> Iterator[str]:
    """Yield a picture in lines for people.

    Args:
        frame: from `ask`.
        height: how many lines there may be; None for all.
    """
    width = columns()
    yield cut(f"{text(frame['name'])}: {headline(frame)}  {_summary(frame)}", width)
    yield cut(_totals(frame), width)
    yield ""
    services = frame["services"]
    room = len(services)
    if height is not None and room > height - ABOVE:
        room = max(1, height - ABOVE - 1)
    longest = None if width is None else max(12, width - OTHERS)
    rows = [_cells(one, longest) for one in services[:room]]
    head, *lines = table(HEAD, rows, right=NUMBERS)
    yield paint(cut(f"  {head}", width), "bold")
    inner = None if width is None else width - 2
    for one, line in zip(services, lines, strict=False):
        yield f"{sign(str(one['state']))} {cut(line, inner)}"
    if len(services) > room:
        yield f"  and {len(services) - room} more"


def _summary(frame: dict[str, Any]) -> str:
    return f"pid {text(frame['pid'])}  up {uptime(frame['uptime'])}  {time.strftime('%H:%M:%S')}"


def _totals(frame: dict[str, Any]) -> str:
    lag = frame["lag"]
    parts = {
        "cpu": percent(frame["cpu"]),
        "memory": memory(frame["memory"]),
        "threads": _number(frame["threads"]),
        "lag": f"{lag * 1000:.1f} ms" if isinstance(lag, int | float) else "",
        "conn": _number(frame["connections"]),
        "req/s": _number(frame["requests_per_second"]),
        "errors": _number(frame["errors"]),
    }
    return "  ".join(f"{name} {value}" for name, value in parts.items() if value not in ("", "-"))


def _cells(one: dict[str, Any], longest: int | None) -> list[str]:
    label = "  " * min(one["depth"], 8) + one["label"]
    if one["alike"] > 1:
        label += f" ({one['alike']})"
    numbers = ("tasks", "connections", "requests", "requests_per_second", "errors", "restarts")
    return [
        cut(label, longest),
        text(one["state"]),
        *(_number(one[name]) for name in numbers),
    ]


def _number(value: Any) -> str:
    return "-" if value is None else text(value)
