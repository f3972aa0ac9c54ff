"""How the asyncio backend carries an operation out, so that no hook can hold it up for ever.

::

    caller            operation's task       a hook's task           loop
      | await start() ->|                       |                     |
      | waits           |-- await do_start ---->|                     |
      |                 |                       |-- waits ----------->| its time is over
      |                 |                       |<-- cancel ----------|
      |                 |<-- what came of it ---|                     |
      |<-- the result --|

The operation is a task of its own, which nobody can cancel but by giving the operation up: it goes
on when its caller is cancelled. A hook that is a coroutine has a task too, so that one which lets
nothing end it can be left behind; it runs at once up to its first wait, as it would where it is
awaited. A plain hook is called in the operation's task, and holds up the loop for as long as it
runs: that is what plain functions do in asyncio.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import traceback
import types
import weakref
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import copy_context
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from ..core import tasks
from ..core.backend import Expired, Interruption, Operation
from ..core.errors import ApplicationFailed
from ..core.stacks import log_stack
from .base import Outcome

if TYPE_CHECKING:
    from ..core.service import Service

    _Task = asyncio.Task[Any]
    _Future = asyncio.Future[Any]
else:
    _Task = asyncio.Task
    _Future = asyncio.Future

logger = logging.getLogger(__name__)

TIMES = 2  # a hook is cancelled so often, tasks.GRACE seconds apart, before it is left behind

Deliver = Callable[[Any, BaseException | None], object]

_left_behind: set[HookTask] = set()


class HookTask(_Task):
    """A task that runs one hook of an operation; see :meth:`Operation.callers`.

    Attributes:
        outcome: what the hook has returned and raised, if it has come to its end at once.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], loop: Any, operation: Operation) -> None:
        context = copy_context()
        self.operation = operation
        self.outcome: Outcome | None = None
        self._waits_for: Any = None
        self._goes_on = False
        super().__init__(self._go_on(work), loop=loop, context=context)
        # Source: "Extending asyncio" of the Python documentation, task lifetime support.
        current: Any = asyncio.current_task()
        asyncio._leave_task(loop, current)
        asyncio._enter_task(loop, self)
        try:
            self._waits_for = context.run(work.send, None)
        except StopIteration as stop:
            self.outcome = stop.value, None
        except BaseException as error:  # noqa: BLE001 - raised again in the operation
            self.outcome = None, error
        finally:
            asyncio._leave_task(loop, self)
            asyncio._enter_task(loop, current)

    async def _go_on(self, work: Coroutine[Any, Any, Any]) -> Outcome:
        """From the first wait on. Nothing may leave the task: asyncio ends on SystemExit."""
        self._goes_on = True
        if self.outcome is not None:
            return None, None
        try:
            return await _resumed(work, self._waits_for), None
        except BaseException as error:  # noqa: BLE001 - raised again in the operation
            return None, error

    def cancel(self, msg: Any = None) -> bool:
        """Cancel what the hook waits for: asyncio would drop a task that has not begun."""
        if self._goes_on or self.done():
            return super().cancel(msg)
        self.get_loop().call_soon(super().cancel, msg)  # it goes on before that
        return True


