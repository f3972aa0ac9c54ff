"""``ginkgoctl ls``: the instances of this user, from their runtime folders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..control import manager
from ..process.instances import Found, instances
from .output import Output, columns, cut, sign, table
from .texts import ending, memory, percent, text, uptime

if TYPE_CHECKING:
    import argparse

HEAD = ("NAME", "STATE", "PID", "UPTIME", "SERVICES", "CPU", "MEMORY", "TARGET")
NUMBERS = "PID SERVICES CPU MEMORY"

PATIENCE = 1.0
"""Seconds for the answer of each."""


def ls(options: argparse.Namespace) -> int:
    """Show every instance, one in a line."""
    out = Output(as_json=options.json, quiet=options.quiet)
    timeout = PATIENCE if options.timeout is None else options.timeout
    pictures = [picture(found, timeout) for found in instances() if is_mine(found)]
    if not pictures:
        out.say("no instance of yours is running; `ginkgoctl TARGET start` starts one")
    lines = described(pictures) if pictures else ()
    out.result({"schema": "ginkgo.instances/1", "instances": pictures}, *lines)
    return 0


def is_mine(found: Found) -> bool:
    """Whether an instance is this user's; to root all are."""
    return os.geteuid() in (0, found.owner)


def picture(found: Found, timeout: float) -> dict[str, Any]:
    """Return what `status` says of an instance, and its folder."""
    record, folder = found.record, found.folder or ""
    name = os.path.basename(folder) if record is None else record.name
    told = {**manager.status(found, name, timeout), "folder": folder}
    if found.state == "stopped" and found.stale:  # what it had told is its last word
        told |= {"state": "crashed", "target": None if record is None else record.target}
    return told


def described(pictures: list[dict[str, Any]]) -> list[str]:
    """Return instances in lines for people."""
    ordered = sorted(pictures, key=lambda one: str(one.get("name")))
    head, *lines = table(HEAD, [row(one) for one in ordered], right=NUMBERS)
    width = columns()
    room = None if width is None else width - 2
    signed = (
        f"{sign(state_of(one))} {cut(line, room)}" for one, line in zip(ordered, lines, strict=True)
    )
    return [cut(f"  {head}", width), *signed]


def state_of(one: dict[str, Any]) -> str:
    """Return the state of an instance in a word or two."""
    state = str(one.get("state"))
    if state == "unknown" and one.get("running"):
        return "no answer"
    return ending(one) or ("degraded" if state == "ready" and one.get("failed") else state)


def row(one: dict[str, Any]) -> list[str]:
    """Return an instance as cells."""
    cells = [
        one.get("name"),
        state_of(one),
        one.get("pid"),
        uptime(one.get("uptime")),
        one.get("services"),
        percent(one.get("cpu")),
        memory(one.get("memory")),
        one.get("target"),
    ]
    return ["-" if cell in (None, "") else text(cell) for cell in cells]
