"""How a tree starts, stops, reloads and fails: written once, for every backend.

::

    start(app)                      stop(app)
      start(app/db)      1            app: tasks, do_stop     4
        db.do_start      2            stop(app/web)           5
      start(app/web)     3            stop(app/db)            6
      app.do_start       4

A service that is being started, stopped or reloaded is *held* by one operation
(``service._operation``). Whoever else comes to it waits until it is let go; a stop asks the start
or reload that it meets to give up. Where that wait could never end, because the holder's own hook
is what asked, the asker is let go at once, and the operation goes on when the hook has returned.

All of this runs in one thread's turn: between two awaits nobody else touches the tree.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from .backend import Expired, Interruption, Operation
from .context import context
from .errors import UsageError
from .events import FAILURE, RELOAD, record, reloaded
from .failure import (
    Abandoned,
    Failure,
    ReloadTimeout,
    StartTimeout,
    StopTimeout,
    note,
    text_of,
)
from .health import begin_checks
from .jobs import end_jobs
from .matching import check_backend
from .policies import check_policies
from .state import FAILED, READY, STARTING, move, notify
from .tasks import end_tasks, log_failure
from .waiting import at_rest, over, settled, settled_state, until, until_reached

if TYPE_CHECKING:
    from .service import Service

logger = logging.getLogger(__name__)

__all__ = ["over", "reload", "settled_state", "start", "stop", "until"]

_Walk = Callable[..., Coroutine[Any, Any, None]]


# -- start ---------------------------------------------------------------------------------------


async def start(operation: Operation, service: Service) -> None:
    """Start `service` and all below it; returns when it is ready."""
    while service._state != READY:
        if service._operation is not None:
            starting = service._state == STARTING
            await settled(operation, service)
            if starting and service._state != READY:
                if service.failure is not None:
                    raise service.failure.error
                raise Abandoned(f"{service.path} was stopped while it was starting", service)
        else:
            await _bring_up(operation, service)
            return


async def _bring_up(operation: Operation, service: Service) -> None:
    if service._mend is not None:
        service._mend.hurry()
    began = context.clock.now()
    move(service, "start")
    service._operation = operation
    service._backend = operation.backend
    _forget_the_last_run(service)
    operation.interruptible = True
    try:
        _check_limits(service)
        check_backend(service, operation.backend.name)
        if service.start_before:
            given = await _run_do_start(operation, service)
            await _start_children(operation, service)
        else:
            if service._children:
                await _start_children(operation, service)
            service._children_up = True
            given = await _run_do_start(operation, service)
        if given is not None:
            await _wait_until_ready(operation, service, given)
        if operation.abandoned is not None:
            raise operation.abandoned
        if service._overrides("check"):
            begin_checks(service)
    except BaseException as error:
        reason = await _unwind(operation, service, error)
        if reason is error:
            raise
        raise reason from None
    service._operation = None
    service._start_seconds = context.clock.now() - began
    move(service, "ready")
    if service._reload_wanted:
        service._reload_wanted = False
        begin(service, "reload", reload)


def _forget_the_last_run(service: Service) -> None:
    if service.failure is not None:
        service.failure = None
    if service.stop_errors:
        service.stop_errors = ()
    if service.reload_error is not None:
        service.reload_error = None
    if service._ending is not None:
        service._ending = None


async def _start_children(operation: Operation, service: Service) -> None:
    seen: tuple[Service, ...] = ()
    while seen != (children := tuple(service._children)):  # one may be added or removed meanwhile
        for child in children:
            if operation.abandoned is not None:
                raise operation.abandoned
            if child._state == READY or child.parent is not service:
                continue
            if child._operation is None:  # as nearly always: no detour
                await _bring_up(operation, child)
            else:
                await start(operation, child)
        seen = children
        # Before the next look, so that a thread that adds a child is seen here or sees it there.
        service._children_up = True
    service._children_up = True


async def _run_do_start(operation: Operation, service: Service) -> float | None:
    """Call do_start. Returns None when that made it ready, else the time at which it was called."""
    if operation.abandoned is not None:
        raise operation.abandoned
    service._entered = True
    if not service._overrides("do_start"):
        return None
    service._ready_told = False
    backend = operation.backend
    limit = start_limit(service)
    began = backend.now()
    try:
        result = await backend.call(operation, service, "do_start", limit)
    except Expired:
        raise StartTimeout(
            f"{service.path}: do_start did not return within {limit:g} s",
            hint="Raise start_timeout of that service, or let do_start return Service.NOT_READY "
            "and call set_ready() from a task when the service is ready.",
        ) from None
    except Exception as error:
        note(error, f"in do_start of {service.path}")
        raise
    return began if result is service.NOT_READY else None


async def _wait_until_ready(operation: Operation, service: Service, began: float) -> None:
    if operation.abandoned is not None:  # while the hook came to its end, where it has a thread
        raise operation.abandoned
    limit = start_limit(service)
    backend = operation.backend
    left = None if limit is None else max(0.0, began + limit - backend.now())
    if not await until_reached(backend, service, lambda: service._ready_told, left):
        if operation.abandoned is not None:  # who gave it up knows better why it is not ready
            raise operation.abandoned
        raise StartTimeout(
            f"{service.path}: started, but not ready within {limit:g} s",
            hint="do_start returned NOT_READY, and nobody called set_ready() in time.",
        )


async def _unwind(operation: Operation, service: Service, error: BaseException) -> BaseException:
    """A start of `service` failed, or was given up: undo what it did. Returns what to raise."""
    if operation.interruptible:  # it begins here; above, `error` is what came of it
        operation.interruptible = False
        error = _what_failed(operation, error)
    end = "failed"
    if isinstance(error, Abandoned) and not error.reached:
        error.reached = error.service is service
        if error.failure is None or not error.reached:
            end = "stopped"
        else:
            service.failure = error.failure
            error = error.failure.error
    else:
        failures = (child.failure for child in service._children)
        cause = next((each for each in failures if each and each.error is error), None)
        service.failure = Failure(service.path, "child" if cause else "start", error, cause)
    if service.failure is not None:
        record(service, FAILURE, service.failure)
    errors: list[BaseException] = []
    await bring_down(operation, service, errors, end)
    for other in errors:
        note(error, f"and undoing the start raised {type(other).__name__}: {text_of(other)}")
    return error


def _what_failed(operation: Operation, error: BaseException) -> BaseException:
    """What a start is unwound for, when `error` came out of it."""
    given_up = operation.abandoned
    if given_up is None or error is given_up:
        return error
    if isinstance(error, Interruption):  # not what it was broken into with, but what for
        return given_up
    if isinstance(given_up, Abandoned) and given_up.failure is not None:
        # The hook, broken into, raised something of its own.
        log_failure(given_up.service, given_up.failure)
    return error


# -- stop ----------------------------------------------------------------------------------------


async def stop(operation: Operation, service: Service, errors: list[BaseException]) -> None:
    """Stop `service` and all below it, whatever its state; what raises is put into `errors`."""
    while (holder := service._operation) not in (None, operation):
        if service._state in (STARTING, READY) or holder.service is service:
            holder.abandon(stopped_meanwhile(service))
        await settled(operation, service)
    if service._state == READY or holder is operation:  # what its own start left half done
        await bring_down(operation, service, errors, "stopped")
    elif not at_rest(service):
        await _sweep(operation, service, errors)


async def _sweep(operation: Operation, service: Service, errors: list[BaseException]) -> None:
    """`service` does not run; its children may, and tasks that it had before it was started."""
    service._operation = operation
    try:
        if service._jobs:
            end_jobs(service)
        if service._tasks:
            await end_tasks(operation, service, errors)
        await _stop_children(operation, service, errors, "stopped")
    except BaseException as error:  # noqa: BLE001 - a tree too deep for Python, say
        _collect(service, "stop", error, errors)
    finally:
        service._operation = None
        if not move(service, "stopped"):
            notify(service)


async def bring_down(
    operation: Operation, service: Service, errors: list[BaseException], end: str
) -> None:
    """The exact reverse of a start. Never stops half way."""
    before = len(errors)
    move(service, "stop")
    service._operation = operation
    service._children_up = False
    service._reload_wanted = False
    if service._supervisor is not None:
        service._supervisor.close()
    try:
        if service.start_before:
            await _stop_children(operation, service, errors, end)
            await _stop_itself(operation, service, errors)
        else:
            await _stop_itself(operation, service, errors)
            if service._children:
                await _stop_children(operation, service, errors, end)
                if service._tasks:  # spawned by a child's do_stop
                    await end_tasks(operation, service, errors)
    except BaseException as error:  # noqa: BLE001 - a tree too deep for Python, say
        _collect(service, "stop", error, errors)
    finally:
        if len(errors) > before:  # there for those who wait for the end
            service.stop_errors = tuple(errors[before:])
        service._operation = None
        move(service, end)


async def _stop_children(
    operation: Operation, service: Service, errors: list[BaseException], end: str
) -> None:
    for child in reversed(tuple(service._children)):
        if child._state == FAILED and end == "failed":
            continue  # so that one can see which it was
        if child._state == READY and child._operation is None:  # as nearly always: no detour
            await bring_down(operation, child, errors, "stopped")
        else:
            await stop(operation, child, errors)


async def _stop_itself(operation: Operation, service: Service, errors: list[BaseException]) -> None:
    if service._jobs:
        end_jobs(service)
    if service._tasks:
        await end_tasks(operation, service, errors)
    if not service._entered:
        return
    service._entered = False
    if service._overrides("do_stop"):
        limit = stop_limit(service)
        if limit is not None:
            limit += service._stop_reserve
        try:
            await operation.backend.call(operation, service, "do_stop", limit)
        except Expired:
            error: BaseException = StopTimeout(
                f"{service.path}: do_stop did not return within {limit:g} s",
                hint="Raise stop_timeout of that service, or make its do_stop quicker.",
            )
            _collect(service, "do_stop", error, errors)
        except BaseException as raised:  # noqa: BLE001 - a stop goes on, whatever raises
            _collect(service, "do_stop", raised, errors)
    if service._tasks:  # spawned by do_stop
        await end_tasks(operation, service, errors)


def _collect(
    service: Service, hook: str, error: BaseException, errors: list[BaseException]
) -> None:
    note(error, f"in {hook} of {service.path}")
    logger.error("%s: %s failed: %s", service.path, hook, text_of(error), exc_info=error)
    errors.append(error)


def raise_collected(operation: Operation, what: str, errors: list[BaseException]) -> None:
    """Raise what was collected, if anything was; it is in the log already."""
    if errors:
        operation.logged = together(what, errors)
        raise operation.logged


def together(what: str, errors: Sequence[BaseException]) -> BaseException:
    """The one error, or a group of several."""
    return errors[0] if len(errors) == 1 else BaseExceptionGroup(what, errors)


# -- restart and reload --------------------------------------------------------------------------


async def restart(operation: Operation, service: Service) -> None:
    """Stop `service`, and start it again. A stop that comes meanwhile has the last word."""
    errors: list[BaseException] = []
    await stop(operation, service, errors)
    if operation.abandoned is not None:
        raise operation.abandoned
    await start(operation, service)
    raise_collected(operation, f"stopping {service.path} to restart it", errors)


async def reload(operation: Operation, service: Service, *, told: bool = True) -> None:
    """Call do_reload down the tree. Every service is reached, whatever raises.

    A reload during a start is done once, when the service is ready. Of many at a time, one runs and
    one more runs after it. A service that is not running has nothing to reload.

    Args:
        told: record it as an event. Who reloads the whole process has more to tell, and does.
    """
    if service._state == STARTING:
        service._reload_wanted = True
        return
    if service._state != READY:
        return
    running = service._reloading
    if running is not None:
        service._reload_wanted = True
        if operation.holds_up(running):
            operation.backend.release(operation)
        await until_reached(
            operation.backend, service, lambda: service._reloading is not running, None
        )
        return
    service._reloading = operation
    errors: list[BaseException] = []
    try:
        service._reload_wanted = True
        while service._reload_wanted and service._state == READY:
            service._reload_wanted = False
            errors.clear()
            await _reload_walk(operation, service, errors)
    finally:
        service._reloading = None
        notify(service)
    if told:
        record(service, RELOAD, None, {"failed": len(errors)}, reloaded(len(errors)))
    raise_collected(operation, f"reloading {service.path}", errors)


async def _reload_walk(operation: Operation, service: Service, errors: list[BaseException]) -> None:
    if service._state == STARTING:  # added just now: it does it once it is ready
        service._reload_wanted = True
    if service._state != READY:
        return
    if service.start_before:
        await _run_do_reload(operation, service, errors)
    for child in tuple(service._children):
        if service._state != READY:
            return
        await _reload_walk(operation, child, errors)
    if not service.start_before:
        await _run_do_reload(operation, service, errors)


async def _run_do_reload(
    operation: Operation, service: Service, errors: list[BaseException]
) -> None:
    if not service._overrides("do_reload"):
        return
    await settled(operation, service)
    if service._state != READY:
        return
    limit = start_limit(service)
    service._operation = operation
    operation.interruptible = True
    try:
        await operation.backend.call(operation, service, "do_reload", limit)
        service.reload_error = None
    except Expired:
        error = ReloadTimeout(f"{service.path}: do_reload did not return within {limit:g} s")
        _keep_reload_error(service, error, str(error))
        _collect(service, "do_reload", error, errors)
    except BaseException as raised:  # noqa: BLE001 - every service is reached
        if operation.abandoned is None:
            _keep_reload_error(service, raised, text_of(raised))
            _collect(service, "do_reload", raised, errors)
        elif not isinstance(raised, Interruption):
            _collect(service, "do_reload", raised, errors)
    finally:
        operation.interruptible = False
        operation.abandoned = None
        service._operation = None
        notify(service)


def _keep_reload_error(service: Service, error: BaseException, text: str) -> None:
    if service.reload_error is None:
        service._reload_failed_at = context.clock.wall()
    service.reload_error, service._reload_text = error, text


# -- operations that nobody waits for -------------------------------------------------------------


def begin(service: Service, kind: str, what: _Walk, *args: object) -> None:
    """Begin an operation that nobody waits for."""
    operation = Operation(service.backend_in_use, service, kind)
    operation.backend.background(operation, what(operation, service, *args))


# -- limits --------------------------------------------------------------------------------------


def start_limit(service: Service) -> float | None:
    """Seconds that the start of `service` may take."""
    limit = service.start_timeout
    return context.start_timeout if limit is None else limit


def stop_limit(service: Service) -> float | None:
    """Seconds that the tasks and the do_stop of `service` may take."""
    limit = service.stop_timeout
    return context.stop_timeout if limit is None else limit


def _check_limits(service: Service) -> None:
    if service._children:
        check_policies(service)
    if service.start_timeout is None and service.stop_timeout is None:
        return
    for name in ("start_timeout", "stop_timeout"):
        limit = getattr(service, name)
        if limit is not None and not (isinstance(limit, (int, float)) and limit >= 0):
            raise UsageError(f"{service.path}: {name} is a number of seconds, not {limit!r}")


def stopped_meanwhile(service: Service) -> Abandoned:
    what = "starting" if service._state == STARTING else "reloading or restarting"
    return Abandoned(f"{service.path} was stopped while it was {what}", service)
