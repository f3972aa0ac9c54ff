"""The bridge: one asyncio loop beside gevent and threads, for every library that needs one.

::

    greenlet or thread              the bridge's thread
      run(work) -- deque ---------->  one wake-up for all that is in it
      waits                           a task for each
      what came of it <-- deque ----  one wake-up of the hub for all that has ended

The loop runs in a native thread, made when it is first needed; it is uvloop's where that is
installed. Both ways are batched, which is what makes 64 calls at a time cost little more than they
would on asyncio itself. Whoever waits and is ended (killed, out of time) has the coroutine
cancelled, and goes on when that has come to its end.

In a process that gevent has patched the loop gets the originals of what it needs; a function that
it runs in an executor gets a native thread.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import sys
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import cache, partial
from typing import Any, TypeVar

from ..core.context import context
from . import native, pulse
from .base import Kept, Outcome, ThreadSignal, in_thread
from .loops import uvloop_or_none, with_selector

T = TypeVar("T")

WIND_UP = 1.0  # seconds that what still runs has for its end when the bridge is closed

__all__ = ["Bridge", "Call", "CancelledError", "bridge"]


class Call(Kept):
    """A coroutine on the bridge, and what came of it.

    Args:
        work: the coroutine.
        ended: called in the bridge's thread when it has come to its end.
        timeout: seconds that it may take, or None.

    Attributes:
        done: whether it has come to its end.
    """

    __slots__ = (
        *("_begun", "_context", "_task"),
        *("done", "ended", "raised", "result", "timeout", "work"),
    )

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        ended: Callable[[], object],
        timeout: float | None = None,
    ) -> None:
        self.work = work
        self.timeout = timeout
        self.ended = ended
        self.result: Any = None
        self.raised: BaseException | None = None
        self.done = False
        self._context: Context = copy_context()
        self._task: asyncio.Task[None] | None = None
        self._begun = False

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin, in the bridge's thread."""
        self._task = loop.create_task(self._carry_out(), context=self._context)

    async def _carry_out(self) -> None:
        self._begun = True
        try:
            if self.timeout is None:
                self.result = await self.work
            else:
                async with asyncio.timeout(self.timeout):
                    self.result = await self.work
        except BaseException as error:  # noqa: BLE001 - raised again in whoever waits
            self.raised = error
        self.done = True
        self.ended()

    def cancel(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask it to end, in the bridge's thread. May be called again."""
        assert self._task is not None  # noqa: S101 - it was submitted before
        if self._task.cancel() and not self._begun:  # it will never begin
            self._begun = True
            self.work.close()
            self.raised = CancelledError()
            self.done = True
            self.ended()


class Bridge:
    """The thread with the loop."""

    def __init__(self) -> None:
        self._inbox: deque[Callable[[asyncio.AbstractEventLoop], object]] = deque()
        self._waking = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: native.NativeThread | None = None
        self._lock = native.lock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, made and running from its first use on."""
        return self._loop or self._start()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                make = _loop_class(context.loop)
                begun = native.lock()
                begun.acquire()
                outcome: list[Any] = []
                thread = native.start_thread(
                    self._run, make, outcome, begun, name="ginkgo-bridge", block_signals=False
                )
                begun.acquire()  # a moment, once in the life of a process
                if isinstance(outcome[0], BaseException):
                    raise outcome[0]
                self._inbox.clear()
                self._waking = False
                self._thread = thread
                self._loop = outcome[0]
                _close_at_exit()
            return self._loop

    @staticmethod
    def _run(make: Callable[[], Any], outcome: list[Any], begun: Any) -> None:
        try:
            loop = make()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            outcome.append(error)
            begun.release()
            return
        outcome.append(loop)
        loop.call_soon(begun.release)
        ends = pulse.begins("the bridge", functools.partial(_attach, loop))
        try:
            loop.run_forever()
            _wind_up(loop)
        finally:
            ends()
            loop.close()
            _destroy_hub()

    def close(self, timeout: float = 1.5 * WIND_UP) -> bool:
        """Cancel what still runs on the loop, and end the thread. The next use makes another.

        Args:
            timeout: seconds to wait for the end of the thread.

        Returns:
            Whether it has ended.
        """
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None:
            return True
        loop.call_soon_threadsafe(loop.stop)
        return thread.join(timeout)

    def post(self, function: Callable[[asyncio.AbstractEventLoop], object]) -> None:
        """Call `function(loop)` in the bridge's thread; of many at a time one wakes it."""
        loop = self._loop or self._start()
        self._inbox.append(function)
        if not self._waking:
            self._waking = True
            loop.call_soon_threadsafe(self._drain, loop)

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waking = False  # before the look: what comes behind it wakes us again
        for _ in range(len(self._inbox)):
            self._inbox.popleft()(loop)

    def run(
        self,
        work: Coroutine[Any, Any, T],
        timeout: float | None,
        ended: Callable[[], object],
        wait: Callable[[], object],
    ) -> T:
        """Wait for a coroutine, in a greenlet or thread that runs no loop.

        Whatever `wait` raises cancels the coroutine, whose end is waited for before it is raised.

        Args:
            work: the coroutine.
            timeout: seconds, or None.
            ended: called in the bridge's thread when the coroutine has come to its end.
            wait: blocks until `ended` was called, and raises when the wait is broken into. May be
                called again.

        Raises:
            TimeoutError: it took more than `timeout` seconds.
            BaseException: what the coroutine raised, or `wait`.
        """
        call = Call(work, ended, timeout)
        self.post(call.begin)
        reason: BaseException | None = None
        while not call.done:
            try:
                wait()
            except BaseException as raised:  # noqa: BLE001 - raised when the coroutine has ended
                reason = reason or raised
                self.post(call.cancel)
        if reason is None:
            return call.outcome()  # type: ignore[no-any-return]
        try:
            if call.raised is not None and not isinstance(call.raised, CancelledError):
                reason.add_note(f"the coroutine that it cancelled raised {call.raised!r}")
            raise reason
        finally:
            del reason

    def run_in_thread(self, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
        """Wait for a coroutine in a thread that has no part in a backend."""
        signal = ThreadSignal()
        return self.run(work, timeout, signal.set, lambda: signal.wait(None))


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """End what still runs on a loop, in so far as it lets itself be ended."""
    deadline = loop.time() + WIND_UP
    while (tasks := asyncio.all_tasks(loop)) and loop.time() < deadline:
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=deadline - loop.time()))
    loop.run_until_complete(loop.shutdown_asyncgens())


