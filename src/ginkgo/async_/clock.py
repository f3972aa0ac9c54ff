"""The machine's own clock, which ``context.clock`` is unless a test puts another there."""

from __future__ import annotations

import time

TYPE_CHECKING = False  # as typing has it, without the 5 ms that its import takes
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..core.backend import Backend
    from ..core.clock import Timer


class RealClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def later(self, backend: Backend, seconds: float, function: Callable[[], object]) -> Timer:
        return backend.later(seconds, function)
