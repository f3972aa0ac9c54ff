"""What the spawning scripts share: the work, and the clock around it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from gevent.event import Event

BATCH: Final = 1000


def nothing() -> None:
    """The trivial task."""


def measure_spawn(spawn: Callable[[Callable[[], Any]], Any]) -> None:
    """Spawns batches, each to its end, and prints the microseconds of a task in the fastest.

    What disturbs a batch of 20 ms only ever adds to it. Greenlets run in the order in which they
    were spawned, so that the last one's event means that all have run.
    """
    spawn_batch(spawn)  # the first makes the hub
    times = []
    for _ in range(int(sys.argv[1])):
        began = time.perf_counter()
        spawn_batch(spawn)
        times.append(time.perf_counter() - began)
    print(json.dumps({"us": min(times) / BATCH * 1e6}))


def spawn_batch(spawn: Callable[[Callable[[], Any]], Any]) -> None:
    """1,000 tasks, until the last has run."""
    done = Event()
    for _ in range(BATCH - 1):
        spawn(nothing)
    spawn(done.set)
    done.wait()
