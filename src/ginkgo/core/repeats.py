"""One line instead of thousands: which repeats of a message are worth saying.

A server that runs out of descriptors fails to accept as fast as it can try, and a client whose
server is away fails at every retry. The first time is news; after that, one line in a while that
says how many there were.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

# Keys may come from outside (a peer's address): what is remembered about them has an end.
_MAX_KEYS = 1024


class Repeats:
    """Decide whether a message that may come often is logged this time.

    Args:
        seconds: how long a message keeps its repeats quiet.
        clock: a monotonic clock in seconds.

    Example:
        repeats = Repeats(10, time.monotonic)
        ...
        suppressed = repeats.due(error.errno)
        if suppressed is not None:
            logger.warning("cannot accept: %s (%d more times before this)", error, suppressed)
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def due(self, key: Hashable = None) -> int | None:
        """Return None if the message should be kept quiet, else how many were since the last one.

        Args:
            key: what makes two messages the same; leave it out where there is only one.
        """
        now = self._clock()
        last = self._seen.get(key)
        if last is not None and now - last[0] < self._seconds:
            self._seen[key] = (last[0], last[1] + 1)
            return None
        self._seen[key] = (now, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > _MAX_KEYS:
            self._seen.popitem(last=False)
        return last[1] if last is not None else 0

    def over(self, key: Hashable = None) -> int:
        """Forget `key`, because the trouble has ended; return how many messages were kept quiet."""
        return self._seen.pop(key, (0.0, 0))[1]
