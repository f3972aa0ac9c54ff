"""What a service has spawned: who owns it, and how it is brought to its end.

A task belongs to the service that spawned it. When the service stops, its tasks are asked to end
(``GreenletExit`` is raised in a greenlet, an asyncio task is cancelled, a thread sees
``self.async_.stopping``); one that is still there a second later is asked again, and the log shows
where it is; one that is there when the service's `stop_timeout` is over is left behind, and told.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .backend import Backend, Operation
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


def task_name(function: Any) -> str:
    """How a task is called in messages."""
    if isinstance(function, functools.partial):
        return task_name(function.func)
    return getattr(function, "__qualname__", None) or repr(function)


def task_failed(service: Service, name: str, error: BaseException) -> None:
    """What happens when a task raises `error`. Called in the backend's own thread.

    ``SystemExit`` and ``KeyboardInterrupt`` stop the whole tree in order, on every backend alike.
    Anything else fails the service, unless it is being stopped anyway.
    """
    from .lifecycle import begin_failure

    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        service.root.end_with(error)
        return
    failure = Failure(service.path, f"task {name}", error)
    if not begin_failure(service, failure):  # else whoever started the service is told
        log_failure(failure)


def log_failure(failure: Failure) -> None:
    """Say what failed, once."""
    logger.error(
        "%s: %s failed: %s", failure.path, failure.phase, failure.text, exc_info=failure.error
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
