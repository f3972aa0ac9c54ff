"""What a process counts of its tree for its metrics, besides what every server counts itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ..core.events import FAILURE, Event
from ..core.service import Service
from ..servers.traffic import Durations

MOST: Final = 500
"""Services that have series of their own."""

WAIT: Final = 1.0
"""Seconds in which the loop has to get round to what is asked of it for a scrape."""

_NO_TASKS: Final = frozenset({"start", "stop", "reload", "child", "run", "command"})


class Tally:
    """Counts the failures of tasks, and measures how long something new waits for the loop.

    The loop is asked when somebody scrapes, and never else: an idle instance is left alone.

    Args:
        root: the root of the tree. Made in the tree's own thread.
        post: hands something over to that thread.
    """

    def __init__(self, root: Service, post: Callable[..., object]) -> None:
        self.task_failures: dict[str, int] = {}
        self.lag = Durations()
        self._post = post
        self._asked_at: float | None = None
        self._wanted: deque[Callable[[], object]] = deque()
        self._subscription = root.events.subscribe(self._happened)

    def close(self) -> None:
        """Count no more. Called in the tree's thread."""
        self._subscription.close()

    def _happened(self, event: Event) -> None:
        if event.kind != FAILURE or not event.cause or event.cause[0].phase in _NO_TASKS:
            return
        path = event.path
        if path in self.task_failures or len(self.task_failures) < MOST:
            self.task_failures[path] = self.task_failures.get(path, 0) + 1

    # -- the loop; all but _answered is called in the control thread

    @property
    def unanswered(self) -> float:
        """Seconds for which the loop has not got round to what was asked of it; 0 if it has."""
        asked = self._asked_at
        return 0.0 if asked is None else max(0.0, time.monotonic() - asked)

    def ask(self, function: Callable[[], object], *, blocked: bool = False) -> bool:
        """Have `function` called in the loop; False where that is not to be expected soon.

        Args:
            blocked: the loop is known to be blocked: it is only asked for a sign of life.
        """
        if self.unanswered > WAIT:
            return False
        if not blocked:
            self._wanted.append(function)
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self._post(self._answered)
        return not blocked

    def _answered(self) -> None:
        # First this, then the look: whoever adds something from now on asks once more.
        asked, self._asked_at = self._asked_at, None
        if asked is not None:
            self.lag.add(time.monotonic() - asked)
        while self._wanted:
            self._wanted.popleft()()
