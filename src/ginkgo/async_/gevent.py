"""The gevent backend: services in blocking style, on greenlets.

An operation on a tree runs in a greenlet of its own, and whoever asked for it waits. So it goes on
when the asker is killed, and its hooks can be broken into from the hub without harm to anyone else.
A hook costs one timer, re-armed, and no more: ten thousand services start in a tenth of a second.

The servers and clients of :mod:`ginkgo.servers` can be imported from here, as in 0.6::

    from ginkgo.async_.gevent import StreamServer, StreamClient, WSGIServer
"""

from __future__ import annotations

import importlib
import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gevent
from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.queue import Queue

from ..core.backend import Expired, Interruption, Operation
from ..core.tasks import task_failed, task_name
from . import native
from .base import repeat, run_to_end

if TYPE_CHECKING:
    from ..core.service import Service

    _Greenlet = gevent.Greenlet[..., Any]
else:
    _Greenlet = gevent.Greenlet

logger = logging.getLogger(__name__)

_SERVERS = {
    "BackdoorServer": "ginkgo.servers.backdoor",
    "DatagramServer": "ginkgo.servers.datagram",
    "ServerWrapper": "ginkgo.servers.wrapper",
    "StreamClient": "ginkgo.servers.client",
    "StreamServer": "ginkgo.servers.stream",
    "WSGIServer": "ginkgo.servers.wsgi",
}


