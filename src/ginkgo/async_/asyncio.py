"""The asyncio backend: services with ``async def``, on asyncio's own loop or on uvloop.

An operation on a tree runs in a task of its own; a lifecycle call gives what can be awaited, and
has begun even if it is not. A thread that has no part in the loop blocks in the same calls. Where
no loop runs in the thread, as in a plain script, the call runs one for as long as it lasts. See
:mod:`ginkgo.async_.asyncio_operations`.

The servers and clients for this backend can be imported from here::

    from ginkgo.async_.asyncio import StreamServer, StreamClient, ASGIServer
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import time
from _thread import get_ident
from asyncio import _get_running_loop as running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from inspect import CO_COROUTINE
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..core.backend import Backend, Interruption, Operation, Signal
from ..core.context import context
from ..core.errors import UsageError
from ..core.tasks import is_coroutine_function, refuse_spawn, task_name
from ..core.waiting import at_rest
from .asyncio_operations import (
    Driven,
    OperationRun,
    OperationTask,
    deliver_to,
    leave,
    stack_of,
)
from .asyncio_primitives import Primitives
from .asyncio_tasks import run, run_in_thread, run_later
from .base import (
    Outcome,
    ThreadSignal,
    Visitor,
    call_there,
    named,
    result_of,
    run_to_end,
    thread_has_ended,
    thread_life,
)
from .loops import new_loop
from .pulse import Detach, Pulse, attach_to_loop
from .workers import asked_by

if TYPE_CHECKING:
    from ..core.service import Service

    Task = asyncio.Task[Any]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SERVERS = {
    "ASGIServer": "ginkgo.servers.asgi",
    "DatagramServer": "ginkgo.servers.asyncio_datagram",
    "ProtocolServer": "ginkgo.servers.asyncio_stream",
    "StreamClient": "ginkgo.servers.asyncio_client",
    "StreamServer": "ginkgo.servers.asyncio_stream",
    "WSGIServer": "ginkgo.servers.asyncio_wsgi",
}


def __getattr__(name: str) -> Any:
    """The servers, loaded when they are first named."""
    return named(name, __name__, _SERVERS)


def backend(visiting: bool = False) -> Backend:
    """The backend of the loop that runs in the calling thread, or of the thread's own loop.

    Args:
        visiting: do not make a loop for a thread that has none; a :class:`~.base.Visitor` will do.
    """
    loop = running_loop()
    if loop is not None:
        mine: AsyncioBackend | None = getattr(loop, "ginkgo_backend", None)
        if mine is None:
            mine = loop.ginkgo_backend = AsyncioBackend(loop)  # type: ignore[attr-defined]
        return mine
    own: _Own | None = getattr(_threads, "own", None)
    if own is not None and own.backend.alive:
        return own.backend
    if visiting:
        return cast(Backend, Visitor())
    _threads.own = _Own(AsyncioBackend(new_loop(context.loop)))
    return cast(Backend, _threads.own.backend)


class _Own:
    """A thread's own loop, closed when the thread ends."""

    def __init__(self, backend: AsyncioBackend) -> None:
        self.backend = backend
        backend.loop.ginkgo_backend = backend  # type: ignore[attr-defined]
        if threading.current_thread() is threading.main_thread():
            atexit.register(backend.close)

    def __del__(self) -> None:
        self.backend.close()


_threads = threading.local()


