"""What a log file says of the time before the lines that are kept in memory."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from .escape import escape_lines
from .ring import Line

READ = 256 * 1024
"""Bytes that are read, from the end: nobody waits for a disk here for long."""


def lines_before(
    path: str, first: Line | None, most: int, parse: Callable[[str], Line]
) -> list[Line]:
    """Return the last lines that a log file has from before `first`.

    A file in which `first` is not found, because it is another or has another format than one of
    Ginkgo's, says nothing.

    Args:
        path: of the log file.
        first: the oldest line that is kept; None if none is.
        most: so many at most.
        parse: what can be told of a record.
    """
    records = _records(path)
    if first is not None:
        places = [place for place, text in enumerate(records) if text == first.text]
        if not places:  # its lines may be JSON
            places = [place for place, text in enumerate(records) if _is(parse(text), first)]
        if not places:
            return []
        del records[places[-1] :]
    return [parse(text) for text in records[len(records) - min(most, len(records)) :]]


def _is(read: Line, kept: Line) -> bool:
    """Whether a line of JSON is that of a record which is kept as text."""
    if read.logger is None or read.time is None or kept.time is None:
        return False
    at = [int(each * 1000) for each in (read.time, kept.time)]
    messages = (each.text.partition("\n")[0].partition(": ")[2] for each in (read, kept))
    return abs(at[0] - at[1]) <= 1 and read[2:5] == kept[2:5] and len(set(messages)) == 1


def _records(path: str) -> list[str]:
    """The records at the end of the file: lines, each with the indented ones below it."""
    try:
        # As the log itself is opened: no link is followed, no pipe waited for.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return []
        start = max(0, found.st_size - READ)
        data = os.pread(fd, READ, start)
    except OSError:
        return []
    finally:
        os.close(fd)
    lines = escape_lines(data.decode("utf-8", "backslashreplace")).split("\n")
    records: list[str] = []
    for line in lines[1 if start else 0 :]:  # the first may be the rest of one
        if line.startswith("    ") and records:
            records[-1] += f"\n{line}"
        elif line:
            records.append(line)
    return records
