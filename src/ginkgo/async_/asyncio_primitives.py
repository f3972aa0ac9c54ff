"""What ``service.async_`` is on asyncio: the primitives, in the words of every backend.

They are asyncio's own, with the timeouts that those of the other backends have. An event or a queue
may be made before there is a loop, in a constructor.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from .base import BasePrimitives, result_of, within
from .workers import in_thread, sleep_in_thread

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class Event(asyncio.Event):
    """``set()``, ``clear()``, ``is_set()``, ``await wait(timeout=None)``."""

    async def wait(self, timeout: float | None = None) -> bool:  # type: ignore[override]
        """Wait until it is set; False when `timeout` seconds were over first."""
        try:
            async with asyncio.timeout(timeout):
                await super().wait()
        except TimeoutError:
            return False
        return True


class Queue(asyncio.Queue[Any]):
    """``await put(item)``, ``await get(timeout=None)``."""

    async def get(self, timeout: float | None = None) -> Any:
        """Take the next item.

        Raises:
            queue.Empty: there was none within `timeout` seconds.
        """
        if timeout is None:
            return await super().get()
        try:
            async with asyncio.timeout(timeout):
                return await super().get()
        except TimeoutError:
            raise queue.Empty from None

    async def put(self, item: Any, timeout: float | None = None) -> None:
        """Add an item.

        Raises:
            queue.Full: there was no room for it within `timeout` seconds.
        """
        if timeout is None:
            return await super().put(item)
        try:
            async with asyncio.timeout(timeout):
                return await super().put(item)
        except TimeoutError:
            raise queue.Full from None


class Primitives(BasePrimitives):
    """``service.async_``: all that takes time is awaited."""

    def sleep(self, seconds: float = 0) -> Any:
        """Let others run for `seconds`: awaited in the loop, and in a worker thread a plain call.

        There it ends at once when the service stops, by ``asyncio.CancelledError``.
        """
        if asyncio._get_running_loop() is not None:
            return asyncio.sleep(seconds)
        return sleep_in_thread(seconds)

    def event(self) -> Event:
        """An event: ``set()``, ``clear()``, ``is_set()``, ``await wait(timeout=None)``."""
        return Event()

    def queue(self, maxsize: int | None = None) -> Queue:
        """A queue: ``await put(item)``, ``await get(timeout=None)``; unbounded by default."""
        return Queue(maxsize or 0)

    def lock(self) -> asyncio.Lock:
        """A lock, for ``async with``."""
        return asyncio.Lock()

    def timeout(self, seconds: float | None, exception: Any = None) -> Any:
        """``async with timeout(5):`` raises TimeoutError, or `exception`, when the time is over.

        ``exception=False`` ends the body and raises nothing.
        """
        return asyncio.timeout(seconds) if exception is None else _timeout(seconds, exception)

    async def to_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a function that blocks in a thread, and wait for what it returns."""
        if asyncio._get_running_loop() is None:  # this is a thread already
            return function(*args, **kwargs)
        return result_of(await in_thread(function, args, kwargs))  # type: ignore[no-any-return]

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> Any:
        """Wait for a coroutine: awaited in the loop, and from a worker thread a plain call.

        Raises:
            TimeoutError: it took more than `timeout` seconds.
        """
        if asyncio._get_running_loop() is not None:
            return within(timeout, work)
        loop = self._service.backend_in_use.loop  # type: ignore[attr-defined]
        return asyncio.run_coroutine_threadsafe(within(timeout, work), loop).result()


@asynccontextmanager
async def _timeout(seconds: float | None, exception: Any) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        if exception is not False:
            raise exception from None
