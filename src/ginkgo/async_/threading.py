"""The threading backend: services in blocking style, on real threads, without greenlets.

For libraries that block in C, or that must not be patched. The core of Ginkgo relies on nobody else
touching a tree between two of its waits. Here that is reached by a monitor, one lock for the
process: it is held while the core's own code runs, and released inside everything that waits. What
gevent does in its hub ("post", the end of a task) is done at once, in the thread that asks for it,
under that lock. Hooks and tasks never hold it.

===============  ==========================================================================
a task           is a daemon thread. When its service stops, what it waits for by ``self.async_``
                 raises :class:`Stopping`; what it computes looks at ``self.async_.stopping``
a hook           runs in a thread that is watched: when its time is over, what it waits for by
                 ``self.async_`` raises; if it does not end by that, the log shows where it is,
                 and it is left behind
what blocks      in another way cannot be ended by anybody. At its deadline its thread is left
                 behind, shown in the log, and does not keep the process from its end
signals          arrive in the main thread, which waits for a lock: Python runs their handlers
                 there, and nothing polls
===============  ==========================================================================

The servers and clients can be imported from here::

    from ginkgo.async_.threading import StreamServer, StreamClient, WSGIServer
"""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..core.backend import Operation
from ..core.errors import ConfigError
from ..core.tasks import is_coroutine_function, refuse_spawn, task_failed, task_name
from ..core.waiting import at_rest
from .base import beside_the_loop, in_a_loop, named, on_bridge, run_to_end
from .pulse import Detach, Pulse
from .threading_operations import Monitor, OperationThread
from .threading_primitives import Event, Primitives
from .threading_waits import Stopping, Strand, Timeout, Waiter, current, stack_of, start_thread
from .threading_watches import Timer, Watches

if TYPE_CHECKING:
    from ..core.service import Service

logger = logging.getLogger(__name__)

__all__ = ["Stopping", "Task", "ThreadingBackend", "Timeout", "backend"]

_SERVERS = {
    "ASGIServer": "ginkgo.servers.asgi",
    "DatagramServer": "ginkgo.servers.threading_datagram",
    "StreamClient": "ginkgo.servers.threading_client",
    "StreamServer": "ginkgo.servers.threading_stream",
    "WSGIServer": "ginkgo.servers.threading_wsgi",
}


def __getattr__(name: str) -> Any:
    """The servers, loaded when they are first named."""
    return named(name, __name__, _SERVERS)


