"""What a service has spawned: who owns it, and how it is brought to its end.

A task belongs to the service that spawned it. When the service stops, its tasks are asked to end
(``GreenletExit`` is raised in a greenlet, an asyncio task is cancelled, a thread sees
``self.async_.stopping``); one that is still there a second later is asked again, and the log shows
where it is; one that is there when the service's `stop_timeout` is over is left behind, and told.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .backend import Backend, Operation
from .errors import ApplicationFailed, UsageError
from .events import FAILURE, log_of, record
from .failure import Failure, NotReady, SpawnRefused, StopTimeout
from .stacks import log_stack
from .state import FAILED, INIT, READY, STARTING, STOPPED, STOPPING

if TYPE_CHECKING:
    from .service import Service

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

GRACE = 1.0  # seconds until a task that does not end is asked again


async def end_tasks(operation: Operation, service: Service, errors: list[BaseException]) -> None:
    """End all tasks of `service`, but the one that waits for this operation."""
    from .lifecycle import stop_limit

    backend = operation.backend
    limit = stop_limit(service)
    deadline = None if limit is None else backend.now() + limit
    told: set[Any] = set()
    while tasks := _others(service, operation):  # again: one may spawn another in its last moment
        for task in tasks:
            backend.cancel(task)
        left = GRACE if deadline is None else min(GRACE, deadline - backend.now())
        stubborn = await backend.join(tasks, max(0.0, left))
        if deadline is not None and backend.now() >= deadline:
            _leave_behind(operation, service, errors)
            break
        for task in stubborn:
            if task not in told:
                told.add(task)
                log_stack(
                    logger,
                    logging.WARNING,
                    backend.describe(task),
                    "%s: a task does not end, and is asked again",
                    service.path,
                )
    operation.left_out += [task for task in operation.callers() if task in (service._tasks or ())]
    service._tasks = None


def _others(service: Service, operation: Operation) -> list[Any]:
    """The tasks of a service but for those that wait for the operation, while they do."""
    callers = list(operation.callers())
    return [task for task in service._tasks or () if task not in callers]


def _leave_behind(operation: Operation, service: Service, errors: list[BaseException]) -> None:
    tasks = _others(service, operation)
    if not tasks:
        return
    for task in tasks:
        where = operation.backend.describe(task)
        log_stack(logger, logging.ERROR, where, "%s: a task is left behind", service.path)
    count = len(tasks)
    error = StopTimeout(
        f"{service.path}: {count} task{'s' if count > 1 else ''} did not end when told to, "
        "and had to be left behind",
        hint="The log shows where each of them is. Let it end on GreenletExit or CancelledError, "
        "or raise stop_timeout of that service.",
    )
    errors.append(error)


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether a call of `function` gives a coroutine, as far as can be seen from outside."""
    code = getattr(function, "__code__", None)
    if code is not None:  # nearly always; the way through `inspect` takes ten times as long
        return bool(code.co_flags & inspect.CO_COROUTINE)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )


def task_name(function: Any) -> str:
    """How a task is called in messages."""
    if isinstance(function, functools.partial):
        return task_name(function.func)
    return getattr(function, "__qualname__", None) or repr(function)


FAIL: Final = "fail"
LOG: Final = "log"
STOP: Final = "stop"


class EssentialTaskEnded(ApplicationFailed):
    """A task without which its service is nothing has ended."""


def with_rules(
    service: Service, function: Callable[..., Any], on_error: str, essential: bool
) -> Callable[..., Any]:
    """`function`, as a task that is not like all others: see :meth:`Service.spawn`."""
    if on_error not in (FAIL, LOG, STOP):
        raise UsageError(f"{service.path}: on_error is one of fail, log, stop, not {on_error!r}")

    def blocking(*args: Any, **kwargs: Any) -> Any:
        with _watched(service, function, essential):
            return function(*args, **kwargs)

    async def waiting(*args: Any, **kwargs: Any) -> Any:
        with _watched(service, function, essential):
            return await function(*args, **kwargs)

    task: Callable[..., Any] = waiting if is_coroutine_function(function) else blocking
    functools.update_wrapper(task, function)  # messages about the task name what the user wrote
    task.on_error = on_error  # type: ignore[attr-defined]
    return task


@contextmanager
def _watched(service: Service, function: Callable[..., Any], essential: bool) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit, KeyboardInterrupt):
        raise  # the task is seen to raise
    except BaseException:  # raised: what ends a task from outside on its backend
        if essential:  # it was ended by somebody: if by the stop of its service, nobody minds
            service.backend_in_use.post(_essential_ended, service, function)
        raise
    else:
        if essential:
            service.backend_in_use.post(_essential_ended, service, function)


