"""A clock that a test moves by hand, in place of the machine's.

::

    with FakeClock() as clock:
        service.start()           # every(3600, ...) in its do_start
        clock.advance(3600)       # an hour has gone by: the call is made

Supervision, periodic work and health checks go by it. ``sleep`` and timeouts do not.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING, Self

from ..async_ import native
from ..async_.base import ThreadSignal
from ..core.context import context

if TYPE_CHECKING:
    from ..core.backend import Backend
    from ..core.clock import Clock

PATIENCE = 10.0  # seconds of real time that one call in another thread may take
ROUNDING = 1e-9  # seconds: ten times 0.1 s is a little more than 1 s


class FakeTimer:
    """A call that is due at some time of a fake clock."""

    __slots__ = ("backend", "due", "function")

    def __init__(self, backend: Backend, due: float, function: Callable[[], object]) -> None:
        self.backend = backend
        self.due = due
        self.function: Callable[[], object] | None = function

    def cancel(self) -> None:
        """Make nothing of it."""
        self.function = None

    def call(self) -> None:
        """Make the call, unless it was cancelled."""
        function, self.function = self.function, None
        if function is not None:
            function()


class FakeClock:
    """See this module's docstring.

    Args:
        wall: what the wall clock says at first: seconds since the epoch, or a datetime.
        now: what the monotonic clock says at first, in seconds.
    """

    def __init__(self, wall: float | datetime = 1_767_225_600.0, now: float = 1000.0) -> None:
        self._now = now
        self._wall = wall.timestamp() if isinstance(wall, datetime) else wall
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._numbers = count()
        self._lock = native.lock()
        self._before: list[Clock] = []

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def wall(self) -> float:
        """Seconds since the epoch."""
        return self._wall

    def later(self, backend: Backend, seconds: float, function: Callable[[], object]) -> FakeTimer:
        """Call `function` in the thread of `backend` when the clock is moved so far."""
        timer = FakeTimer(backend, self._now + max(0.0, seconds), function)
        with self._lock:
            heapq.heappush(self._timers, (timer.due, next(self._numbers), timer))
        return timer

    @property
    def waiting(self) -> int:
        """How many calls are still to come."""
        with self._lock:
            return sum(timer.function is not None for _, _, timer in self._timers)

    @property
    def left(self) -> float | None:
        """Seconds until the next of them is due, or None."""
        with self._lock:
            self._drop_cancelled()
            return round(self._timers[0][0] - self._now, 9) if self._timers else None

    def advance(self, seconds: float) -> None:
        """Let time go by, and make the calls that are due, in order, each at its own time.

        Those in the loop of another thread are waited for. What they begin, tasks for example, is
        not: see :meth:`steps`.
        """
        for _ in self.steps(seconds):
            pass

    def steps(self, seconds: float) -> Iterator[float]:
        """The same as :meth:`advance`, and after each call that was made the body of a loop.

        There a test can let run what the call has begun, before time goes on.

        Example:
            for _ in clock.steps(3600):
                await asyncio.sleep(0)

        Yields:
            The monotonic time.
        """
        end = self._now + seconds
        while (timer := self._pop(end)) is not None:
            self._move_to(max(self._now, timer.due))
            self._make(timer)
            yield self._now
        self._move_to(max(self._now, end))

    def jump(self, seconds: float) -> None:
        """Put the wall clock forward or, below 0, back. No time goes by."""
        self._wall += seconds

    def _pop(self, end: float) -> FakeTimer | None:
        with self._lock:
            self._drop_cancelled()
            if not self._timers or self._timers[0][0] > end + ROUNDING:
                return None
            return heapq.heappop(self._timers)[2]

    def _drop_cancelled(self) -> None:
        while self._timers and self._timers[0][2].function is None:
            heapq.heappop(self._timers)

    def _move_to(self, now: float) -> None:
        self._wall += now - self._now
        self._now = now

    def _make(self, timer: FakeTimer) -> None:
        made = ThreadSignal()

        def call() -> None:
            try:
                timer.call()
            finally:
                made.set()

        timer.backend.post(call)
        if not made.wait(PATIENCE):
            raise AssertionError(
                f"a call that was due was not made within {PATIENCE:g} s: the loop of its thread "
                "does not run"
            )

    def __enter__(self) -> Self:
        self._before.append(context.clock)
        context.clock = self
        return self

    def __exit__(self, *exc_info: object) -> None:
        context.clock = self._before.pop()
