"""What the backends share: running the core's coroutines where nothing suspends.

On gevent and threading every primitive blocks the greenlet or thread that calls it, and returns an
awaitable that is already done. So a coroutine of the core runs from its first line to its last in
one ``send``: see :func:`run_to_end`.
"""

from __future__ import annotations

import functools
import importlib
import sys
import weakref
from _thread import TIMEOUT_MAX
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.errors import ApplicationFailed
from . import native

if TYPE_CHECKING:
    from ..core.backend import Operation
    from ..core.service import Service

T = TypeVar("T")


class _Life:
    """Something that a thread keeps for as long as it lives."""


_local: Any = None


def thread_life() -> weakref.ref[_Life]:
    """A reference that is dead when the calling thread is."""
    global _local
    if _local is None:
        _local = native.original("_thread", "_local")()
    life = _local.life = getattr(_local, "life", None) or _Life()
    return weakref.ref(life)


def thread_has_ended(service: Service) -> ApplicationFailed:
    """The error for who asks something of a tree whose thread is gone."""
    return ApplicationFailed(
        f"{service.path} lives in a thread that has ended",
        hint="Let that thread wait in serve_forever().",
    )


def named(name: str, module: str, homes: Mapping[str, str]) -> Any:
    """The attribute `name` of a module that shows what is written in others, imported now.

    Args:
        module: the module that is asked for it.
        homes: in which module each of the names is written.

    Raises:
        AttributeError: it has no such attribute.
    """
    if name in homes:
        return getattr(importlib.import_module(homes[name]), name)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


class ThreadSignal:
    """What a thread waits for that has no part in a backend: a lock of the operating system."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake whoever waits. May be called again."""
        if self._lock.locked():
            self._lock.release()

    def wait(self, timeout: float | None) -> bool:
        """Block the calling thread; False when `timeout` seconds went by first."""
        seconds = -1 if timeout is None else min(max(0.0, timeout), TIMEOUT_MAX)
        return self._lock.acquire(timeout=seconds)


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose awaits all block instead of suspending.

    Raises:
        RuntimeError: the coroutine did suspend: it awaited something of another backend.
    """
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise RuntimeError(f"{work!r} suspended on a backend that blocks")


def in_a_loop() -> Any:
    """The module asyncio if one of its loops runs in the calling thread, or None."""
    asyncio = sys.modules.get("asyncio")
    return asyncio if asyncio and asyncio._get_running_loop() is not None else None


def beside_the_loop(drive: Callable[..., Any], *args: Any) -> Any:
    """Carry an operation out for a coroutine on the bridge, which may await it.

    To wait for it in the loop's own thread would hold up what the operation itself may need there.
    """
    import asyncio

    return asyncio.get_running_loop().run_in_executor(None, drive, *args)


Outcome = tuple[Any, BaseException | None]
"""What a function returned, or raised."""


def in_thread(function: Callable[[], Any], tell: Callable[[Outcome], object]) -> None:
    """Call a function that blocks in a native thread of its own, which calls `tell` at its end.

    No such thread keeps the process from its end.
    """

    def job() -> None:
        outcome: Outcome
        try:
            outcome = function(), None
        except BaseException as error:  # noqa: BLE001 - raised again in whoever waits
            outcome = None, error
        tell(outcome)

    native.start_thread(job, name="ginkgo-job", block_signals=False)


def result_of(outcome: Outcome) -> Any:
    """Return or raise what came of a function."""
    value, error = outcome
    if error is None:
        return value
    try:
        raise error
    finally:
        del error, outcome  # the traceback holds this frame


class Kept:
    """Something that runs elsewhere, and keeps what came of it for who waits.

    Attributes:
        result: what it returned.
        raised: what it raised, or None.
    """

    __slots__ = ()

    result: Any
    raised: BaseException | None

    def outcome(self) -> Any:
        """Return what it returned, or raise what it raised; once."""
        error, self.raised = self.raised, None  # type: ignore[misc] # a slot of the subclass
        if error is None:
            return self.result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


def call_there(post: Callable[[Callable[[], None]], object], function: Callable[[], T]) -> T:
    """Call a function in a tree's own thread, from another one, and return what it returns.

    Args:
        post: has something called there soon.
    """
    outcomes: list[Outcome] = []
    called = ThreadSignal()

    def call() -> None:
        try:
            outcomes.append((function(), None))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            outcomes.append((None, error))
        called.set()

    post(call)
    called.wait(None)
    return result_of(outcomes.pop())  # type: ignore[no-any-return]


async def within(timeout: float | None, work: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine in the loop that runs, at most `timeout` seconds."""
    import asyncio

    async with asyncio.timeout(timeout):
        return await work


def on_bridge(service: Service, function: Callable[..., Any]) -> Callable[..., Any]:
    """A coroutine function as a function that blocks: it runs on the bridge."""

    @functools.wraps(function)  # messages about the task name what the user wrote
    def call(*args: Any, **kwargs: Any) -> Any:
        from .bridge import CancelledError

        try:
            return service.async_.run(function(*args, **kwargs))
        except CancelledError:
            return None  # it has ended itself

    return call


class BasePrimitives:
    """What ``service.async_`` has on every backend; how it waits is the backend's."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.spawn = service.spawn
        self.spawn_later = service.spawn_later

    @property
    def stopping(self) -> bool:
        """Whether the service is on its way to its end, or there."""
        return self._service._state in ("stopping", "stopped", "failed")


class Visitor:
    """What a thread asks a tree by that has not begun to live in any thread.

    Nothing of such a tree runs: to stop or to reload it is no work, and what can be waited for is
    that another thread starts it.
    """

    here = False
    cancellation = ()

    def drive(self, operation: Operation, work: Coroutine[Any, Any, T]) -> T:
        return run_to_end(work)

    background = drive

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return run_to_end(work)

    def post(self, function: Callable[..., object], *args: object) -> None:
        function(*args)

    def signal(self) -> ThreadSignal:
        return ThreadSignal()

    async def wait(self, signal: ThreadSignal, timeout: float | None) -> bool:
        return signal.wait(timeout)
