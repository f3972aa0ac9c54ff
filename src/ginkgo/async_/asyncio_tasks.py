"""What a task on asyncio does: it runs a coroutine function, or a plain one in a worker thread.

Whatever that raises is told by the service that the task belongs to, and raised again in whoever
awaits the task.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from asyncio import _get_running_loop as running_loop
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from ..core.tasks import is_coroutine_function, task_failed
from .asyncio_operations import IN_THREADS
from .base import Outcome
from .workers import asked_to_end, in_thread

if TYPE_CHECKING:
    from ..core.service import Service

    Task = asyncio.Task[Any]


async def run(
    service: Service,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    try:
        return await function(*args, **kwargs)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        _raised(service, function, error)
        raise


async def run_in_thread(
    service: Service,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    result, error = await _thread(service, function, args, kwargs)
    try:
        if error is not None:
            _raised(service, function, error)
            raise error
    finally:
        del error  # its traceback holds this frame
    if isinstance(result, Coroutine):  # the function was a coroutine function in disguise
        return await run(service, functools.wraps(function)(lambda: result), (), {})
    return result


async def run_later(
    delay: float,
    service: Service,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    await asyncio.sleep(delay)
    what = run if is_coroutine_function(function) else run_in_thread
    return await what(service, function, args, kwargs)


async def _thread(
    service: Service,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Outcome:
    """Call a function in a worker thread. It ends when the function does.

    A thread cannot be broken into, but where it waits in ``self.async_.sleep``: a function that
    takes long looks at ``self.async_.stopping``.
    """
    end = threading.Event()
    before = asked_to_end.set(end)
    future = in_thread(function, args, kwargs)
    asked_to_end.reset(before)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as asked:
            if service._state in ("stopped", "failed"):
                raise  # it is left behind already
            cancelled = asked
            end.set()
    result, error = future.result()
    if cancelled is not None and isinstance(error, asyncio.CancelledError):
        raise cancelled
    if error is None and cancelled is not None:
        if isinstance(result, Coroutine):
            result.close()
        raise cancelled
    return result, error


IN_THREADS.add(_thread.__code__)


def _raised(service: Service, function: Callable[..., Any], error: BaseException) -> None:
    """A task has raised. On return it raises the same, for whoever awaits it."""
    task = None if running_loop() is None else asyncio.current_task()
    if task is None or (isinstance(error, GeneratorExit) and not _runs(task, function)):
        return  # it is thrown away with its loop
    task_failed(service, function, error)
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        raise asyncio.CancelledError from error  # asyncio ends its loop on the two
    task.add_done_callback(_retrieve)


def _runs(task: Task, function: Callable[..., Any]) -> bool:
    """Whether it is this task that runs `function`, and not the garbage collector in its midst."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and frame.f_locals.get("function") is function


def _retrieve(task: Task) -> None:
    """It is told already: asyncio need not do so as well."""
    if not task.cancelled():
        task.exception()
