"""The last log lines, in memory: what the control plane shows of the log, also in the foreground.

It stands beside the handlers that were configured, and sees what reaches the root logger. Its lines
look as they do in the log file. Whoever reads them does so from another thread, without a lock.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from itertools import count
from textwrap import indent
from typing import Any, Final, NamedTuple

from .escape import escape, escape_lines
from .format import Formatter
from .hiding import hide

KEPT: Final = 2000
"""Lines."""

KEPT_BYTES: Final = 2 << 20
"""Characters of all of them together, about."""

_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) +([A-Z]+) [^:]*: ")
_PATH = re.compile(r"([\w.-]+(?:/[\w.-]+)*): ")


class Line(NamedTuple):
    """One record of the log.

    Attributes:
        number: counts the records of this process, from 1; 0 for one that was read from a file.
        time: seconds since the epoch, or None.
        level: the level's name, or None.
        logger: the logger's name, or None.
        service: the path that the message begins with; else that of the service whose code has
            logged it, where that is known; or None.
        text: the line as the log has it, a traceback below it included.
    """

    number: int
    time: float | None
    level: str | None
    logger: str | None
    service: str | None
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The line as JSON-able data; what is not known is left out."""
        told: dict[str, Any] = {"text": self.text}
        if self.time is not None:
            told["time"] = rfc3339(self.time)
        for name in ("level", "logger", "service"):
            if (known := getattr(self, name)) is not None:
                told[name] = known
        return told


class Ring(logging.Handler):
    """Keeps the last records as lines.

    Args:
        root: the name of the tree's root, by which paths of services are known.
        caller: called while a record is kept: the path of the service whose code logs, or None.
    """

    def __init__(self, root: str = "", caller: Callable[[], str | None] = lambda: None) -> None:
        super().__init__()
        self.setFormatter(Formatter())
        self.root = root
        self._caller = caller
        self.dropped = False  # whether lines have gone that were once kept
        self._numbers = count(1)
        self._lines: deque[Line] = deque()
        self._size = 0
        self._listeners: tuple[Callable[[Line], object], ...] = ()

    def createLock(self) -> None:
        """Have no lock: a record is formatted and kept without one (see `handler`)."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep a record."""
        passed = self.filter(record)
        if passed:
            self.emit(record if passed is True else passed)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, and tell it to whoever listens."""
        text = self.format(record)
        line = Line(
            next(self._numbers),
            record.created,
            record.levelname,
            record.name,
            self._service_in(record.message) or self._caller(),
            text,
        )
        self._lines.append(line)
        self._size += len(text)
        while len(self._lines) > KEPT or (self._size > KEPT_BYTES and len(self._lines) > 1):
            try:
                self._size -= len(self._lines.popleft().text)
            except IndexError:
                break  # another thread has made room
            self.dropped = True
        for listener in self._listeners:
            listener(line)

    def lines(self) -> list[Line]:
        """Those that are kept; from any thread."""
        return list(self._lines.copy())

    def listen(self, listener: Callable[[Line], object]) -> Callable[[], None]:
        """Have `listener` called with each new line, in the thread that logs; returns what ends it.

        Both are called in one thread, the control plane's. The listener must neither wait nor log.
        """
        self._listeners = (*self._listeners, listener)

        def end() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return end

    def parse(self, text: str) -> Line:
        """Return what can be told of a record that was read from a log file, of text or of JSON."""
        told = _of_json(text)
        if told is not None:
            line, message = told
            return line._replace(service=self._service_in(message))
        begun = _LINE.match(text)
        if begun is None:
            return Line(0, None, None, None, self._service_in(text), hide(text))
        service = self._service_in(text[begun.end() :])
        return Line(0, _time_of(begun), begun[3], None, service, hide(text))

    def _service_in(self, message: str) -> str | None:
        """The path that a message begins with, as those of Ginkgo do: ``app/db: start failed``."""
        found = _PATH.match(message) or _PATH.match(message.partition(" ")[0] + ": ")
        path = found[1] if found else ""
        return path if self.root and path.partition("/")[0] == self.root else None


def _time_of(begun: re.Match[str]) -> float | None:
    try:
        return time.mktime(time.strptime(begun[1], "%Y-%m-%d %H:%M:%S")) + int(begun[2]) / 1000
    except (ValueError, OverflowError):
        return None


def _of_json(text: str) -> tuple[Line, str] | None:
    """A line of ``logformat = "json"``, shown as the others are, and its message; or None."""
    if not text.startswith("{"):
        return None
    try:
        told = json.loads(text)
        ts, level, logger, message = (told[key] for key in ("ts", "level", "logger", "msg"))
        moment = datetime.fromisoformat(ts)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not all(isinstance(each, str) for each in (level, logger, message)):
        return None
    asctime = f"{moment.astimezone():%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03}"
    below = [told[key] for key in ("error", "stack") if isinstance(told.get(key), str)]
    shown = f"{asctime} {level:>9} {logger.rpartition('.')[2]}: {escape(message)}"
    for each in below:
        shown += "\n" + indent(escape_lines(each.rstrip("\n")), "    ")
    return Line(0, moment.timestamp(), level, logger, None, hide(shown)), message


def rfc3339(seconds: float) -> str:
    """Return a time since the epoch as RFC 3339 has it, in UTC, with milliseconds."""
    whole, milli = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milli:03}Z"
