"""The gevent backend: services in blocking style, on greenlets.

An operation on a tree runs in a greenlet of its own, and whoever asked for it waits. So it goes on
when the asker is killed, and its hooks can be broken into from the hub without harm to anyone else.
See :mod:`ginkgo.async_.gevent_operations`.

The servers and clients of :mod:`ginkgo.servers` can be imported from here, as in 0.6::

    from ginkgo.async_.gevent import StreamServer, StreamClient, WSGIServer
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import gevent
from gevent import getcurrent
from gevent._hub_local import get_hub_if_exists
from gevent.event import Event
from gevent.hub import Waiter

from ..core.backend import Backend, Operation, Signal
from ..core.tasks import is_coroutine_function, refuse_spawn, task_failed, task_name
from ..core.waiting import at_rest
from .base import (
    Outcome,
    ThreadSignal,
    Visitor,
    beside_the_loop,
    call_there,
    in_a_loop,
    in_thread,
    named,
    on_bridge,
    result_of,
    run_to_end,
    thread_has_ended,
    thread_life,
)
from .gevent_operations import OperationGreenlet
from .gevent_primitives import Primitives
from .pulse import Detach, Pulse, attach_to_hub

if TYPE_CHECKING:
    from ..core.service import Service
    from .bridge import Bridge

    _Greenlet = gevent.Greenlet[..., Any]
else:
    _Greenlet = gevent.Greenlet

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SERVERS = {
    "ASGIServer": "ginkgo.servers.asgi",
    "BackdoorServer": "ginkgo.servers.backdoor",
    "DatagramServer": "ginkgo.servers.datagram",
    "ServerWrapper": "ginkgo.servers.wrapper",
    "StreamClient": "ginkgo.servers.client",
    "StreamServer": "ginkgo.servers.stream",
    "WSGIServer": "ginkgo.servers.wsgi",
}


def __getattr__(name: str) -> Any:
    """The servers, loaded when they are first named: pywsgi alone takes 26 ms to import."""
    return named(name, __name__, _SERVERS)


def backend(visiting: bool = False) -> Backend:
    """The backend of the calling thread: each thread has a hub of its own.

    Args:
        visiting: do not make a hub for a thread that has none; a :class:`~.base.Visitor` will do.
    """
    if visiting and get_hub_if_exists() is None:
        return cast(Backend, Visitor())
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

    __slots__ = ("service",)  # one dict less to make for each

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
            task_failed(service, function, error)
        finally:
            if service._tasks is not None:
                service._tasks.discard(self)

    def kill(self, *args: Any, **kwargs: Any) -> None:
        super().kill(*args, **kwargs)
        if self.dead and self.service._tasks is not None:  # it had not begun
            self.service._tasks.discard(self)

    def successful(self) -> bool:
        """Whether the task has ended, and not by an error."""
        return self.raised is None and bool(super().successful())

    @property
    def exception(self) -> BaseException | None:
        """What the task raised, or None."""
        return self.raised

    @property
    def exc_info(self) -> Any:
        """The same as ``sys.exc_info()`` gave it: ``get()`` raises this."""
        error = self.raised
        return super().exc_info if error is None else (type(error), error, error.__traceback__)


def _call(function: Callable[..., object], args: tuple[object, ...] = ()) -> None:
    try:
        function(*args)
    except Exception:  # somebody's callback: it must not end the hub for the others
        logger.exception("What the loop was to call raised: %r", function)


class _Timer:
    """One call that is due later."""

    __slots__ = ("_timer",)

    def __init__(self, timer: Any) -> None:
        self._timer = timer

    def cancel(self) -> None:
        self._timer.close()


class GeventBackend:
    """See :class:`ginkgo.core.backend.Backend`."""

    name = "gevent"
    cancellation = ()  # a greenlet that is killed in serve_forever leaves the tree running

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._loop = hub.loop
        self._posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        # Started before anyone can send: a send to a watcher that is not started is lost.
        self._wakeup = hub.loop.async_(ref=False)
        self._wakeup.start(self._run_posted)
        self._waking = False
        self._holding = 0
        self._bridge: Bridge | None = None  # imported when it is first needed
        self._life = thread_life()

    @property
    def here(self) -> bool:
        return get_hub_if_exists() is self._hub

    @property
    def alive(self) -> bool:
        return self._life() is not None

    # -- operations ------------------------------------------------------------------------------

    def drive(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Any:
        if get_hub_if_exists() is not self._hub:
            return self._drive_from_thread(operation, work)
        current = getcurrent()
        if current is self._hub:  # a callback of the loop cannot wait
            return self.background(operation, work)
        greenlet = self._begin(operation, work)
        operation.caller = current
        try:
            self._keep_alive()
            greenlet.released.wait()
        except BaseException:  # whatever ends the wait, GreenletExit too; it is raised again
            self._leave(operation)
            raise
        finally:
            self._let_go()
            operation.caller = None
            for task in operation.left_out:
                task.kill(block=False)
        return None if greenlet.let_go else greenlet.outcome()

    def background(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> None:
        self._begin(operation, work).let_go = True

    def _begin(
        self,
        operation: Operation,
        work: Coroutine[Any, Any, Any],
        released: Event | ThreadSignal | None = None,
    ) -> OperationGreenlet:
        greenlet = OperationGreenlet(operation, work, released or Event())
        operation.handle = greenlet
        greenlet.start()
        return greenlet

    def _leave(self, operation: Operation) -> None:
        """Whoever waited for the operation does so no more."""
        operation.handle.let_go = True
        if operation.kind == "start":
            operation.abandon(operation.caller_ended())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return run_to_end(work)

    def release(self, operation: Operation) -> None:
        operation.handle.let_go = True
        operation.handle.released.set()

    def interrupt(self, operation: Operation) -> None:
        self._loop.run_callback(operation.handle.interrupt)

    async def call(
        self, operation: Operation, service: Service, hook: str, timeout: float | None
    ) -> object:
        return operation.handle.call(service, hook, timeout)

    # -- threads ---------------------------------------------------------------------------------

    def post(self, function: Callable[..., object], *args: object) -> None:
        if get_hub_if_exists() is self._hub:
            function(*args)
            return
        self._posted.append((function, args))
        if not self._waking:  # of many at a time one wakes the hub
            self._waking = True
            self._wakeup.send()

    def _run_posted(self) -> None:
        self._waking = False  # before the look: what comes behind it wakes us again
        for _ in range(len(self._posted)):
            _call(*self._posted.popleft())

    def _drive_from_thread(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Any:
        if in_a_loop():
            return beside_the_loop(self._drive_from_thread, operation, work)
        if operation.kind in ("stop", "reload") and at_rest(operation.service):
            return run_to_end(work)  # the hub's thread may not come round any more
        if not self.alive:
            work.close()
            raise thread_has_ended(operation.service)
        released = ThreadSignal()
        self.post(self._begin, operation, work, released)
        try:
            released.wait(None)
        except BaseException:  # Ctrl+C in the main thread
            self.post(self._leave, operation)
            raise
        return operation.handle.outcome()

    def watch(self, fd: int, callback: Callable[[], object]) -> Any:
        watcher = self._loop.io(fd, 1)  # libev's READ
        watcher.start(callback)
        return watcher

    def attach_pulse(self, pulse: Pulse) -> Detach:
        return attach_to_hub(self._loop, pulse)

    # -- waiting ---------------------------------------------------------------------------------

    def now(self) -> float:
        return time.monotonic()

    def later(self, seconds: float, callback: Callable[[], object]) -> _Timer:
        self._loop.update_now()  # else it counts from when this turn of the loop began
        timer = self._loop.timer(seconds)
        timer.start(_call, callback)
        return _Timer(timer)

    def signal(self) -> Signal:
        return Event() if get_hub_if_exists() is self._hub else ThreadSignal()

    async def wait(self, signal: Any, timeout: float | None) -> bool:
        if isinstance(signal, ThreadSignal):
            return signal.wait(timeout)
        self._keep_alive()
        try:
            return bool(signal.wait(timeout))
        finally:
            self._let_go()

    def _keep_alive(self) -> None:
        """While somebody waits, another thread may be what ends the wait: that is no deadlock."""
        self._holding += 1
        if self._holding == 1:
            self._wakeup.ref = True

    def _let_go(self) -> None:
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
        if is_coroutine_function(function):
            function = on_bridge(service, function)
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

    def _spawn_from_thread(self, service: Service, *what: Any) -> Task:
        def spawn() -> Task:
            refuse_spawn(service)  # it may have stopped since it was asked
            return self.spawn(service, *what)

        if not self.alive:
            raise thread_has_ended(service)
        return call_there(self.post, spawn)

    def cancel(self, task: Task) -> None:
        task.kill(block=False)

    async def join(self, tasks: Iterable[Task], timeout: float) -> list[Task]:
        waiting = list(tasks)
        gevent.joinall(waiting, timeout=timeout)
        return [task for task in waiting if not task.dead]

    def describe(self, task: Task) -> str:
        if task.gr_frame is None:
            return f"{task_name(task.args[1])}, which has not begun" if task.args else task.name
        stack = list(traceback.walk_stack(task.gr_frame))
        begun = [frame for frame, _ in stack if frame.f_code is Task._run.__code__]
        name = task_name(begun[0].f_locals["function"]) if begun else task.name
        return f"{name}\n{''.join(traceback.format_stack(task.gr_frame)).rstrip()}"

    def primitives(self, service: Service) -> Primitives:
        return Primitives(service)

    def run_on_bridge(self, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
        """Wait in a greenlet for a coroutine on the bridge."""
        if getcurrent() is self._hub:
            work.close()
            raise RuntimeError("run() blocks, and a callback of the loop cannot wait")
        if self._bridge is None:
            from .bridge import bridge

            self._bridge = bridge
        waiter: Waiter[None] = Waiter(self._hub)
        ended = partial(self.post, waiter.switch, None)
        self._keep_alive()
        try:
            return self._bridge.run(work, timeout, ended, waiter.get)
        finally:
            self._let_go()

    def run_in_thread(self, function: Callable[[], T]) -> T:
        """Wait in a greenlet for what a native thread calls."""
        waiter: Waiter[Outcome] = Waiter(self._hub)
        in_thread(function, partial(self.post, waiter.switch))
        self._keep_alive()
        try:
            return result_of(waiter.get())  # type: ignore[no-any-return]
        finally:
            self._let_go()