class AsyncioBackend:
    """See :class:`ginkgo.core.backend.Backend`.

    Attributes:
        loop: the loop in which the trees live.
    """

    name = "asyncio"
    cancellation: type[BaseException] = asyncio.CancelledError
    wakes_for_signals = True  # Python's own handlers run also while the loop waits

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._thread = get_ident()
        self._life = thread_life()
        self._posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._waking = False
        self._runs: set[OperationRun] = set()

    @property
    def here(self) -> bool:
        return running_loop() is self.loop or self._at_rest_here

    @property
    def alive(self) -> bool:
        return self._life() is not None and not self.loop.is_closed()

    @property
    def _at_rest_here(self) -> bool:
        """Whether the loop is this thread's, and nothing runs in it now: we may run it."""
        return (
            self._thread == get_ident()
            and running_loop() is None
            and not self.loop.is_closed()
            and not self.loop.is_running()
        )

    def close(self) -> None:
        """Close the loop, if it does not run."""
        if not self.loop.is_running() and not self.loop.is_closed():
            self.loop.close()

    # -- operations ------------------------------------------------------------------------------

    def drive(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Any:
        running = running_loop()
        if running is self.loop:
            return self._begin(operation, work)
        if self._at_rest_here:
            driven = self._begin(operation, work)
            try:
                self.loop.run_until_complete(_end_of(driven))
                return driven.result()
            except BaseException:  # whatever ends the wait, Ctrl+C too; it is raised again
                if not driven.done():
                    leave(operation)
                raise
        if operation.kind in ("stop", "reload") and at_rest(operation.service):
            result = run_to_end(work)
            return result if running is None else _already(running, result)
        if not self.alive:
            work.close()
            raise thread_has_ended(operation.service)
        if running is None:
            return self._drive_from_thread(operation, work)
        return self._drive_from_loop(running, operation, work)

    def _begin(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Driven:
        driven = Driven(operation, self.loop)
        self._run(operation, work, deliver_to(driven))
        return driven

    def _run(self, operation: Operation, work: Coroutine[Any, Any, Any], deliver: Any) -> None:
        run = OperationRun(operation, work, self.loop, deliver)
        self._runs.add(run)  # the loop keeps no task alive
        run.task.add_done_callback(lambda _: self._runs.discard(run))

    def background(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> None:
        self._run(operation, work, None)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        if running_loop() is not None:
            return work  # the caller awaits it
        if self._at_rest_here:
            return self.loop.run_until_complete(work)
        return run_to_end(work)

    def release(self, operation: Operation) -> None:
        operation.handle.release()

    def interrupt(self, operation: Operation) -> None:
        operation.handle.interrupt()

    async def call(
        self, operation: Operation, service: Service, hook: str, timeout: float | None
    ) -> object:
        result = getattr(service, hook)()
        if isinstance(result, Coroutine):
            return await operation.handle.call(service, hook, result, timeout)
        if isinstance(result, Driven):  # ``def do_start(self): return self.other.start()``
            return await operation.handle.call(service, hook, _waits_for(result), timeout)
        return result

    # -- threads ---------------------------------------------------------------------------------

    def post(self, function: Callable[..., object], *args: object) -> None:
        if running_loop() is self.loop or self._at_rest_here:
            function(*args)
            return
        self._posted.append((function, args))
        if not self._waking:
            self._waking = True
            try:
                self.loop.call_soon_threadsafe(self._run_posted)
            except RuntimeError:
                self._posted.clear()  # the loop is closed: nothing lives there any more

    def _run_posted(self) -> None:
        self._waking = False
        while self._posted:
            function, args = self._posted.popleft()
            try:
                function(*args)
            except Exception:  # somebody's callback: it must not end the loop for the others
                logger.exception("What was posted to the loop raised: %r", function)

    def _drive_from_thread(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Any:
        released = ThreadSignal()
        outcomes: list[Outcome] = []
        operation.caller = asked_by.get()  # the task that waits for this thread

        def deliver(result: Any, error: BaseException | None) -> None:
            outcomes.append((result, error))
            released.set()
            operation.caller = None
            for task in operation.left_out:  # it has its call back, and ends now
                task.cancel()

        self.post(self._run, operation, work, deliver)
        try:
            released.wait(None)
        except BaseException:  # Ctrl+C in the main thread
            self.post(leave, operation)
            raise
        return result_of(outcomes.pop())

    def _drive_from_loop(
        self,
        running: asyncio.AbstractEventLoop,
        operation: Operation,
        work: Coroutine[Any, Any, Any],
    ) -> asyncio.Future[Any]:
        """The caller has another loop, in which it must not block."""
        if self._thread == get_ident():
            work.close()
            raise UsageError(
                f"{operation.service.path} lives in another event loop of this thread",
                hint="Make the service, and spawn in it, inside of the loop that starts it.",
            )
        future: asyncio.Future[Any] = running.create_future()

        def tell(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                self.post(leave, operation)
            elif error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def deliver(result: Any, error: BaseException | None) -> None:
            running.call_soon_threadsafe(tell, result, error)

        self.post(self._run, operation, work, deliver)
        return future

    def watch(self, fd: int, callback: Callable[[], object]) -> Any:
        self.loop.add_reader(fd, callback)
        return _Watcher(self.loop, fd)

    def attach_pulse(self, pulse: Pulse) -> Detach:
        runs = {AsyncioBackend.run.__code__, AsyncioBackend.drive.__code__}
        return attach_to_loop(self.loop, pulse, runs)

    # -- waiting ---------------------------------------------------------------------------------

    def now(self) -> float:
        return time.monotonic()

    def later(self, seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
        return self.loop.call_later(seconds, callback)

    def signal(self) -> Signal:
        loop = running_loop()
        return ThreadSignal() if loop is None else LoopSignal(loop)

    async def wait(self, signal: Any, timeout: float | None) -> bool:
        if isinstance(signal, ThreadSignal):
            return signal.wait(timeout)
        task = asyncio.current_task()
        run: OperationRun | None = None
        if isinstance(task, OperationTask):
            operation = task.operation
            if operation.interruptible and operation.abandoned is not None:
                raise Interruption
            run = operation.handle
            run.waiting = signal.future
        timer = None
        if timeout is not None:
            timer = signal.loop.call_later(max(0.0, timeout), signal.expire)
        try:
            return bool(await signal.future)
        finally:
            if timer is not None:
                timer.cancel()
            if run is not None:
                run.waiting = None

    # -- tasks -----------------------------------------------------------------------------------

    def spawn(
        self,
        service: Service,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        delay: float | None = None,
    ) -> Task:
        loop = self.loop
        # running_loop() alone would cost a tenth of the task: it asks the kernel for the pid.
        if (get_ident() != self._thread or not loop.is_running()) and not self.here:
            return self._spawn_from_thread(service, function, args, kwargs, delay)
        code = getattr(function, "__code__", None)  # nearly always: the call below costs 5 %
        if delay is not None:
            work = run_later(delay, service, function, args, kwargs)
        elif code.co_flags & CO_COROUTINE if code else is_coroutine_function(function):
            work = run(service, function, args, kwargs)
        else:
            work = run_in_thread(service, function, args, kwargs)
        task = loop.create_task(work)
        tasks = service._tasks
        if tasks is None:
            tasks = service._tasks = set()
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    def _spawn_from_thread(self, service: Service, *what: Any) -> Task:
        def spawn() -> Task:
            refuse_spawn(service)  # it may have stopped since it was asked
            return self.spawn(service, *what)

        if not self.alive:
            raise thread_has_ended(service)
        if self._thread == get_ident():
            raise UsageError(
                f"{service.path} lives in another event loop of this thread",
                hint="Spawn inside of the loop that starts the service.",
            )
        return call_there(self.post, spawn)

    def cancel(self, task: Task) -> None:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.cancel()

    async def join(self, tasks: Iterable[Task], timeout: float) -> list[Task]:
        _, pending = await asyncio.wait(tasks, timeout=timeout)
        return list(pending)

    def describe(self, task: Task) -> str:
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is None:
            return task.get_name()
        name = task_name(frame.f_locals.get("function", task.get_name()))
        return f"{name}\n{stack_of(task)}"

    def primitives(self, service: Service) -> Primitives:
        return Primitives(service)


class LoopSignal:
    """What a task waits for; set in its own loop's thread, or from any other."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[bool] = loop.create_future()

    def set(self) -> None:
        if running_loop() is self.loop or not self.loop.is_running():
            self._end(True)
        else:
            self.loop.call_soon_threadsafe(self._end, True)

    def expire(self) -> None:
        """Its time is over."""
        self._end(False)

    def _end(self, value: bool) -> None:
        if not self.future.done():
            self.future.set_result(value)


class _Watcher:
    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop = loop
        self._fd = fd

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)


def _end_of(driven: Driven) -> asyncio.Future[None]:
    """Done when the call is, whatever came of it: for a SystemExit no loop would be stopped."""
    ended: asyncio.Future[None] = driven.get_loop().create_future()
    driven.add_done_callback(lambda _: ended.set_result(None))
    return ended


def _already(loop: asyncio.AbstractEventLoop, result: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = loop.create_future()
    future.set_result(result)
    return future


async def _waits_for(driven: Driven) -> Any:
    return await driven
