"""A log line that may be due very often, and must not be written very often."""

from __future__ import annotations

import time
from collections.abc import Callable


class Seldom:
    """Says whether to tell something again, and how often it was kept back.

    Args:
        period: seconds in which it is told once at most.
        clock: monotonic seconds.

    Example:
        >>> warnings = Seldom(10.0)
        >>> kept_back = warnings.due()
        >>> if kept_back is not None:
        ...     logger.warning("no descriptor left (and %d times before)", kept_back)
    """

    __slots__ = ("_clock", "_kept_back", "_next", "_period")

    def __init__(self, period: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._period = period
        self._clock = clock
        self._next = float("-inf")
        self._kept_back = 0

    def due(self) -> int | None:
        """Return None to keep it back now, else how often it was kept back since the last time."""
        now = self._clock()
        if now < self._next:
            self._kept_back += 1
            return None
        self._next = now + self._period
        kept_back, self._kept_back = self._kept_back, 0
        return kept_back