def __getattr__(name: str) -> Any:
    """The servers, loaded when they are first named: pywsgi alone takes 26 ms to import."""
    if name in _SERVERS:
        return getattr(importlib.import_module(_SERVERS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def backend() -> GeventBackend:
    """The backend of the calling thread: each thread has a hub of its own."""
    hub: Any = gevent.get_hub()
    mine: GeventBackend | None = getattr(hub, "ginkgo_backend", None)
    if mine is None:
        mine = hub.ginkgo_backend = GeventBackend(hub)
    return mine


class Task(_Greenlet):
    """A greenlet that belongs to a service.

    It is what 0.6 returned from ``spawn``, a greenlet: ``get()``, ``join()``, ``kill()``. An error
    in it is told by its service, and raised by ``get()``; gevent does not print it as well.
    """

    raised: BaseException | None = None
    service: Service

    def _run(
        self,
        service: Service,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        try:
            return function(*args, **kwargs)
        except gevent.GreenletExit as ended:
            return ended
        except BaseException as error:  # noqa: BLE001 - told by its service, never lost
            self.raised = error
            task_failed(service, task_name(function), error)
        finally:
            if service._tasks is not None:
                service._tasks.discard(self)

    def kill(self, *args: Any, **kwargs: Any) -> None:
        super().kill(*args, **kwargs)
        if self.dead and self.service._tasks is not None:  # it had not begun
            self.service._tasks.discard(self)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """What the task returned; raises what it raised, or gevent.Timeout."""
        value = super().get(block, timeout)
        if self.raised is not None:
            raise self.raised
        return value

    def successful(self) -> bool:
        """Whether the task has ended, and not by an error."""
        return self.raised is None and bool(super().successful())

    @property
    def exception(self) -> BaseException | None:
        """What the task raised, or None."""
        return self.raised


class _OperationGreenlet(_Greenlet):
    """Carries one operation out."""

    def __init__(self, operation: Operation, work: Coroutine[Any, Any, Any], hub: Any) -> None:
        super().__init__()
        self.operation = operation
        self.work = work
        self.released = Event()
        self.let_go = False
        self.timer: Any = None
        self.timer_seconds = 0.0
        self.in_hook = False
        self.raised: BaseException | None = None
        self.result: Any = None

    def _run(self) -> None:
        try:
            self.result = run_to_end(self.work)
        except BaseException as error:  # noqa: BLE001 - raised again in whoever waits
            self.raised = error
            if self.let_go:
                _tell(self.operation, error)
        finally:
            self.in_hook = False
            if self.timer is not None:
                self.timer.stop()
                self.timer.close()
                self.timer = None
            self.released.set()


def _tell(operation: Operation, error: BaseException) -> None:
    """An operation that nobody waits for has raised."""
    logger.error("%s: %s failed: %s", operation.service.path, operation.kind, error, exc_info=error)


class GeventBackend:
    """See :class:`ginkgo.core.backend.Backend`."""

    name = "gevent"

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._loop = hub.loop
        self._posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        # Started before anyone can send: a send to a watcher that is not started is lost.
        self._wakeup = hub.loop.async_(ref=False)
        self._wakeup.start(self._run_posted)
        self._holding = 0

    # -- operations ------------------------------------------------------------------------------

    def drive(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Any:
        if get_hub_if_exists() is not self._hub:
            return self._drive_from_thread(operation, work)
        current = getcurrent()
        if current is self._hub:  # a callback of the loop cannot wait
            return self.background(operation, work)
        greenlet = _OperationGreenlet(operation, work, self._hub)
        operation.caller = current
        operation.handle = greenlet
        greenlet.start()
        try:
            with self._kept_alive():
                greenlet.released.wait()
        except BaseException:
            greenlet.let_go = True
            if operation.kind == "start":
                operation.abandon(_cancelled(operation))
            raise
        if operation.left_out and isinstance(current, Task):
            current.kill(block=False)
        if greenlet.let_go:
            return None
        if greenlet.raised is not None:
            try:
                raise greenlet.raised
            finally:
                greenlet.raised = None
        return greenlet.result

    def background(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> None:
        greenlet = _OperationGreenlet(operation, work, self._hub)
        greenlet.let_go = True
        operation.handle = greenlet
        greenlet.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        if get_hub_if_exists() is not self._hub:
            return self._in_thread(lambda: gevent.spawn(run_to_end, work))
        return run_to_end(work)

    def release(self, operation: Operation) -> None:
        operation.handle.let_go = True
        operation.handle.released.set()

    def interrupt(self, operation: Operation) -> None:
        self._loop.run_callback(self._break_into, operation)

    @staticmethod
    def _break_into(operation: Operation) -> None:
        greenlet = operation.handle
        if operation.interruptible and operation.abandoned is not None and not greenlet.dead:
            greenlet.throw(Interruption())

    async def call(
        self, operation: Operation, hook: Callable[[], object], timeout: float | None
    ) -> object:
        greenlet: _OperationGreenlet = operation.handle
        if timeout is None:
            return hook()
        if greenlet.timer is None or greenlet.timer_seconds != timeout:
            if greenlet.timer is not None:
                greenlet.timer.stop()
                greenlet.timer.close()
            # Repeating, for a hook that swallows what is thrown into it.
            greenlet.timer = self._loop.timer(timeout, timeout)
            greenlet.timer_seconds = timeout
        greenlet.timer.again(self._time_is_over, greenlet)
        greenlet.in_hook = True
        try:
            return hook()
        finally:
            greenlet.in_hook = False

    @staticmethod
    def _time_is_over(greenlet: _OperationGreenlet) -> None:
        if greenlet.in_hook and not greenlet.dead:
            greenlet.throw(Expired())

    # -- threads ---------------------------------------------------------------------------------

    def post(self, function: Callable[..., object], *args: object) -> None:
        if get_hub_if_exists() is self._hub:
            function(*args)
            return
        self._posted.append((function, args))
        self._wakeup.send()

    def _run_posted(self) -> None:
        while self._posted:
            function, args = self._posted.popleft()
            function(*args)

    def _drive_from_thread(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Any:
        greenlet = _OperationGreenlet(operation, work, self._hub)
        operation.handle = greenlet
        self._in_thread(lambda: greenlet, start=True)
        if greenlet.raised is not None:
            raise greenlet.raised
        return greenlet.result

    def _in_thread(self, make: Callable[[], _Greenlet], start: bool = False) -> Any:
        """Run a greenlet in the hub's thread, and block the calling thread until it has ended."""
        done = native.lock()
        done.acquire()
        result: list[Any] = []

        def begin() -> None:
            greenlet = make()
            greenlet.rawlink(finish)
            if start:
                greenlet.start()

        def finish(greenlet: _Greenlet) -> None:
            result.append(greenlet)
            done.release()

        self.post(begin)
        done.acquire()
        return result[0].get()

    def watch(self, fd: int, callback: Callable[[], object]) -> Any:
        watcher = self._loop.io(fd, 1)  # libev's READ
        watcher.start(callback)
        return watcher

    # -- waiting ---------------------------------------------------------------------------------

    def now(self) -> float:
        return time.monotonic()

    def signal(self) -> Event:
        return Event()

    async def wait(self, signal: Any, timeout: float | None) -> bool:
        with self._kept_alive():
            return bool(signal.wait(timeout))

    @contextmanager
    def _kept_alive(self) -> Iterator[None]:
        """While somebody waits, another thread may be what ends the wait: that is no deadlock."""
        self._holding += 1
        self._wakeup.ref = True
        try:
            yield
        finally:
            self._holding -= 1
            if not self._holding:
                self._wakeup.ref = False

    # -- tasks -----------------------------------------------------------------------------------

    def spawn(
        self,
        service: Service,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        delay: float | None = None,
    ) -> Task:
        if get_hub_if_exists() is not self._hub:
            return self._spawn_from_thread(service, function, args, kwargs, delay)
        task: Task = Task(None, service, function, args, kwargs)  # type: ignore[call-overload]
        task.service = service
        tasks = service._tasks
        if tasks is None:
            service._tasks = {task}
        else:
            tasks.add(task)
        if delay is None:
            task.start()
        else:
            task.start_later(delay)
        return task

    def _spawn_from_thread(self, *what: Any) -> Task:
        made: list[Task] = []
        done = native.lock()
        done.acquire()

        def make() -> None:
            made.append(self.spawn(*what))
            done.release()

        self.post(make)
        done.acquire()
        return made[0]

    def every(
        self,
        service: Service,
        seconds: float,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        return self.spawn(service, repeat, (service, seconds, function, args, kwargs), {})

    def cancel(self, task: Task) -> None:
        task.kill(block=False)

    async def join(self, tasks: Iterable[Task], timeout: float) -> list[Task]:
        waiting = list(tasks)
        gevent.joinall(waiting, timeout=timeout)
        return [task for task in waiting if not task.dead]

    def describe(self, task: Task) -> str:
        frame = task.gr_frame
        where = "".join(traceback.format_stack(frame)) if frame is not None else "not begun\n"
        return f"{task.name}\n{where.rstrip()}"

    def primitives(self, service: Service) -> Primitives:
        return Primitives(service, self._hub)


def _cancelled(operation: Operation) -> BaseException:
    from ..core.failure import Abandoned

    service = operation.service
    return Abandoned(f"{service.path}: whoever started it was ended meanwhile", service)


class Primitives:
    """What ``service.async_`` is on gevent: the primitives, in the words of every backend."""

    def __init__(self, service: Service, hub: Any) -> None:
        self._service = service
        self._hub = hub
        self.spawn = service.spawn
        self.spawn_later = service.spawn_later

    def sleep(self, seconds: float = 0) -> None:
        """Let others run for `seconds`."""
        gevent.sleep(seconds)

    def event(self) -> Event:
        """An event: ``set()``, ``clear()``, ``is_set()``, ``wait(timeout=None)``."""
        return Event()

    def queue(self, maxsize: int | None = None) -> Queue[Any]:
        """A queue: ``put(item)``, ``get(timeout=None)``; unbounded unless `maxsize` is given."""
        return Queue(maxsize or None)

    def lock(self) -> BoundedSemaphore:
        """A lock: ``acquire()``, ``release()``, or ``with``."""
        return BoundedSemaphore(1)

    def timeout(self, seconds: float | None, exception: Any = None) -> gevent.Timeout:
        """``with timeout(5):`` raises gevent.Timeout, or `exception`, when the time is over."""
        return gevent.Timeout(seconds, exception)

    def to_thread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function that blocks in a real thread, and wait for what it returns."""
        return self._hub.threadpool.apply(function, args, kwargs)

    @property
    def stopping(self) -> bool:
        """Whether the service is on its way to its end, or there."""
        return self._service._state in ("stopping", "stopped", "failed")
