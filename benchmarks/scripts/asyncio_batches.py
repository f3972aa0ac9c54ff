"""What the spawning scripts on asyncio share: as in batches.py, with coroutine functions."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

BATCH: Final = 1000

Spawn = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


async def nothing() -> None:
    """The trivial task."""


async def measure_spawn(spawn: Spawn) -> None:
    """Spawns batches, each to its end, and prints the microseconds of a task in the fastest."""
    await spawn_batch(spawn)
    times = []
    for _ in range(int(sys.argv[1])):
        began = time.perf_counter()
        await spawn_batch(spawn)
        times.append(time.perf_counter() - began)
    print(json.dumps({"us": min(times) / BATCH * 1e6}))


async def spawn_batch(spawn: Spawn) -> None:
    """1,000 tasks, until the last has run. Tasks run in the order in which they were spawned."""
    done = asyncio.Event()

    async def last() -> None:
        done.set()

    for _ in range(BATCH - 1):
        spawn(nothing)
    spawn(last)
    await done.wait()
