"""What the tree scripts share: the clock, and the memory of a tree that has started.

    NAME_tree.py SIZE TREES

builds and measures TREES trees of SIZE services one after the other; building is not timed. Then
one more is built and started with tracemalloc on: the growth of the resident memory is what the
system sees, but it misses what fits into memory that imports have left free, and the traced heap
misses stacks. The two together leave no room for either.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """Times of start and stop for each tree, the resident memory of the first, and a heap."""

    size: int = field(default_factory=lambda: int(sys.argv[1]))
    trees: int = field(default_factory=lambda: int(sys.argv[2]))
    starts: list[float] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)
    resident: float = 0.0
    heap: float = 0.0
    _empty: float = 0.0
    _began: float = 0.0
    _timed: int = 0

    def build(self) -> None:
        """A tree is going to be built."""
        gc.collect()
        if not self.starts:
            self._empty = resident_kib()

    def start(self) -> None:
        """It is built, and going to be started."""
        self._began = time.perf_counter()

    def started(self) -> None:
        """All of it has started."""
        self.starts.append(time.perf_counter() - self._began)
        if len(self.starts) == 1:
            gc.collect()
            self.resident = (resident_kib() - self._empty) / self.size
        if tracemalloc.is_tracing():
            gc.collect()
            self.heap = tracemalloc.get_traced_memory()[0] / 1024 / self.size

    def stop(self) -> None:
        """It is going to be stopped."""
        self._began = time.perf_counter()

    def stopped(self) -> None:
        """All of it has stopped."""
        self.stops.append(time.perf_counter() - self._began)

    def trace(self) -> None:
        """All trees have been timed; the next is weighed."""
        self._timed = len(self.starts)
        gc.collect()
        tracemalloc.start()

    def tell(self) -> None:
        """Prints the figures of the fastest tree, for each service: what disturbs only adds."""
        del self.starts[self._timed :], self.stops[self._timed :]
        per_service = 1e6 / self.size
        both = [start + stop for start, stop in zip(self.starts, self.stops, strict=True)]
        figures = {
            "us": min(both) * per_service,
            "start_us": min(self.starts) * per_service,
            "stop_us": min(self.stops) * per_service,
            "resident": self.resident,
            "heap": self.heap,
        }
        print(json.dumps(figures))


def resident_kib() -> float:
    """The resident memory of this process, in KiB."""
    with open("/proc/self/smaps_rollup") as rollup:
        return next(float(line.split()[1]) for line in rollup if line.startswith("Rss:"))
