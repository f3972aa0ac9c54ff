"""What the scripts of the bridge share: the calls, and the clocks around them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import nats

AT_A_TIME: Final = 64
EACH: Final = 50
"""Calls that each of them makes in one batch."""

BODY: Final = b"x" * 128


def connect() -> Coroutine[Any, Any, Any]:
    """Connects to the server at the port that the command line names."""
    return nats.connect(f"nats://127.0.0.1:{sys.argv[1]}")


def call(client: Any) -> Coroutine[Any, Any, Any]:
    """One request, and its answer."""
    return client.request("echo", BODY, timeout=10)


class Batches:
    """The figures of as many batches as the command line says, after one that is not counted.

    The fastest and the cheapest are told: what disturbs a batch only ever adds to it.
    """

    def __init__(self) -> None:
        self.count = int(sys.argv[2])
        self._calls = AT_A_TIME * EACH
        self._seconds: list[float] = []
        self._cpu: list[float] = []

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *exc_info: object) -> None:
        wall, cpu = self._began
        self._seconds.append(time.perf_counter() - wall)
        self._cpu.append(time.process_time() - cpu)

    def tell(self) -> None:
        """Prints the calls a second, and the microseconds of CPU for each, of all threads."""
        rate = self._calls / min(self._seconds[1:])
        print(json.dumps({"rate": rate, "cpu_us": min(self._cpu[1:]) / self._calls * 1e6}))


def measure(run: Callable[[Any], Any], spawn: Callable[[Callable[[], None]], Any]) -> None:
    """Makes calls in blocking style.

    Args:
        run: runs a coroutine on the loop, and waits for it.
        spawn: begins what makes calls one after the other; what it returns has a `join()`.
    """
    batches = Batches()
    client = run(connect())

    def calls() -> None:
        for _ in range(EACH):
            run(call(client))

    for _ in range(batches.count + 1):
        with batches:
            for each in [spawn(calls) for _ in range(AT_A_TIME)]:
                each.join()
    run(client.close())
    batches.tell()


async def measure_on_loop() -> None:
    """Makes the same calls on the loop itself."""
    batches = Batches()
    client = await connect()

    async def calls() -> None:
        for _ in range(EACH):
            await call(client)

    for _ in range(batches.count + 1):
        with batches:
            await asyncio.gather(*(calls() for _ in range(AT_A_TIME)))
    await client.close()
    batches.tell()