@types.coroutine
def _resumed(work: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """Await a coroutine that waits for something already."""
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:  # noqa: BLE001 - it is for the coroutine
            step: Callable[[], Any] = functools.partial(work.throw, error)
        else:
            step = functools.partial(work.send, sent)
        try:
            waits_for = step()
        except StopIteration as stop:
            return stop.value


class OperationTask(_Task):
    """The task that carries an operation out."""

    def __init__(self, work: Coroutine[Any, Any, Any], loop: Any, operation: Operation) -> None:
        super().__init__(work, loop=loop)
        self.operation = operation

    def cancel(self, msg: Any = None) -> bool:
        """Give a start up; anything else goes on, also when ``asyncio.run`` is at its end."""
        operation = self.operation
        return operation.kind == "start" and operation.abandon(operation.caller_ended())


class Driven(_Future):
    """What a lifecycle call gives in a running loop: it has begun, and may be awaited.

    Whoever awaits it and is cancelled ends a start, and leaves a stop going on. An error that
    nobody asks for is told in the log.
    """

    def __init__(self, operation: Operation, loop: Any) -> None:
        super().__init__(loop=loop)
        self.operation = operation
        self._asked = False

    def __await__(self) -> Generator[Any, None, Any]:
        operation = self.operation
        if not self.done():
            operation.caller = asyncio.current_task()
        try:
            return (yield from super().__await__())
        finally:
            self._asked = True
            operation.caller = None
            for task in operation.left_out:
                task.cancel()

    __iter__ = __await__

    def deliver(self, result: Any, error: BaseException | None) -> None:
        """The operation is at its end."""
        if self.done():
            if error is not None:
                self.operation.tell(error)
        elif error is None:
            self.set_result(result)
        else:
            if isinstance(error, GeneratorExit):  # thrown into a coroutine it would close it
                cause, error = error, RuntimeError("a hook raised GeneratorExit")
                error.__cause__ = cause
            self.set_exception(error)

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        leave(self.operation)
        return super().cancel(msg)

    def result(self) -> Any:
        self._asked = True
        return super().result()

    def exception(self) -> BaseException | None:
        self._asked = True
        return super().exception()

    def __del__(self) -> None:
        if self.done() and not self._asked and not self.cancelled():
            error = super().exception()
            if error is not None:
                self.operation.tell(error)


def leave(operation: Operation) -> None:
    """Whoever waited for the operation does so no more."""
    if operation.kind == "start":
        operation.abandon(operation.caller_ended())


class OperationRun:
    """One operation in its task.

    Args:
        operation: the operation; this becomes its `handle`.
        work: what it does.
        loop: where.
        deliver: called with what it returns or raises; None where nobody waits.

    Attributes:
        waiting: the future that the operation itself waits for, or None.
    """

    def __init__(
        self,
        operation: Operation,
        work: Coroutine[Any, Any, Any],
        loop: asyncio.AbstractEventLoop,
        deliver: Deliver | None,
    ) -> None:
        operation.handle = self
        self.operation = operation
        self.waiting: _Future | None = None
        self._loop = loop
        self._deliver = deliver
        self._ended: _Future
        self._where: tuple[Service, str]
        self._hook: HookTask | None = None
        self._limit: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._broken_into = 0
        self._interruption: Interruption | None = None
        self.task = OperationTask(self._carry_out(work), loop, operation)

    async def _carry_out(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            result = await work
        except BaseException as error:  # noqa: BLE001 - raised again in whoever waits
            self._end(None, error)
        else:
            self._end(result, None)

    def _end(self, result: Any, error: BaseException | None) -> None:
        deliver, self._deliver = self._deliver, None
        if deliver is not None:
            deliver(result, error)
        elif error is not None:
            self.operation.tell(error)

    def release(self) -> None:
        """Let the caller go on."""
        deliver, self._deliver = self._deliver, None
        if deliver is not None:
            deliver(None, None)

    def interrupt(self) -> None:
        """Break into the operation where it waits, if that is allowed."""
        self._loop.call_soon(self._interrupt)  # a hook that has just begun is entered by then

    def _interrupt(self) -> None:
        operation = self.operation
        if self.task.done() or not operation.interruptible or operation.abandoned is None:
            return
        if self._hook is not None:
            self._break_into(Interruption())
        elif self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(Interruption())

    # -- hooks -----------------------------------------------------------------------------------

    async def call(
        self, service: Service, name: str, work: Coroutine[Any, Any, Any], limit: float | None
    ) -> Any:
        """Run a hook that is a coroutine."""
        hook = HookTask(work, self._loop, self.operation)
        if hook.outcome is None:
            self._interruption = None
            outcome = await self._wait_for(hook, service, name, limit)
        else:
            outcome, hook.outcome = hook.outcome, (None, None)
        value, error = outcome
        if error is None:
            return value
        try:
            if not isinstance(error, asyncio.CancelledError):
                raise error
            if self._interruption is not None:
                raise self._interruption
            raise ApplicationFailed(
                f"{service.path}: {name} was cancelled, and not by its own service"
            ) from error
        finally:
            del error, outcome  # its traceback holds this frame

    async def _wait_for(
        self, hook: HookTask, service: Service, name: str, limit: float | None
    ) -> Outcome:
        self._hook = hook
        self._where = service, name
        self._limit = limit
        self._broken_into = 0
        self._ended = self._loop.create_future()
        hook.add_done_callback(self._hook_ended)
        if limit is not None:
            self._arm(limit, Expired())
        await self._ended
        self._hook = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if hook.done():
            outcome: Outcome = hook.result()
            return outcome
        assert self._interruption is not None  # noqa: S101 - for the type checker
        raise self._interruption  # it is left behind

    def _hook_ended(self, hook: HookTask) -> None:
        if hook is self._hook and not self._ended.done():
            self._ended.set_result(None)

    def _break_into(self, interruption: Interruption) -> None:
        hook = self._hook
        if hook is None or hook.done():
            return
        self._interruption = interruption
        if self._broken_into == TIMES:
            self._leave_behind(hook)
            return
        self._broken_into += 1
        grace = tasks.GRACE
        self._arm(grace if self._limit is None else min(grace, self._limit), interruption)
        hook.cancel()

    def _leave_behind(self, hook: HookTask) -> None:
        service, name = self._where
        message = "%s: %s does not end, and is left behind"
        log_stack(logger, logging.ERROR, stack_of(hook), message, service.path, name)
        hook._log_destroy_pending = False  # type: ignore[attr-defined]
        _left_behind.add(hook)
        hook.add_done_callback(_left_behind.discard)
        if not self._ended.done():
            self._ended.set_result(None)

    def _arm(self, seconds: float, interruption: Interruption) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_later(max(0.0, seconds), self._break_into, interruption)


def deliver_to(driven: Driven) -> Deliver:
    """Deliver to whoever waits for `driven`, if anybody still has it."""
    found = weakref.ref(driven)
    operation = driven.operation

    def deliver(result: Any, error: BaseException | None) -> None:
        waiting = found()
        if waiting is not None:
            waiting.deliver(result, error)
        elif error is not None:
            operation.tell(error)

    return deliver


WORKER: Final = ("threading", "ginkgo.async_.workers")
"""The modules of what a worker thread does before it calls the user's function."""

IN_THREADS: Final[set[CodeType]] = set()
"""The coroutine functions that wait for a worker thread; their local `future` has its `thread`."""


def stack_of(task: _Task) -> str:
    """Where a task is, from what it runs down to what it waits for.

    Of one that runs a plain function in a worker thread that is where the thread is.
    """
    frames = list(_frames(task.get_coro()))
    job = next((each.f_locals.get("future") for each in frames if each.f_code in IN_THREADS), None)
    in_thread = sys._current_frames().get(getattr(job, "thread", None) or 0)
    if in_thread is not None and job is not None and not job.done():
        frames = [frame for frame, _ in traceback.walk_stack(in_thread)][::-1]
        while frames and frames[0].f_globals.get("__name__") in WORKER:
            del frames[0]
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames)
    return "".join(summary.format()).rstrip()


def _frames(work: Any) -> Iterator[FrameType]:
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None)
        if frame is None:
            return  # it has ended, or is written in C
        yield frame
        if frame.f_code is _resumed.__code__:
            work = frame.f_locals["work"]
        else:
            work = getattr(work, "cr_await", None) or getattr(work, "gi_yieldfrom", None)
