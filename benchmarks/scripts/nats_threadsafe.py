"""nats_threadsafe.py PORT BATCHES: calls of threads by the standard library's own means."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import uvloop

from benchmarks.scripts.nats_calls import measure

loop = uvloop.new_event_loop()
beside = threading.Thread(target=loop.run_forever)
beside.start()


def run(work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


def spawn(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


measure(run, spawn)
loop.call_soon_threadsafe(loop.stop)
beside.join()
loop.close()
