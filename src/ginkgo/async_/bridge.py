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
import functools
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar

from ..core.context import context
from . import native, pulse
from .base import ThreadSignal
from .loops import uvloop_or_none, with_selector

T = TypeVar("T")

__all__ = ["Bridge", "Call", "CancelledError", "bridge"]


class Call:
    """A coroutine on the bridge, and what came of it.

    Args:
        work: the coroutine.
        ended: called in the bridge's thread when it has come to its end.
        timeout: seconds that it may take, or None.

    Attributes:
        over: whether it has come to its end.
        result: what it returned.
        error: what it raised, or None.
    """

    __slots__ = (
        "_begun",
        "_context",
        "_task",
        "_tell",
        "error",
        "over",
        "result",
        "timeout",
        "work",
    )

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        ended: Callable[[], object],
        timeout: float | None = None,
    ) -> None:
        self.work = work
        self.timeout = timeout
        self.over = False
        self._tell = ended
        self.result: Any = None
        self.error: BaseException | None = None
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
            self.error = error
        self._ended()

    def cancel(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ask it to end, in the bridge's thread. May be called again."""
        assert self._task is not None  # noqa: S101 - it was submitted before
        if self._task.cancel() and not self._begun:  # it will never begin
            self._begun = True
            self.work.close()
            self.error = CancelledError()
            self._ended()

    def _ended(self) -> None:
        self.over = True  # before it is told: who is told looks
        self._tell()

    def outcome(self) -> Any:
        """Return what it returned, or raise what it raised."""
        error, self.error = self.error, None
        if error is None:
            return self.result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


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
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._start()
        assert self._loop is not None  # noqa: S101 - for the type checker
        return self._loop

    def _start(self) -> None:
        make = _loop_class(context.loop)
        begun = native.lock()
        begun.acquire()
        outcome: list[Any] = []
        self._thread = native.start_thread(self._run, make, outcome, begun, name="ginkgo-bridge")
        begun.acquire()  # a moment, once in the life of a process
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        self._loop = outcome[0]

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
        finally:
            ends()
            loop.close()

    def close(self, timeout: float = 5.0) -> None:
        """End the thread, with all that runs on it. The next use makes another."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout)

    def post(self, function: Callable[[asyncio.AbstractEventLoop], object]) -> None:
        """Call `function(loop)` in the bridge's thread; of many at a time one wakes it."""
        loop = self.loop
        self._inbox.append(function)
        if not self._waking:
            self._waking = True
            loop.call_soon_threadsafe(self._drain, loop)

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waking = False  # before the look: what comes behind it wakes us again
        while self._inbox:
            self._inbox.popleft()(loop)

    def run(
        self,
        work: Coroutine[Any, Any, T],
        timeout: float | None = None,
        signal: Any = None,
        wait: Callable[[Any], object] | None = None,
    ) -> T:
        """Wait for a coroutine in a thread.

        Args:
            work: the coroutine.
            timeout: seconds, or None.
            signal: has a ``set()``, which is called in the bridge's thread at the end; None for a
                lock of the operating system.
            wait: waits for `signal`, may be called again, and raises when the wait is ended.

        Raises:
            TimeoutError: it took more than `timeout` seconds.
            BaseException: what the coroutine raised, or `wait`.
        """
        if asyncio._get_running_loop() is not None:
            work.close()
            raise RuntimeError("run() blocks, and would hold up the loop that it is called in")
        signal = ThreadSignal() if signal is None else signal
        if wait is None:
            wait = _wait
        call = Call(work, signal.set, timeout)
        self.post(call.begin)
        return wait_for(self, call, lambda: wait(signal))  # type: ignore[no-any-return]


def _wait(signal: ThreadSignal) -> None:
    signal.wait(None)


def wait_for(on: Bridge, call: Call, wait: Callable[[], object]) -> Any:
    """Wait for a call, and return what came of it.

    Whatever `wait` raises cancels the coroutine, whose end is waited for before it is raised.
    """
    reason: BaseException | None = None
    while True:
        try:
            wait()
            break
        except BaseException as raised:  # noqa: BLE001 - raised when the coroutine has ended
            reason = reason or raised
            if call.over:  # the wake that told of it may be the one that was taken for this
                break
            on.post(call.cancel)
    if reason is None:
        return call.outcome()
    try:
        if call.error is not None and not isinstance(call.error, CancelledError):
            reason.add_note(f"the coroutine that it cancelled raised {call.error!r}")
        raise reason
    finally:
        del reason


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
            native.start_thread(_job, self, future, func, args, name="ginkgo-job")
            return future

    if uvloop is not None:
        return BridgeLoop
    selector = native.original("selectors", "DefaultSelector")
    return lambda: with_selector(BridgeLoop, selector())


def _attach(loop: asyncio.AbstractEventLoop, to: pulse.Pulse) -> pulse.Detach:
    return pulse.attach_to_loop(loop, to, {Bridge._run.__code__})


def _job(loop: Any, future: asyncio.Future[Any], function: Any, args: tuple[Any, ...]) -> None:
    error: BaseException | None = None
    result = None
    try:
        result = function(*args)
    except BaseException as raised:  # noqa: BLE001 - raised again where it is awaited
        error = raised
    try:
        loop.call_soon_threadsafe(_tell, future, result, error)
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