def _essential_ended(service: Service, function: Callable[..., Any]) -> None:
    from .supervision import begin_failure

    name = task_name(function)
    error = EssentialTaskEnded(f"{service.path}: its task {name} has ended, and is essential")
    failure = Failure(service.path, f"task {name}", error)
    if service._state in (READY, STARTING) and not begin_failure(service, failure):
        log_failure(service, failure)


def task_failed(service: Service, function: Callable[..., Any], error: BaseException) -> None:
    """What happens when a task raises `error`. Called in the backend's own thread.

    ``SystemExit`` and ``KeyboardInterrupt`` stop the whole tree in order, on every backend alike.
    Anything else is for the handler that :meth:`Service.catch` was given, else `on_error` of the
    task decides. A service that is being stopped anyway is not failed by it.
    """
    from .supervision import begin_failure, end

    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        service.root.end_with(error)
        return
    phase = getattr(function, "ginkgo_phase", None) or f"task {task_name(function)}"
    failure = Failure(service.path, phase, error)
    on_error = getattr(function, "on_error", FAIL)
    handlers = (handler for kind, handler in service._catchers if isinstance(error, kind))
    handler = next(handlers, None)
    runs = service._state in (READY, STARTING)
    if handler is not None and runs and not hasattr(function, "caught"):
        handle = functools.wraps(handler)(functools.partial(handler, error))
        handle.caught = error  # type: ignore[attr-defined]
        service.backend_in_use.spawn(service, handle, (), {})
    elif on_error == FAIL or not runs:
        if not begin_failure(service, failure):  # else whoever started the service is told
            log_failure(service, failure)
    else:
        log_failure(service, failure)
        record(service, FAILURE, failure)
        if on_error == STOP:
            end(service)


def log_failure(service: Service, failure: Failure) -> None:
    """Say what failed, once; of many times the same, once in a while and how often it was."""
    text = failure.text
    repeats = log_of(service.root).repeats
    more = repeats.due((failure.path, failure.phase, type(failure.error), text[:100]))
    if more is None:
        return
    if more:
        text += f" (and {more} times more before this)"
    logger.error("%s: %s failed: %s", failure.path, failure.phase, text, exc_info=failure.error)


def asked_from_within(operation: Operation, service: Service) -> bool:
    """Whether a task of `service`, or of one below it, is what asked for `operation`."""
    return any(
        caller in (each._tasks or ()) for caller in operation.callers() for each in service.walk()
    )


def refuse_spawn(service: Service) -> None:
    """Let nothing be spawned in a service that is stopped: who would end it?"""
    if service._state in (STOPPED, FAILED):
        raise SpawnRefused(
            f"{service.path}: nothing can be spawned in a service that is {service._state}",
            hint="Spawn in do_start, or while the service runs.",
        )


def autospawn(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make calls of a method tasks: they return the task at once.

    >>> class Sender(Service):
    ...     @autospawn
    ...     def send(self, message): ...
    """

    @functools.wraps(method)
    def spawn(self: Service, *args: Any, **kwargs: Any) -> Any:
        return self.spawn(method, self, *args, **kwargs)

    return spawn


def require_ready(method: F) -> F:
    """Make a method wait until its service is ready, at most its `start_timeout` seconds.

    Raises:
        NotReady: from the method, when the service was not ready in time or is not going to be.
    """

    @functools.wraps(method)
    def checked(self: Service, *args: Any, **kwargs: Any) -> Any:
        if self._state == READY:
            return method(self, *args, **kwargs)
        backend = self.backend_to_ask
        waiting = backend.run(_until_ready(backend, self, method))
        if hasattr(waiting, "__await__"):
            return _and_then(waiting, method, self, args, kwargs)
        return method(self, *args, **kwargs)

    return checked  # type: ignore[return-value]


async def _until_ready(backend: Backend, service: Service, method: Any) -> None:
    from .lifecycle import start_limit, until

    if service._state in (INIT, STARTING):
        ends = (READY, FAILED, STOPPED, STOPPING)
        await until(backend, service, ends, start_limit(service))
    if service._state != READY:
        raise NotReady(
            f"{service.path}: {task_name(method)} needs a ready service; "
            f"this one is {service._state}",
            hint="Start the service first, or wait for it with service.wait('ready').",
        )


async def _and_then(waiting: Any, method: Any, service: Service, args: Any, kwargs: Any) -> Any:
    await waiting
    result = method(service, *args, **kwargs)
    return await result if hasattr(result, "__await__") else result
