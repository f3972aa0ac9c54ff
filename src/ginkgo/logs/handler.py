"""The one handler: it turns a record into bytes and hands them to a sink in one piece.

A handler of the standard library holds its lock while it formats. Formatting runs the user's
`__str__`, which under gevent may switch to another greenlet and under threads may take long; then
every other line waits, and a native thread (the control plane's) may wait for a greenlet that never
comes back. Here the record is formatted outside any lock, and the sink is locked only for its
write(), which never switches. So that lock can be the real one of the operating system, in a
patched process too, and serves greenlets and threads alike.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from ginkgo.logs.format import Formatter

if TYPE_CHECKING:
    import _thread


_PRIORITIES = (
    (logging.CRITICAL, "<2>"),
    (logging.ERROR, "<3>"),
    (logging.WARNING, "<4>"),
    (logging.INFO, "<6>"),
    (-1, "<7>"),
)


class Sink(Protocol):
    """Where finished lines go. It outlives the handlers, which are made anew by every reload."""

    lock: _thread.RLock
    dropped: int

    def write(self, data: bytes) -> None:
        """Write `data` at once, or count it as lost. Never raises OSError."""

    def flush(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for what could not be written yet."""

    def close(self) -> None:
        """Give back what the sink holds. A line that comes later is still written."""


class LineHandler(logging.Handler):
    """Write each record as one piece of bytes to a sink.

    Args:
        sink: where to; several handlers may share it.
        formatter: what makes the line.
        encoding, errors: of the bytes.
    """

    def __init__(
        self,
        sink: Sink,
        formatter: logging.Formatter,
        encoding: str = "utf-8",
        errors: str = "backslashreplace",
    ) -> None:
        self.sink = sink
        self._encoding = encoding
        self._errors = errors
        self._is_journal = getattr(sink, "is_journal", False)
        super().__init__()
        self.setFormatter(formatter)

    def createLock(self) -> None:
        """Use the sink's lock; the standard library makes it anew in a forked child."""
        super().createLock()
        self.lock = self.sink.lock

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit the record if the filters let it through; without the lock, see above."""
        passed = self.filter(record)
        if isinstance(passed, logging.LogRecord):  # a filter may replace the record, since 3.12
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a formatter that raises costs the line's form, not the line."""
        try:
            text = self.format(record)
            if self._is_journal:
                text = with_priority(text, record.levelno)
            data = f"{text}\n".encode(self._encoding, self._errors)
        except Exception as error:  # noqa: BLE001 - a formatter may be the user's code
            text = f"{Formatter().format(record)} [the formatter raised {type(error).__name__}]\n"
            data = text.encode("utf-8", "backslashreplace")
        self.sink.write(data)


def with_priority(text: str, level: int) -> str:
    """Return `text` as the journal wants it: each line begins with the priority that it has.

    Source: sd-daemon(3), syslog(3).
    """
    prefix = next(prefix for least, prefix in _PRIORITIES if level >= least)
    return prefix + text.replace("\n", "\n" + prefix)
