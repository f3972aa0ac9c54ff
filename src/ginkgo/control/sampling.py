"""When samples of the instance are taken: only while somebody looks.

    asked() ──> a sample, and one every 5 s ──> nobody has asked for a minute ──> none

So an instance that nobody looks at wakes no CPU. Where the control address is set somebody may look
at any time, and wants to see the last minutes: there it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from ginkgo.process.usage import EVERY

PATIENCE = 60.0
"""Seconds for which it goes on after it was asked last."""


class _Loop(Protocol):
    def after(self, seconds: float, function: Callable[[], object]) -> Callable[[], None]: ...


class Sampling:
    """Takes samples, in the control thread.

    Args:
        loop: of the control thread.
        take: takes one.
    """

    def __init__(self, loop: _Loop, take: Callable[[], object]) -> None:
        self._loop = loop
        self._take = take
        self._asked_at = 0.0
        self._cancel: Callable[[], None] | None = None
        self._always = False

    def asked(self) -> None:
        """Somebody looks: go on for a minute, or begin."""
        self._asked_at = time.monotonic()
        if self._cancel is None:
            self._tick()

    def go_on(self) -> None:
        """Take samples from now on, until the end."""
        self._always = True
        self.asked()

    def end(self) -> None:
        """Take no more."""
        if self._cancel is not None:
            self._cancel()

    def _tick(self) -> None:
        if self._always or time.monotonic() - self._asked_at <= PATIENCE:
            self._cancel = self._loop.after(EVERY, self._tick)
            self._take()
        else:
            self._cancel = None