class Task:
    """A thread that belongs to a service.

    It has the methods of a greenlet, as 0.6 returned one from ``spawn``.

    Attributes:
        value: what it returned; None while it runs, and when it was told to end.
        exception: what it raised, or None.
    """

    def __init__(
        self,
        monitor: Monitor,
        service: Service,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        delay: float | None,
    ) -> None:
        self.service = service
        self.value: Any = None
        self.exception: BaseException | None = None
        self.name = task_name(function)
        self._monitor = monitor
        self._call = function, args, kwargs
        self._delay = delay
        self._begun = False
        self._context = contextvars.copy_context()
        self._strand = Strand(self)
        self._ended = Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin. Called once, by who spawned it."""
        try:
            name = f"{self.service.path}: {self.name}"
            self._thread = start_thread(self._strand, self._run, name)
        except BaseException:  # no thread was to be had: no trace of the task stays
            self._forget()
            raise

    def _run(self) -> None:
        function, args, kwargs = self._call
        try:
            if self._delay is not None:
                self._strand.sleep(self._delay)
            self._strand.check()
            self._begun = True
            self.value = self._context.run(function, *args, **kwargs)
        except Stopping:
            pass  # told to end: that is what it does
        except BaseException as error:  # noqa: BLE001 - told by its service, never lost
            self.exception = error
            with self._monitor:
                task_failed(self.service, function, error)
        finally:
            self._forget()

    def _forget(self) -> None:
        with self._monitor:
            if self.service._tasks is not None:
                self.service._tasks.discard(self)
        del self._call
        self._ended.set()

    def ask_to_end(self) -> None:
        """Raise :class:`Stopping` in what it waits for, or in its next wait."""
        self._strand.interrupt(Stopping())

    def kill(self, block: bool = True, timeout: float | None = None) -> None:
        """Ask the task to end, and wait for that, at most `timeout` seconds."""
        self.ask_to_end()
        if current() is self._strand:
            self._strand.check()
        elif block:
            self.join(timeout)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the task; False when `timeout` seconds went by first."""
        return self._ended.wait(timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Wait for the end of the task, and return or raise what it did.

        Raises:
            TimeoutError: it has not ended, within `timeout` seconds or when not to `block`.
        """
        if not self.join(timeout if block else 0):
            raise TimeoutError(f"task {self.name} has not ended")
        if self.exception is not None:
            raise self.exception
        return self.value

    def ready(self) -> bool:
        """Whether the task has ended."""
        return self._ended.is_set()

    @property
    def dead(self) -> bool:
        """The same as :meth:`ready`."""
        return self._ended.is_set()

    def successful(self) -> bool:
        """Whether the task has ended, and not by an error."""
        return self._ended.is_set() and self.exception is None

    def describe(self) -> str:
        """Its name, and where it is."""
        if not self._begun:
            return f"{self.name}, which has not begun"
        return f"{self.name}\n{stack_of(self._thread)}".rstrip()

    def __repr__(self) -> str:
        return f"<Task {self.name} of {self.service.path}{' ended' if self.dead else ''}>"


class ThreadingBackend:
    """See :class:`ginkgo.core.backend.Backend`. There is one for the process."""

    name = "threading"
    # Who is ended while it waits in serve_forever leaves the tree running.
    cancellation: type[BaseException] | tuple[()] = ()
    here = True  # a tree lives in no particular thread
    alive = True

    def __init__(self) -> None:
        self.monitor = Monitor()
        self._watches = Watches(self.monitor)

    # -- operations ------------------------------------------------------------------------------

    def drive(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Any:
        if in_a_loop():
            return beside_the_loop(self.drive, operation, work)
        strand = current()
        if self.monitor.mine:
            if not strand.runs:  # what is called under the monitor cannot wait
                return self.background(operation, work)
            with self.monitor.released():
                return self.drive(operation, work)
        with self.monitor:
            if operation.kind in ("stop", "reload") and at_rest(operation.service):
                return run_to_end(work)  # nothing runs, so that there is nothing to wait for
        handle = operation.handle = OperationThread(operation, work, self.monitor)
        operation.caller = strand.owner
        handle.start()
        try:
            strand.wait(handle.released)
        except BaseException:  # whatever ends the wait, Ctrl+C too; it is raised again
            with self.monitor:
                handle.leave()
            raise
        finally:
            with self.monitor:
                operation.caller = None
                for task in operation.left_out:
                    self.cancel(task)
        return None if handle.let_go else handle.outcome()

    def background(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> None:
        handle = operation.handle = OperationThread(operation, work, self.monitor)
        handle.let_go = True
        handle.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        strand = current()
        if self.monitor.mine and not strand.runs:
            work.close()
            raise RuntimeError("what is called under the monitor cannot wait")
        with self.monitor:
            strand.runs += 1
            try:
                return run_to_end(work)
            finally:
                strand.runs -= 1

    def release(self, operation: Operation) -> None:
        operation.handle.let_go = True
        operation.handle.released.set()

    def interrupt(self, operation: Operation) -> None:
        operation.handle.interrupt()

    async def call(
        self, operation: Operation, service: Service, hook: str, timeout: float | None
    ) -> object:
        function = getattr(service, hook)
        return operation.handle.call(function, timeout, f"{service.path}: {hook}")

    def post(self, function: Callable[..., object], *args: object) -> None:
        with self.monitor:
            try:
                function(*args)
            except Exception:  # somebody's callback: it is not the fault of whoever posts it
                logger.exception("What was posted raised: %r", function)

    def watch(self, fd: int, callback: Callable[[], object]) -> Any:
        return self._watches.add(fd, callback)

    def attach_pulse(self, pulse: Pulse) -> Detach:
        return self.monitor.attach_pulse(pulse)

    # -- waiting ---------------------------------------------------------------------------------

    def now(self) -> float:
        return time.monotonic()

    def later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        return self._watches.later(seconds, callback)

    def signal(self) -> Waiter:
        return Waiter()

    async def wait(self, signal: Waiter, timeout: float | None) -> bool:
        strand = current()
        with self.monitor.released():
            woken = strand.wait(signal, timeout)
        strand.check()  # it may have been broken into before it had the monitor again
        return woken

    # -- tasks -----------------------------------------------------------------------------------

    def spawn(
        self,
        service: Service,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        delay: float | None = None,
    ) -> Task:
        if is_coroutine_function(function):
            function = on_bridge(service, function)
        task = Task(self.monitor, service, function, args, kwargs, delay)
        with self.monitor:
            refuse_spawn(service)  # it may have stopped since it was asked
            if service._tasks is None:
                service._tasks = set()
            service._tasks.add(task)
        task.start()
        return task

    def cancel(self, task: Task) -> None:
        task.ask_to_end()

    async def join(self, tasks: Iterable[Task], timeout: float) -> list[Task]:
        deadline = time.monotonic() + timeout
        with self.monitor.released():
            return [
                task for task in list(tasks) if not task.join(max(0.0, deadline - time.monotonic()))
            ]

    def describe(self, task: Task) -> str:
        return task.describe()

    def primitives(self, service: Service) -> Primitives:
        return Primitives(service)


_backend: ThreadingBackend | None = None


def backend(visiting: bool = False) -> ThreadingBackend:
    """The backend: one for all threads of the process.

    Raises:
        ConfigError: gevent has patched the process, and its threads are greenlets.
    """
    global _backend
    if _backend is None:
        monkey = sys.modules.get("gevent.monkey")
        if monkey is not None and monkey.is_module_patched("threading"):
            raise ConfigError(
                "the threading backend needs real threads, and gevent has patched them",
                hint="Do not patch: remove monkey.patch_all(), or set monkey_patch = False.",
            )
        _backend = ThreadingBackend()
    return _backend
