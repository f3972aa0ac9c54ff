"""What ``service.async_`` is on threads: an event, a queue and a lock whose waits can be ended.

Those of the standard library cannot be used for it: a thread that waits in ``queue.Queue.get()``
stays there. These have the same methods, and gevent's.
"""

from __future__ import annotations

import contextvars
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .base import BasePrimitives, Outcome, in_a_loop, result_of, within
from .threading_waits import Stopping, Strand, Timeout, Waiter, current, start_thread

if TYPE_CHECKING:
    pass

T = TypeVar("T")

__all__ = ["Event", "Lock", "Primitives", "Queue"]


class Event:
    """A flag to wait for."""

    __slots__ = ("_flag", "_waiters")

    def __init__(self) -> None:
        self._flag = False
        self._waiters: list[Waiter] = []

    def is_set(self) -> bool:
        """Whether the flag is set."""
        return self._flag

    ready = is_set

    def set(self) -> None:
        """Set the flag, and wake all who wait."""
        self._flag = True
        for waiter in tuple(self._waiters):
            waiter.set()

    def clear(self) -> None:
        """Take the flag back."""
        self._flag = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set; False when `timeout` seconds went by first."""
        if self._flag:
            return True
        waiter = Waiter()
        self._waiters.append(waiter)
        try:
            # Looked at again, now that whoever sets it sees who waits.
            return self._flag or current().wait(waiter, timeout) or self._flag
        finally:
            self._waiters.remove(waiter)


class Queue(Generic[T]):
    """A queue for any number of threads that put and get.

    Args:
        maxsize: how many items it holds before `put` waits; None for no limit.
    """

    def __init__(self, maxsize: int | None = None) -> None:
        self.maxsize = maxsize or None
        self._items: deque[T] = deque()
        self._guard = allocate_lock()
        self._getters: deque[Waiter] = deque()
        self._putters: deque[Waiter] = deque()

    def qsize(self) -> int:
        """How many items it holds."""
        return len(self._items)

    __len__ = qsize

    def empty(self) -> bool:
        """Whether it holds nothing."""
        return not self._items

    def full(self) -> bool:
        """Whether `put` would wait."""
        return self.maxsize is not None and len(self._items) >= self.maxsize

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item in, and wait for room if there is none.

        Raises:
            queue.Full: there was none within `timeout` seconds, or at once when not to `block`.
        """

        def put() -> None:
            self._items.append(item)
            if self._getters:
                self._getters.popleft().set()

        if not self._when(lambda: not self.full(), put, self._putters, block, timeout):
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the first item out, and wait for one if there is none.

        Raises:
            queue.Empty: there was none within `timeout` seconds, or at once when not to `block`.
        """
        got: list[T] = []

        def get() -> None:
            got.append(self._items.popleft())
            if self._putters:
                self._putters.popleft().set()

        if not self._when(self.qsize, get, self._getters, block, timeout):
            raise Empty
        return got[0]

    def put_nowait(self, item: T) -> None:
        """The same as ``put(item, block=False)``."""
        self.put(item, block=False)

    def get_nowait(self) -> T:
        """The same as ``get(block=False)``."""
        return self.get(block=False)

    def _when(
        self,
        possible: Callable[[], object],
        act: Callable[[], None],
        waiters: deque[Waiter],
        block: bool,
        timeout: float | None,
    ) -> bool:
        """Act as soon as that is possible; False when it was not in time."""
        strand = current()
        deadline = _Deadline(timeout)
        while True:
            with self._guard:
                if possible():
                    act()
                    return True
                if not block or deadline.over():
                    return False
                waiter = Waiter()
                waiters.append(waiter)
            try:
                strand.wait(waiter, deadline.left())
            except BaseException:  # who is ended while it waits leaves its turn to the next
                self._pass_on(waiter, waiters)
                raise
            with self._guard:
                if waiter in waiters:  # its time is over
                    waiters.remove(waiter)

    def _pass_on(self, waiter: Waiter, waiters: deque[Waiter]) -> None:
        """Who waited is told to end: if something is there for it, another one has it."""
        with self._guard:
            if waiter in waiters:
                waiters.remove(waiter)
            elif waiters:
                waiters.popleft().set()


class _Deadline:
    def __init__(self, seconds: float | None) -> None:
        from time import monotonic

        self._now = monotonic
        self._at = None if seconds is None else monotonic() + seconds

    def left(self) -> float | None:
        return None if self._at is None else max(0.0, self._at - self._now())

    def over(self) -> bool:
        return self._at is not None and self._now() >= self._at


class Lock:
    """A lock, handed over to who has waited longest."""

    __slots__ = ("_guard", "_held", "_waiters")

    def __init__(self) -> None:
        self._held = False
        self._guard = allocate_lock()
        self._waiters: deque[Waiter] = deque()

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._held

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Take the lock; False when that was not possible within `timeout` seconds."""
        with self._guard:
            if not self._held:
                self._held = True
                return True
            if not blocking:
                return False
            waiter = Waiter()
            self._waiters.append(waiter)
        try:
            current().wait(waiter, None if timeout is None or timeout < 0 else timeout)
        except BaseException:  # who is ended while it waits does not keep the lock
            if not self._withdraw(waiter):  # it was handed over in this very moment
                self.release()
            raise
        return not self._withdraw(waiter)

    def release(self) -> None:
        """Give the lock back.

        Raises:
            RuntimeError: nobody has it.
        """
        with self._guard:
            if not self._held:
                raise RuntimeError("a lock that nobody has cannot be released")
            if self._waiters:
                self._waiters.popleft().set()
            else:
                self._held = False

    def _withdraw(self, waiter: Waiter) -> bool:
        """Wait no longer; False when the lock was handed over already."""
        with self._guard:
            if waiter not in self._waiters:
                return False
            self._waiters.remove(waiter)
            return True

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


