"""How long to wait between two attempts: exponential backoff with full jitter.

The upper bound doubles from attempt to attempt up to a limit, and the wait is a random part of it,
so that a thousand clients of a server that comes back do not come back in the same instant.
(Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import random


@dataclass(frozen=True, slots=True)
class Retry:
    """A policy of waiting.

    Args:
        first: seconds, the upper bound of the first wait. A restart of the peer on the same machine
            takes about that long.
        limit: seconds, the highest upper bound: how late a client may notice that its peer is back.
        factor: by how much the upper bound grows from attempt to attempt.
        healthy: seconds that a connection must have lasted to count as a success, after which the
            waits begin at `first` again. A peer that accepts and hangs up is not healthy.
    """

    first: float = 0.1
    limit: float = 30.0
    factor: float = 2.0
    healthy: float = 5.0

    def waits(self, random: Callable[[], float] = random) -> Iterator[float]:
        """Yield the seconds to wait before the second attempt, before the third, without end."""
        bound = self.first
        while True:
            yield bound * random()
            bound = min(self.limit, bound * self.factor)
