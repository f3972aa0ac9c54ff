"""Jobs by the wall clock, at the times that an expression of cron(8) gives.

The expression is cronsim's business: five fields, as in Debian's crontab(5), in local time with its
rules for the two days of the year that have 23 and 25 hours. What is done here is to live with a
clock that may be put forward or back at any time, and with a machine that sleeps:

- no timer is longer than :data:`STEP`; after it the wall clock is looked at anew;
- what is late by more than that was missed: it is counted, and not made up for;
- a clock that is put back comes by times that it has been at: nothing runs twice at one of them.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final

from .context import context
from .errors import ConfigError, UsageError
from .jobs import Job

if TYPE_CHECKING:
    from .service import Service

STEP: Final = 60.0  # seconds
MOST: Final = 1440  # times missed that are counted at once: a day of minutes
SPANS: Final = 8  # stretches of time that are remembered: one for each time the clock was set


class Lived:
    """The stretches of wall time that a job has been through."""

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, begin: float, end: float) -> None:
        """Remember one; those that it touches become a part of it."""
        apart = []
        for span in self._spans:
            if span[0] <= end and begin <= span[1]:
                begin, end = min(begin, span[0]), max(end, span[1])
            else:
                apart.append(span)
        self._spans = [*apart, (begin, end)][-SPANS:]

    def end_of(self, time: float) -> float | None:
        """The end of the stretch that `time` is in, or None."""
        return next((end for begin, end in self._spans if begin < time <= end), None)


class At(Job):
    """One that is due when the wall clock says so."""

    __slots__ = ("_expression", "_lived", "_next", "_now", "_wall")

    def __init__(self, expression: str, *what: Any) -> None:
        super().__init__(*what)
        self._expression = expression
        self._lived = Lived()
        self._wall = self._now = self._next = 0.0
        _check(self.service, expression)

    def _first(self) -> None:
        self._wall, self._now = context.clock.wall(), context.clock.now()
        self._next = self._after(self._wall)
        self._wait(min(STEP, self._next - self._wall))

    def _after(self, time: float) -> float:
        """The first time after `time` at which it has not been yet."""
        found: float | None = time
        while found is not None:
            time = next_time(self._expression, found)
            found = self._lived.end_of(time)
        return time

    def _time_has_come(self) -> None:
        """Look at the clock: whether it is time, and whether it was set."""
        wall, now = context.clock.wall(), context.clock.now()
        missed, due = 0, self._next
        while due <= wall and missed < MOST:
            missed, latest, due = missed + 1, due, self._after(due)
        in_time = 0 < missed < MOST and wall - latest <= STEP
        if 0 <= wall - self._wall <= now - self._now + STEP:
            self._lived.add(self._wall, wall)
        if missed or wall < self._wall:
            self._next = self._after(wall)
        self._wall, self._now = wall, now
        self._wait(min(STEP, self._next - wall))
        if missed > in_time:
            self._miss(missed - in_time, "the wall clock has moved on, or the process was held up")
        if in_time:
            self._run()


class _Local(tzinfo):
    """The machine's own time zone by the rules that it has: of TZ, or of /etc/localtime.

    ``datetime.astimezone()`` gives an offset only, which is not that of another season.
    """

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "local"

    def fromutc(self, moment: datetime) -> datetime:
        seconds = moment.replace(tzinfo=UTC).timestamp()
        return datetime.fromtimestamp(seconds).replace(tzinfo=self)


LOCAL: Final = _Local()


def next_time(expression: str, after: float) -> float:
    """The first time of a cron expression that comes after another, or infinity.

    Args:
        expression: five fields: minute, hour, day of the month, month, day of the week.
        after: seconds since the epoch.

    Raises:
        CronSimError: there is no such expression.
    """
    from cronsim import CronSim

    found = next(CronSim(expression, datetime.fromtimestamp(after, LOCAL)), None)
    return math.inf if found is None else found.timestamp()


def _check(service: Service, expression: str) -> None:
    try:
        from cronsim import CronSimError
    except ImportError:
        raise ConfigError(
            f"{service.path}: at() needs cronsim, which is not installed",
            hint='Install it: pip install "ginkgo[cron]"',
        ) from None
    try:
        found = next_time(expression, context.clock.wall())
    except (CronSimError, AttributeError, ValueError) as error:
        raise UsageError(
            f"{service.path}: at() takes a cron expression, not {expression!r}: {error}",
            hint='It has five fields: "30 4 * * 1-5" is half past four from Monday to Friday.',
        ) from None
    if found == math.inf:
        raise UsageError(f"{service.path}: at({expression!r}): that time never comes")
