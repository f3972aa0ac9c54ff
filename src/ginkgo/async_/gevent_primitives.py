"""The primitives on gevent: what ``service.async_`` is there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import gevent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.queue import Queue

from .base import BasePrimitives, in_a_loop, within

if TYPE_CHECKING:
    pass

T = TypeVar("T")


class Timeout(gevent.Timeout, TimeoutError):
    """What ``async_.timeout`` raises: caught as TimeoutError, as on every backend."""


class Primitives(BasePrimitives):
    """What ``service.async_`` is on gevent: the primitives, in the words of every backend."""

    def _loop_elsewhere(self) -> Any:
        """The module asyncio if the caller is in a loop of another thread: that of the bridge.

        In the tree's own thread a loop may be that of any greenlet, which has called asyncio.run().
        """
        asyncio = in_a_loop()
        return None if asyncio and self._service.backend_in_use.here else asyncio

    def sleep(self, seconds: float = 0) -> Any:
        """Let others run for `seconds`. A coroutine function, on the bridge, awaits it."""
        if asyncio := self._loop_elsewhere():
            return asyncio.sleep(seconds)
        return gevent.sleep(seconds)

    def event(self) -> Event:
        """An event: ``set()``, ``clear()``, ``is_set()``, ``wait(timeout=None)``."""
        return Event()

    def queue(self, maxsize: int | None = None) -> Queue[Any]:
        """A queue: ``put(item)``, ``get(timeout=None)``; unbounded unless `maxsize` is given."""
        return Queue(maxsize or None)

    def lock(self) -> BoundedSemaphore:
        """A lock: ``acquire()``, ``release()``, or ``with``."""
        return BoundedSemaphore(1)

    def timeout(self, seconds: float | None, exception: Any = None) -> Timeout:
        """``with timeout(5):`` raises TimeoutError, or `exception`, when the time is over.

        It is a gevent.Timeout too: ``exception=False`` ends the body and raises nothing.
        """
        return Timeout(seconds, exception)

    def to_thread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function that blocks in a real thread, and wait for what it returns.

        That wait can be ended, when the function cannot: the thread is then left to itself. A
        coroutine function, on the bridge, awaits it.
        """
        if asyncio := self._loop_elsewhere():
            return asyncio.to_thread(function, *args, **kwargs)
        if get_hub_if_exists() is None:  # this is a real thread
            return function(*args, **kwargs)
        from .gevent import backend

        mine: Any = backend()
        return mine.run_in_thread(partial(copy_context().run, function, *args, **kwargs))

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> Any:
        """Wait for a coroutine: it runs on the bridge, a thread with an asyncio loop.

        Raises:
            TimeoutError: it took more than `timeout` seconds.
        """
        if self._loop_elsewhere():
            return within(timeout, work)
        if get_hub_if_exists() is None:  # this is a real thread
            from .bridge import bridge

            return bridge.run_in_thread(work, timeout)
        from .gevent import backend

        mine: Any = backend()
        return mine.run_on_bridge(work, timeout)
