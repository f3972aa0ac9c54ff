"""asyncio_spawn.py BATCHES: tasks of `loop.create_task` on uvloop, kept in a set while they run."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from benchmarks.scripts.asyncio_batches import measure_spawn


async def main() -> None:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[Any]] = set()

    def spawn(function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        task = loop.create_task(function())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await measure_spawn(spawn)


uvloop.run(main())
