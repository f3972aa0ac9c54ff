"""How many log records there were, by their level: a sudden many is worth an alert.

It stands beside the handlers that were configured, and sees what reaches the root logger.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from typing import Final

from ..async_ import native

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
"""A level in between counts as the one below it: there are no more than these."""

_FROM: Final = (logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


class Records(logging.Handler):
    """Counts records; read it from any thread by :meth:`by_level`."""

    def __init__(self) -> None:
        super().__init__()
        self._counts = [0] * len(LEVELS)
        self._guard = native.rlock()  # a signal handler may log, in the middle of this

    def createLock(self) -> None:
        """Have no lock of the standard library's: a greenlet could wait for it."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Count a record."""
        passed = self.filter(record)
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record."""
        with self._guard:
            self._counts[bisect_right(_FROM, record.levelno)] += 1

    def by_level(self) -> dict[str, int]:
        """How many there were of each level."""
        return dict(zip(LEVELS, self._counts, strict=True))
