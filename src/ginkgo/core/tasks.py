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

from .backend import Operation
from .failure import Failure, NotReady, StopTimeout

if TYPE_CHECKING:
    from .service import Service

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

GRACE = 1.0  # seconds until a task that does not end is asked again


async def end_tasks(operation: Operation, service: Service, errors: list[BaseException]) -> None:
    """End all tasks of `service`, but the one that waits for this operation."""
    from .lifecycle import stop_limit

    backend = operation.backend
    callers = list(operation.callers())
    limit = stop_limit(service)
    deadline = None if limit is None else backend.now() + limit
    while tasks := [task for task in service._tasks or () if task not in callers]:
        for task in tasks:
            backend.cancel(task)
        left = GRACE if deadline is None else min(GRACE, deadline - backend.now())
        stubborn = await backend.join(tasks, max(0.0, left))
        if not stubborn:
            continue  # look again: a task may have spawned another in its last moment
        if deadline is not None and backend.now() >= deadline:
            _leave_behind(operation, service, stubborn, errors)
            break
        for task in stubborn:
            logger.warning(
                "%s: a task does not end, and is asked again: %s",
                service.path,
                backend.describe(task),
            )
    if service._tasks:
        operation.left_out.extend(task for task in callers if task in service._tasks)
    service._tasks = None


def _leave_behind(
    operation: Operation, service: Service, stubborn: list[Any], errors: list[BaseException]
) -> None:
    count = len(stubborn)
    error = StopTimeout(
        f"{service.path}: {count} task{'s' if count > 1 else ''} did not end when told to, "
        "and had to be left behind",
        hint="The log shows where each of them is. Let it end on GreenletExit or CancelledError, "
        "or raise stop_timeout of that service.",
    )
    for task in stubborn:
        logger.error("%s: left behind: %s", service.path, operation.backend.describe(task))
    errors.append(error)


def task_name(function: Callable[..., Any]) -> str:
    """How a task is called in messages."""
    return getattr(function, "__qualname__", None) or repr(function)


def task_failed(service: Service, name: str, error: BaseException) -> None:
    """What happens when a task raises `error`. Called in the backend's own thread.

    ``SystemExit`` and ``KeyboardInterrupt`` stop the whole tree in order, on every backend alike.
    Anything else fails the service, unless it is being stopped anyway.
    """
    from .lifecycle import begin_failure
    from .state import STARTING, STOPPED

    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        service.root.end_with(error)
        return
    failure = Failure(service.path, f"task {name}", error)
    if service._state != STARTING:  # a start that fails tells it to its caller
        logger.error("%s: task %s failed: %s", service.path, name, error, exc_info=error)
    if service._state != STOPPED:
        begin_failure(service, failure)


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
        if self._state == "ready":
            return method(self, *args, **kwargs)
        return self.backend_in_use.run(_when_ready(self, method, args, kwargs))

    return checked  # type: ignore[return-value]


async def _when_ready(service: Service, method: Any, args: Any, kwargs: Any) -> Any:
    from .lifecycle import start_limit, until

    states = ("ready", "failed", "stopped", "stopping")
    waited = service._state in ("init", "starting")
    if waited:
        await until(service.backend_in_use, service, states, start_limit(service))
    if service._state != "ready":
        raise NotReady(
            f"{service.path}: {task_name(method)} needs a ready service; "
            f"this one is {service._state}",
            hint="Start the service first, or wait for it with service.wait('ready').",
        )
    result = method(service, *args, **kwargs)
    return await result if hasattr(result, "__await__") else result
