"""One way to write a test, for every backend.

A test of the lifecycle is a coroutine function that knows no event loop, like the core itself: its
only awaits are the methods of its `world` and :func:`done`. A backend that blocks runs it to its
end; asyncio awaits it. So each test is written once::

    async def test_a_service_that_starts_is_ready(world):
        service = world.service()
        await done(service.start())
        assert service.ready

A new backend is one more class in :data:`WORLDS`.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import Any, Protocol

import gevent
from gevent.event import Event
from tests.asyncio_world import AsyncioWorld, UvloopWorld
from tests.threads_world import ThreadingWorld

from ginkgo.async_.base import run_to_end

# Seconds that any one test may take; `make soak` has a long one.
LIMIT = 20.0 + 3 * float(os.environ.get("GINKGO_SOAK", "0"))

Script = Callable[..., Coroutine[Any, Any, Any]]


async def done(value: Any) -> Any:
    """What a lifecycle call gives: on a backend that blocks it has happened, else it is awaited."""
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def within(manager: Any) -> AsyncIterator[Any]:
    """``with`` a timeout or a lock: on asyncio ``async with``."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


class Asker(Protocol):
    """Somebody who calls something and waits for what comes of it; no task of any service."""

    ended: bool

    async def result(self) -> Any:
        """Wait for the end; return or raise what came of it."""

    def kill(self) -> None:
        """End it while it waits."""


class Gate(Protocol):
    """What a test opens by hand, and hooks wait for."""

    def open(self) -> None: ...
    def shut(self) -> None: ...

    async def passed(self, timeout: float | None = None) -> bool:
        """Wait until it is open; False when `timeout` seconds were over first."""


class World(Protocol):
    """A backend, in the words of the tests."""

    name: str
    closing: bool
    turns: bool
    """Whether a task runs only when whoever runs has to wait."""
    loop: bool
    """Whether a tree lives in one thread, to which the calls of others are posted."""
    threads: list[threading.Thread]
    """Those of :meth:`in_thread`: they go on when whoever waits for them is killed."""
    Ended: type[BaseException]
    """What is raised in a task that is told to end."""

    def run(self, work: Coroutine[Any, Any, Any]) -> Any: ...
    def play(self, script: Script, *args: Any) -> Any: ...
    def task(self, script: Script) -> Callable[..., Any]: ...
    def ended(self, task: Any) -> bool: ...
    def kill(self, task: Any) -> None: ...
    async def result(self, task: Any) -> Any: ...
    def ask(self, function: Callable[..., Any], *args: Any) -> Asker: ...
    def gate(self) -> Gate: ...
    def soon(self, function: Callable[..., Any], *args: Any) -> None: ...
    def still(self) -> AbstractContextManager[Any]: ...
    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any: ...
    async def breathe(self) -> None: ...
    async def sleep(self, seconds: float) -> None: ...
    def close(self) -> None: ...
    def leave(self) -> None: ...


class _GeventAsker:
    def __init__(self, work: Callable[[], Any]) -> None:
        self._error: BaseException | None = None
        self._greenlet = gevent.spawn(self._run, work)

    def _run(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except BaseException as error:
            self._error = error
            return None

    @property
    def ended(self) -> bool:
        return bool(self._greenlet.ready())

    async def result(self) -> Any:
        value = self._greenlet.get()
        if self._error is not None:
            raise self._error
        return value

    def kill(self) -> None:
        self._greenlet.kill(block=False)


class _GeventGate:
    def __init__(self) -> None:
        self._event = Event()

    def open(self) -> None:
        self._event.set()

    def shut(self) -> None:
        self._event.clear()

    async def passed(self, timeout: float | None = None) -> bool:
        return bool(self._event.wait(timeout))


class GeventWorld:
    """Greenlets; a test is one, the main one."""

    name = "gevent"
    turns = loop = True
    Ended = gevent.GreenletExit

    def __init__(self) -> None:
        self._gates: list[_GeventGate] = []
        self.threads: list[threading.Thread] = []
        self.closing = False

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        with gevent.Timeout(LIMIT, AssertionError(f"the test hangs: over {LIMIT} s")):
            return run_to_end(work)

    def play(self, script: Script, *args: Any) -> Any:
        """Carry a script out within a hook or task."""
        return run_to_end(script(*args))

    def task(self, script: Script) -> Callable[..., Any]:
        """A script as what can be spawned; it has the script's short name."""

        def carry_out(*args: Any) -> Any:
            return self.play(script, *args)

        carry_out.__qualname__ = script.__name__
        return carry_out

    def ended(self, task: Any) -> bool:
        """Whether a service's task is over."""
        return bool(task.ready())

    def kill(self, task: Any) -> None:
        """End a service's task from outside."""
        task.kill(block=False)

    async def result(self, task: Any) -> Any:
        """Wait for a service's task; return or raise what came of it."""
        return task.get()

    def ask(self, function: Callable[..., Any], *args: Any) -> _GeventAsker:
        return _GeventAsker(lambda: self._answer(function, *args))

    def _answer(self, function: Callable[..., Any], *args: Any) -> Any:
        answer = function(*args)
        return run_to_end(answer) if inspect.iscoroutine(answer) else answer

    def gate(self) -> _GeventGate:
        """A gate; those that the test has not opened are opened at its end."""
        gate = _GeventGate()
        self._gates.append(gate)
        return gate

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Have a function called in a callback of the loop, which cannot wait."""
        gevent.get_hub().loop.run_callback(function, *args)

    def still(self) -> AbstractContextManager[Any]:
        """Keep the trees as they are for as long as the body takes: here they are."""
        return nullcontext()

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in a native thread, which must not be a gevent thread."""
        outcome: list[Any] = []
        error: list[BaseException] = []
        loop = gevent.get_hub().loop
        ended = Event()
        wakeup = loop.async_()
        wakeup.start(ended.set)

        def call() -> None:
            try:
                outcome.append(function(*args))
            except BaseException as raised:
                error.append(raised)
            wakeup.send()

        thread = threading.Thread(target=call, daemon=True)
        self.threads.append(thread)
        thread.start()
        try:
            ended.wait()
        finally:
            wakeup.stop()
            wakeup.close()
        thread.join()
        if error:
            raise error[0]
        return outcome[0]

    async def breathe(self) -> None:
        """Let all that can run do so, as long as it leads from one to the next."""
        for _ in range(20):
            gevent.sleep(0)

    async def sleep(self, seconds: float) -> None:
        gevent.sleep(seconds)

    @contextmanager
    def limit(self, seconds: float, error: type[BaseException]) -> Iterator[None]:
        """Raise `error` in the body when `seconds` are over."""
        with gevent.Timeout(seconds, error):
            yield

    def close(self) -> None:
        """The test is over: what hangs on purpose may end."""
        self.closing = True
        for gate in self._gates:
            gate.open()

    def leave(self) -> None:
        """Nothing runs any more."""


WORLDS: dict[str, Callable[[], World]] = {
    "gevent": GeventWorld,
    "asyncio": AsyncioWorld,
    "uvloop": UvloopWorld,
    "threading": ThreadingWorld,
}
