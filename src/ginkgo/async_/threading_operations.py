"""How the threading backend carries an operation out, so that no hook can hold it up for ever.

::

    caller            operation              its hooks
      | start() ------->|                       |
      | waits           |-- do_start ---------->|
      |                 | waits, for so long    |-- waits, by self.async_
      |                 |-- Expired ----------->|
      |                 |<-- what came of it ---|
      |<-- released ----|

The caller, the operation and its hooks have a thread each. So an operation goes on when its caller
does not, and a hook that lets nothing end it is left behind with its thread, while the operation
goes on with the next one in another. All hooks of an operation that do end share one thread.

Between two waits the core has its trees to itself: the operation's thread holds the backend's
:class:`Monitor` whenever it does not wait.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from _thread import get_ident
from collections.abc import Callable, Coroutine
from typing import Any

from ..core import tasks
from ..core.backend import Expired, Interruption, Operation
from ..core.stacks import log_stack
from .base import Kept, run_to_end
from .pulse import Detach, Pulse
from .threading_waits import Strand, Waiter, stack_of, start_thread

logger = logging.getLogger(__name__)

TIMES = 2  # a hook is broken into so often, tasks.GRACE seconds apart, before it is left behind
MOMENT = 0.02  # seconds that a hook has for its next step at least: threads do not come at once


class Monitor:
    """The lock that is held by whoever touches a tree; it is never held while anyone waits."""

    def __init__(self) -> None:
        self._lock: Any = threading.RLock()
        self._depth = 0  # how often its holder has entered it
        self._pulse: Pulse | None = None

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds it."""
        return bool(self._lock._is_owned())

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._taken()

    def __exit__(self, *exc_info: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._given_back()
        self._lock.release()

    def released(self) -> Released:
        """Let others have it for as long as the body takes."""
        return Released(self)

    def _taken(self) -> None:
        pulse = self._pulse
        if pulse is not None:
            pulse.thread = get_ident()
            pulse.works()

    def _given_back(self) -> None:
        if self._pulse is not None:
            self._pulse.rests()

    def attach_pulse(self, pulse: Pulse) -> Detach:
        """Have `pulse` told when it is taken, and when it is given back."""

        def detach() -> None:
            with self:
                self._pulse = None

        with self:
            self._pulse = pulse
        return detach


class Released:
    """See :meth:`Monitor.released`. A generator could not do it: contextlib sets an attribute of
    what the body raises, and not every exception lets it."""

    __slots__ = ("_depth", "_monitor", "_saved")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def __enter__(self) -> None:
        monitor = self._monitor
        self._depth, monitor._depth = monitor._depth, 0
        monitor._given_back()
        self._saved = monitor._lock._release_save()

    def __exit__(self, *exc_info: object) -> None:
        monitor = self._monitor
        monitor._lock._acquire_restore(self._saved)
        monitor._depth = self._depth
        monitor._taken()


class OperationThread(Kept):
    """Carries one operation out.

    Attributes:
        released: set when the caller may go on.
        let_go: nobody waits for the operation (any more).
        ended: the operation has ended.
    """

    def __init__(
        self, operation: Operation, work: Coroutine[Any, Any, Any], monitor: Monitor
    ) -> None:
        self.operation = operation
        self.released = Waiter()
        self.let_go = False
        self.ended = False
        self._work = work
        self._monitor = monitor
        self._strand = Strand()
        self._context = contextvars.copy_context()
        self.raised: BaseException | None = None
        self.result: Any = None
        self._hooks: HookThread | None = None
        self._in_hook = False
        self._interrupted = False
        self._bell = Waiter()

    def start(self) -> None:
        """Begin."""
        operation = self.operation
        try:
            start_thread(self._strand, self._run, f"{operation.service.path}: {operation.kind}")
        except BaseException:  # no thread was to be had: the coroutine is not left unawaited
            self._work.close()
            raise

    def _run(self) -> None:
        with self._monitor:
            try:
                self.result = run_to_end(self._work)
            except BaseException as error:  # noqa: BLE001 - raised again in whoever waits
                self.raised = error
                if self.let_go:
                    self.operation.tell(error)
            self.ended = True
        if self._hooks is not None:
            self._hooks.end()
        self.released.set()

    def leave(self) -> None:
        """Whoever waited does so no more. The monitor is held."""
        self.let_go = True
        if self.raised is not None:
            self.operation.tell(self.raised)
        if self.operation.kind == "start":
            self.operation.abandon(self.operation.caller_ended())

    def interrupt(self) -> None:
        """Break into the operation where it waits, if that is allowed. The monitor is held."""
        if self.ended or not self.operation.interruptible or self.operation.abandoned is None:
            return
        if self._in_hook:
            self._interrupted = True
            self._bell.set()
        else:  # it waits for set_ready, or for another operation
            self._strand.interrupt(Interruption())

    # -- hooks -----------------------------------------------------------------------------------

    def call(self, hook: Callable[[], Any], limit: float | None, what: str) -> Any:
        """Run a hook. Called in the operation's own thread, which holds the monitor."""
        self._in_hook = True
        self._interrupted = False
        try:
            with self._monitor.released():
                if self._hooks is None:
                    self._hooks = HookThread(self.operation, self._context.copy())
                call = self._hooks.begin(hook, self._bell)
                self._watch(call, limit, what)
                return call.outcome()
        finally:
            self._in_hook = False

    def _watch(self, call: Call, limit: float | None, what: str) -> None:
        """Wait for the end of a hook, and see to it that it comes."""
        deadline: float | None = None
        reason: Interruption | None = None
        times = 0
        while not call.ended:
            if limit is not None and deadline is None and call.began:
                deadline = call.began + limit
            if deadline is not None:
                left: float | None = deadline - time.monotonic()
            else:  # its time counts from its first step, and that has not been made
                left = None if limit is None else max(MOMENT, limit)
            self._bell.wait(left)
            if call.ended:
                return
            if self._interrupted:
                self._interrupted = False
                reason = Interruption()
            elif deadline is not None and time.monotonic() >= deadline:
                reason = reason or Expired()
            else:
                continue
            if times == TIMES:
                self._leave_behind(what)
                raise reason
            times += 1
            grace = tasks.GRACE if limit is None else min(tasks.GRACE, limit)
            deadline = time.monotonic() + max(MOMENT, grace)
            assert self._hooks is not None  # noqa: S101 - for the type checker
            self._hooks.strand.interrupt(reason)

    def _leave_behind(self, what: str) -> None:
        assert self._hooks is not None  # noqa: S101 - for the type checker
        stack = stack_of(self._hooks.thread)
        log_stack(logger, logging.ERROR, stack, "%s does not end, and is left behind", what)
        self._hooks.end()
        self._hooks = None


class Call(Kept):
    """One call of a hook, and what came of it."""

    __slots__ = ("began", "bell", "ended", "hook", "raised", "result")

    def __init__(self, hook: Callable[[], Any], bell: Waiter) -> None:
        self.hook = hook
        self.bell = bell
        self.began = 0.0
        self.ended = False
        self.result: Any = None
        self.raised: BaseException | None = None

    def run(self, context: contextvars.Context) -> None:
        """Call it."""
        self.began = time.monotonic()
        try:
            self.result = context.run(self.hook)
        except BaseException as error:  # noqa: BLE001 - raised again in the operation
            self.raised = error
        self.ended = True
        self.bell.set()


class HookThread:
    """Runs the hooks of one operation, one after the other.

    Attributes:
        operation: see :meth:`ginkgo.core.backend.Operation.callers`.
    """

    def __init__(self, operation: Operation, context: contextvars.Context) -> None:
        self.operation = operation
        self.strand = Strand(self)
        self.thread: threading.Thread | None = None
        self._context = context
        self._given = Waiter()
        self._next: Call | None = None
        self._over = False

    def begin(self, hook: Callable[[], Any], bell: Waiter) -> Call:
        """Have it call `hook`, and ring the bell at its end."""
        call = self._next = Call(hook, bell)
        self.strand.pending = None  # what was meant for the last one, and came too late
        if self.thread is None:
            service = self.operation.service
            self.thread = start_thread(self.strand, self._run, f"{service.path}: hooks")
        else:
            self._given.set()
        return call

    def end(self) -> None:
        """Let it end, with the hook that it is in if there is one."""
        self._over = True
        self._given.set()

    def _run(self) -> None:
        while True:
            call, self._next = self._next, None
            if call is not None:
                call.run(self._context)
            if self._over:
                return
            del call
            self._given.wait()
