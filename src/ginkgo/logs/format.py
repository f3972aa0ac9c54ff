"""The format of a log line: one record is one line, whatever is in it.

    2012-04-28 17:21:32,608      INFO service: Starting up!
    2012-04-28 17:21:33,002     ERROR service: HelloWorld failed
        Traceback (most recent call last):
          File "service.py", line 12, in do_start
        ZeroDivisionError: division by zero

A line that begins at the left margin begins a record; a traceback follows indented. Control
characters are escaped (see `escape`), also in the traceback's text, and a record has at most 64
KiB. A message whose `__str__` raises, or whose arguments do not fit, is still logged, with what was
wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, TypeAlias

from ginkgo.logs.escape import escape, escape_lines
from ginkgo.logs.hiding import hide
from ginkgo.logs.tracebacks import user_traceback

FORMAT = "%(asctime)s %(levelname)9s %(module)s: %(message)s"

# Bytes of UTF-8. One record stays one write() of a size that file systems and readers take well.
LIMIT = 64 * 1024

_INDENT = "    "

_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


class Formatter(logging.Formatter):
    """A `logging.Formatter` whose records cannot break the log.

    Args:
        fmt: as for `logging.Formatter`; the seed's format if None.
        datefmt, style, validate, defaults: as for `logging.Formatter`.

    Raises:
        ValueError: the format is none.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        validate: bool = True,
        *,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        if fmt is None:
            fmt, style = FORMAT, "%"
        super().__init__(fmt, datefmt, style, validate, defaults=defaults)
        # A format with colours or newlines of its own has them on purpose; then only the message is
        # escaped. Otherwise the whole line is: fields from `extra` come from anywhere, too.
        self._plain = fmt.isprintable()
        self._timed = self.usesTime()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as its line, and its traceback as indented lines below."""
        detail = ""
        if record.exc_info or record.exc_text or record.stack_info:
            detail = self._detail(record)
        limit = LIMIT // 2 if detail else LIMIT  # one may not push out the other
        record.message = escape(shorten(hide(message_of(record)), limit))
        if self._timed:
            record.asctime = self.formatTime(record, self.datefmt)
        line = self.formatMessage(record)
        if self._plain:
            line = escape(line)
        return _capped(line, limit) + detail

    def formatException(self, ei: _ExcInfo) -> str:
        """Return the traceback of an `exc_info`, from the user's first frame on."""
        return user_traceback(ei[1], ei[2]) if ei[1] is not None else ""

    def _detail(self, record: logging.LogRecord) -> str:
        # `exc_text` is a cache that all handlers of a record share. What is in it may come from a
        # formatter that escapes nothing, and others want theirs whole: it is neither used nor set,
        # unless it is all there is (a record that came through a queue).
        parts = []
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        elif record.exc_text:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        text = shorten(hide("\n".join(part for part in parts if part)), LIMIT // 2)
        return "\n" + _capped(_indented(text), LIMIT // 2) if text else ""


def lost(count: int, why: str | None, pathname: str) -> bytes:
    """Return the line that a sink writes itself: how many lines are missing before the next one.

    Args:
        count: of the lines that could not be written.
        why: they could not.
        pathname: the sink's `__file__`, which gives the line its module.
    """
    what = "1 log line was" if count == 1 else f"{count} log lines were"
    text = f"{what} lost before this one: {why}"
    record = logging.LogRecord("ginkgo.logs", logging.WARNING, pathname, 0, text, None, None)
    return (Formatter().format(record) + "\n").encode()


def _indented(text: str) -> str:
    return _INDENT + escape_lines(text).replace("\n", "\n" + _INDENT)


def message_of(record: logging.LogRecord) -> str:
    """Return a record's message, or what is wrong with it; never raises."""
    try:
        return record.getMessage().rstrip("\n")  # some end it themselves, as uvicorn does
    except Exception as error:  # noqa: BLE001 - the user's __str__ and __format__ run in there
        where = f"{record.filename}:{record.lineno}"
        return f"{_text(record.msg)} [{where}: cannot be formatted: {_text(error, named=True)}]"


def _text(value: object, *, named: bool = False) -> str:
    name = type(value).__name__
    try:
        return f"{name}: {value}" if named else str(value)
    except Exception as error:  # noqa: BLE001 - as above
        return f"<{name}: its __str__ raises {type(error).__name__}>"


def shorten(text: str, limit: int) -> str:
    """Cut the middle out of `text`: what matters is at the ends, in a traceback at the last."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}[... {len(text) - 2 * half} characters cut ...]{text[-half:]}"


def _capped(text: str, limit: int) -> str:
    """Return `text` with less than `limit` bytes: what was short enough has grown by escaping."""
    if len(text) * 4 < limit:  # a character has at most four bytes
        return text
    data = text.encode("utf-8", "backslashreplace")
    if len(data) < limit:
        return text
    half = limit // 2 - 64  # room for the note
    head, tail = data[:half].decode("utf-8", "ignore"), data[-half:].decode("utf-8", "ignore")
    return f"{head}[... {len(data) - 2 * half} bytes cut ...]{tail}"