class Primitives(BasePrimitives):
    """What ``service.async_`` is on threads: the primitives, in the words of every backend.

    Whatever here waits raises :class:`~ginkgo.async_.threading.Stopping` in a task that is told to
    end, and what a hook is broken into with in a hook whose time is over. A call that blocks
    elsewhere, in a library or in the kernel, is not ended: give it a timeout of its own and look at
    `stopping`, or let :meth:`to_thread` wait for it.
    """

    def sleep(self, seconds: float = 0) -> Any:
        """Let others run for `seconds`. A coroutine function, on the bridge, awaits it."""
        if asyncio := in_a_loop():
            return asyncio.sleep(seconds)
        return current().sleep(seconds)

    def event(self) -> Event:
        """An event: ``set()``, ``clear()``, ``is_set()``, ``wait(timeout=None)``."""
        return Event()

    def queue(self, maxsize: int | None = None) -> Queue[Any]:
        """A queue: ``put(item)``, ``get(timeout=None)``; unbounded unless `maxsize` is given."""
        return Queue(maxsize)

    def lock(self) -> Lock:
        """A lock: ``acquire()``, ``release()``, or ``with``."""
        return Lock()

    def timeout(self, seconds: float | None, exception: Any = None) -> Timeout:
        """``with timeout(5):`` raises TimeoutError, or `exception`, when the time is over.

        On threads it ends what waits by these primitives, and the calls of services: `start`,
        `stop`, `wait`. What blocks in another way goes on.
        """
        return Timeout(seconds, exception)

    def to_thread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function that blocks in another thread, and wait for what it returns.

        That wait can be ended, when the function cannot: the thread is then left to itself. A
        coroutine function, on the bridge, awaits it.
        """
        if asyncio := in_a_loop():
            return asyncio.to_thread(function, *args, **kwargs)
        caller = current()
        strand = Strand(caller.owner)
        context = contextvars.copy_context()
        outcome: list[Outcome] = []
        ended = Waiter()

        def call() -> None:
            try:
                outcome.append((context.run(function, *args, **kwargs), None))
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                outcome.append((None, error))
            ended.set()

        start_thread(strand, call, f"{self._service.path}: to_thread")
        try:
            caller.wait(ended)
        except BaseException:  # who is ended while it waits ends what it waits for
            strand.interrupt(Stopping())
            raise
        return result_of(outcome.pop())

    def run(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> Any:
        """Wait for a coroutine: it runs on the bridge, a thread with an asyncio loop.

        A task that is told to end cancels it.

        Raises:
            TimeoutError: it took more than `timeout` seconds.
        """
        if in_a_loop():
            return within(timeout, work)
        from .bridge import bridge

        waiter = Waiter()
        return bridge.run(work, timeout, waiter.set, partial(current().wait, waiter))
