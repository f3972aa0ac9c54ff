"""Programs for the tests of commands, and what is looked at afterwards."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.workshop import become_subreaper, reap_orphans

from ginkgo.process.command import Command
from ginkgo.process.command_guard import MARK
from ginkgo.process.command_guardian import guardian

OF_THE_C_LIBRARY = 0b11 << 31
"""Signals 32 and 33 in a mask: glibc keeps them for itself, and lets nobody reset them."""


def sh(script: str, **more: Any) -> Command:
    """A shell script as a command; it says "up" when it is."""
    return Command(["sh", "-c", script], **{"name": "sh", **more})


def python(lines: str, **more: Any) -> Command:
    """Python's lines as a command; the interpreter starts in 12 ms."""
    head = "import os, signal, sys, time\ndef say(*words): print(*words, flush=True)\n"
    return Command([sys.executable, "-I", "-S", "-c", head + lines], **{"name": "python", **more})


SLEEP = "exec sleep 1000"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say('up')\nwhile True: time.sleep(1000)"


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.DEBUG) -> list[str]:
    """What the commands have told the log."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "ginkgo.command" and record.levelno >= level
    ]


def told(caplog: pytest.LogCaptureFixture, path: str = "sh") -> list[str]:
    """The lines that a program has printed."""
    return [
        line.removeprefix(f"{path}: ")
        for line in logged(caplog)
        if " runs, pid " not in line and ": the program " not in line
    ]


def marked() -> list[int]:
    """The processes that carry the mark of this process's commands."""
    wanted = f"{MARK}={guardian.mark}".encode()
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if has(pid, wanted)]


def has(pid: int, wanted: bytes) -> bool:
    try:
        return any(
            each.startswith(wanted)
            for each in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        )
    except OSError:
        return False


def children() -> set[int]:
    """The pids of this process's children, zombies too."""
    return {
        int(pid)
        for thread in os.listdir("/proc/self/task")
        for pid in _read(f"/proc/self/task/{thread}/children").split()
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    stat = _read(f"/proc/{pid}/stat")
    return bool(stat) and stat.rpartition(")")[2].split()[0] not in "ZX"


@contextmanager
def nothing_left() -> Iterator[None]:
    """No process, no zombie, no guardian may be left of the body."""
    become_subreaper()
    reap_orphans()
    before = children()
    yield
    assert guardian._process is None
    assert not marked()
    deadline = time.monotonic() + 5
    while left := left_since(before):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def left_since(before: set[int]) -> list[str]:
    """The children that were not there before, in words."""
    reap_orphans()  # those that had left their program, and became ours
    return [_read(f"/proc/{pid}/stat") for pid in children() - before]
