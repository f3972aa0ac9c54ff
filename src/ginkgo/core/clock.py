"""The time that supervision, checks and periodic work go by: real, or a test's own.

Everything that waits for a time to come asks ``context.clock`` for a timer. So a test that puts its
own clock there (:class:`ginkgo.testing.FakeClock`) plays an hour of backoff in no time.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, without the 5 ms that its import takes
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from .backend import Backend

    class Timer(Protocol):
        """A call that is due at some time."""

        def cancel(self) -> None:
            """Make nothing of it. Without effect once it was made."""

    class Clock(Protocol):
        """What time it is, and calls that are made when it has come."""

        def now(self) -> float:
            """Monotonic seconds: no change of the wall clock moves them."""

        def wall(self) -> float:
            """Seconds since the epoch, as the wall clock has them."""

        def later(self, backend: Backend, seconds: float, function: Callable[[], object]) -> Timer:
            """Call `function` in `backend`'s own thread when so many seconds have gone by.

            It must not block. Called in that thread.
            """