def _destroy_hub() -> None:
    """gevent makes a hub in each thread that makes a socket, where sockets are patched."""
    local = sys.modules.get("gevent._hub_local")
    hub: Any = None if local is None else local.get_hub_if_exists()
    if hub is not None:
        hub.destroy(destroy_loop=True)


def _loop_class(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The class of the loop. Called in the thread that asks, which may import."""
    uvloop = uvloop_or_none(kind)
    base: Any = asyncio.SelectorEventLoop if uvloop is None else uvloop.Loop

    class BridgeLoop(base):  # type: ignore[misc]
        """Its executor is native threads, whatever is patched."""

        def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
            if executor is not None:
                return super().run_in_executor(executor, func, *args)
            future: asyncio.Future[Any] = self.create_future()
            in_thread(partial(func, *args), partial(_tell_soon, self, future))
            return future

    if uvloop is not None:
        return BridgeLoop

    class OwnLoop(BridgeLoop):
        """Its names are resolved by the C library, whatever is patched: uvloop does so itself."""

        async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
            resolve = partial(native.original("socket", "getaddrinfo"), *args, **options)
            return await self.run_in_executor(None, resolve)

    selector = native.original("selectors", "DefaultSelector")
    return lambda: with_selector(OwnLoop, selector())


def _attach(loop: asyncio.AbstractEventLoop, to: pulse.Pulse) -> pulse.Detach:
    return pulse.attach_to_loop(loop, to, {Bridge._run.__code__})


def _tell_soon(loop: Any, future: asyncio.Future[Any], outcome: Outcome) -> None:
    try:
        loop.call_soon_threadsafe(_tell, future, *outcome)
    except RuntimeError:
        pass  # the loop is closed: nobody waits any more


def _tell(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


bridge = Bridge()
"""That of this process."""


@cache
def _close_at_exit() -> None:
    """A loop that is thrown away in the middle of its work leaves warnings and open connections."""
    atexit.register(bridge.close)
