"""What a process uses up and gets done: figures, and samples of them for the last minutes.

Nothing here runs by itself: whoever wants samples takes them, and an idle process is left alone.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..core.seen import field, walk
from ..core.service import Service
from ..logs.ring import rfc3339

EVERY: Final = 5.0
"""Seconds between samples."""

KEPT: Final = 180
"""Samples: those of 15 minutes."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage:
    """The figures of one process.

    Args:
        root: the root of its tree.
        post: hands something over to the tree's own thread.
    """

    def __init__(self, root: Service, post: Callable[[Callable[[], object]], object]) -> None:
        self.lag: float | None = None
        self._root = root
        self._post = post
        self._samples: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._asked_at: float | None = None  # when the loop was asked for a sign of life
        self._before = (time.monotonic(), time.process_time())
        self._cpu: float | None = None

    # All but _answered is called in the control thread.

    def figures(self) -> dict[str, Any]:
        """The figures of now."""
        memory, threads = memory_and_threads()
        return {
            "cpu": self._cpu if self._cpu is not None else self._cpu_since(self._before),
            "memory": memory,
            "threads": threads,
            "lag": self.current_lag(),
            **totals(self._root),
        }

    def sample(self) -> dict[str, Any]:
        """Take a sample, and keep it."""
        before = self._before
        self._cpu = self._cpu_since(before)
        self._before = (time.monotonic(), time.process_time())
        memory, _ = memory_and_threads()
        known = totals(self._root)
        taken = {
            "time": rfc3339(time.time()),
            "cpu": self._cpu,
            "memory": memory,
            "requests": known["requests"],
            "errors": known["errors"],
            "lag": self.current_lag(),
            "connections": known["connections"],
        }
        self._samples.append(taken)
        self._ask()
        return taken

    def samples(self) -> dict[str, Any]:
        """Those that are kept."""
        return {"every": EVERY, "samples": list(self._samples)}

    def current_lag(self) -> float | None:
        """Seconds that something new waits for the loop; None before the first sample."""
        asked = self._asked_at
        waited = 0.0 if asked is None else time.monotonic() - asked
        if self.lag is None:
            return waited or None
        return max(self.lag, waited)

    def _ask(self) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self._post(self._answered)

    def _answered(self) -> None:
        asked, self._asked_at = self._asked_at, None
        if asked is not None:
            self.lag = time.monotonic() - asked

    @staticmethod
    def _cpu_since(before: tuple[float, float]) -> float:
        passed = time.monotonic() - before[0]
        used = time.process_time() - before[1]
        return round(max(0.0, 100.0 * used / passed), 1) if passed > 0 else 0.0


def memory_and_threads() -> tuple[int | None, int | None]:
    """Bytes of memory in use (the resident set), and the number of threads.

    Source: proc_pid_stat(5), fields 24 and 20. None where they cannot be read.
    """
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[21]) * _PAGE, int(fields[17])
    except OSError:  # out of descriptors
        return None, None


def totals(root: Service) -> dict[str, int]:
    """What all services have and have done together."""
    found = {"tasks": 0, "restarts": 0, "connections": 0, "requests": 0, "errors": 0}
    for service, _ in walk(root):
        found["tasks"] += len(field(service, "_tasks") or ())
        care = field(service, "_care")
        found["restarts"] += 0 if care is None else care.restarts
        counted = counters_of(service)
        if counted is not None:
            found["connections"] += counted.get("active", 0)
            found["requests"] += counted.get("requests", 0)
            found["errors"] += counted.get("errors", 0)
    return found


def counters_of(service: Service) -> dict[str, Any] | None:
    """What a server has counted; None for a service that counts nothing.

    It is Ginkgo's own `counters` that is called: a subclass's may be anything.
    """
    for kind in type(service).__mro__:
        counters = kind.__dict__.get("counters")
        if counters is not None and kind.__module__.startswith("ginkgo."):
            try:
                counted: dict[str, Any] = counters(service)
            except (AttributeError, RuntimeError):
                return None  # not yet made, or it changes at this moment
            return counted
    return None
