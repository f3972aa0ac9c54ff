"""The worlds of asyncio, for :mod:`tests.dialects`: its own loop, and uvloop.

The loop is that of the test's thread, which runs when a test awaits something, and rests while the
test is a plain function.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any

from ginkgo.async_ import asyncio as backend_module
from ginkgo.async_.base import run_to_end
from ginkgo.async_.workers import workers
from ginkgo.core.context import context

# Seconds that any one test may take; `make soak` has a long one.
LIMIT = 20.0 + 3 * float(os.environ.get("GINKGO_SOAK", "0"))
THREADS = 0.2  # seconds that functions in worker threads have to come to their end


def _begin() -> None:
    """libuv keeps a pipe, and the threads that look names up, for as long as the process lives."""
    loop = backend_module.new_loop("uvloop")
    loop.run_until_complete(loop.getaddrinfo("localhost", 80))
    loop.close()


_begin()


class AsyncioAsker:
    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> None:
        self._error: BaseException | None = None
        self._task = loop.create_task(self._run(work))
        self._work = work

    async def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await work
        except BaseException as error:
            self._error = error
            return None

    @property
    def ended(self) -> bool:
        return self._task.done()

    async def result(self) -> Any:
        await asyncio.wait([self._task])
        if self._task.cancelled():  # before it began
            self._work.close()
            return None
        if self._error is not None:
            raise self._error
        return self._task.result()

    def kill(self) -> None:
        self._task.cancel()


class AsyncioGate:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    def open(self) -> None:
        self._event.set()

    def shut(self) -> None:
        self._event.clear()

    async def passed(self, timeout: float | None = None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                return await self._event.wait()
        except TimeoutError:
            return False


class AsyncioWorld:
    """Tasks of a loop; a test is one."""

    name = "asyncio"
    turns = loop = True
    Ended = asyncio.CancelledError

    def __init__(self, kind: str = "asyncio") -> None:
        self._before = context.backend, context.loop
        context.backend, context.loop = "asyncio", kind
        self._gates: list[AsyncioGate] = []
        self.threads: list[threading.Thread] = []
        self.closing = False
        self._backend: Any = backend_module.backend()
        self._loop: asyncio.AbstractEventLoop = self._backend.loop

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        self._loop.run_until_complete(self._limited(work))

    async def _limited(self, work: Coroutine[Any, Any, Any]) -> Any:
        async with self.limit(LIMIT, AssertionError(f"the test hangs: over {LIMIT} s")):
            return await work

    async def play(self, script: Any, *args: Any) -> Any:
        """Carry a script out within a hook or task."""
        return await script(*args)

    def task(self, script: Any) -> Callable[..., Any]:
        """A script as what can be spawned; it has the script's short name."""

        async def carry_out(*args: Any) -> Any:
            return await self.play(script, *args)

        carry_out.__qualname__ = script.__name__
        return carry_out

    def ended(self, task: Any) -> bool:
        """Whether a service's task is over."""
        return bool(task.done())

    def kill(self, task: Any) -> None:
        """End a service's task from outside."""
        task.cancel()

    async def result(self, task: Any) -> Any:
        """Wait for a service's task; return or raise what came of it."""
        return await task

    def ask(self, function: Callable[..., Any], *args: Any) -> AsyncioAsker:
        return AsyncioAsker(self._loop, self._answer(function, *args))

    async def _answer(self, function: Callable[..., Any], *args: Any) -> Any:
        answer = function(*args)
        return await answer if inspect.isawaitable(answer) else answer

    def gate(self) -> AsyncioGate:
        """A gate; those that the test has not opened are opened at its end."""
        gate = AsyncioGate()
        self._gates.append(gate)
        return gate

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Have a function called in a callback of the loop, which cannot wait."""
        self._loop.call_soon(function, *args)

    def still(self) -> AbstractContextManager[Any]:
        """Keep the trees as they are for as long as the body takes: here they are."""
        return nullcontext()

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in a thread that Ginkgo does not know."""
        ended = self._loop.create_future()

        def call() -> None:
            try:
                value = function(*args)
                outcome = (run_to_end(value) if inspect.iscoroutine(value) else value), None
            except BaseException as raised:
                outcome = None, raised
            self._loop.call_soon_threadsafe(tell, outcome)

        def tell(outcome: Any) -> None:
            if not ended.done():
                ended.set_result(outcome)

        thread = threading.Thread(target=call, daemon=True)
        self.threads.append(thread)
        thread.start()
        value, error = await ended
        if error is not None:
            raise error
        return value

    async def breathe(self) -> None:
        """Let all that can run do so, as long as it leads from one to the next."""
        deadline = time.monotonic() + THREADS
        for _ in range(3):
            for _ in range(20):
                await asyncio.sleep(0)
            while workers.busy and time.monotonic() < deadline:
                await asyncio.sleep(0.001)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def limit(self, seconds: float, error: Any) -> AsyncIterator[None]:
        """Raise `error` in the body when `seconds` are over."""
        try:
            async with asyncio.timeout(seconds) as limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise error from None
            raise

    def close(self) -> None:
        """The test is over: what hangs on purpose may end."""
        self.closing = True
        for gate in self._gates:
            gate.open()

    def leave(self) -> None:
        """Nothing runs any more."""
        self.run(self.breathe())
        context.backend, context.loop = self._before
        self._backend.close()
        workers.end_idle()


class UvloopWorld(AsyncioWorld):
    """The same on uvloop."""

    def __init__(self) -> None:
        super().__init__("uvloop")
