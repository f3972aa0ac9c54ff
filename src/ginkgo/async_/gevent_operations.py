"""How the gevent backend carries an operation out, so that no hook can hold it up for ever.

::

    caller            operation              its hooks               hub
      | start() ------->|                       |                     |
      | waits           |-- do_start ---------->|                     |
      |                 |                       |-- waits ----------->| its time is over
      |                 |                       |<-- Expired ---------|
      |                 |<-- what came of it ---|                     |
      |<-- released ----|

The caller, the operation and its hooks have a greenlet each. So an operation goes on when its
caller is killed; and a hook that lets nothing end it is left behind with its greenlet, while the
operation goes on with the next one in another. All hooks of an operation that do end share one
greenlet: a hook costs two switches, and a timer only when it waits.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import gevent
from greenlet import greenlet

from ..core import tasks
from ..core.backend import Expired, Interruption, Operation
from ..core.stacks import log_stack
from .base import Kept, run_to_end

if TYPE_CHECKING:
    from ..core.service import Service

    _Greenlet = gevent.Greenlet[..., Any]
else:
    _Greenlet = gevent.Greenlet

logger = logging.getLogger(__name__)

TIMES = 2  # a hook is broken into so often, tasks.GRACE seconds apart, before it is left behind


class HookGreenlet(greenlet):
    """Runs the hooks of one operation, one after the other, and gives each outcome to its parent.

    It is no gevent.Greenlet, because its parent is the operation's greenlet and not the hub: there
    it ends when the operation does.
    """

    def __init__(self, parent: OperationGreenlet) -> None:
        super().__init__(parent=parent)
        self.operation = parent.operation  # see Operation.callers
        self.left_behind = False

    def run(self, hook: Callable[[], Any]) -> None:
        outcome: tuple[Any, BaseException | None]
        while True:
            try:
                outcome = hook(), None
            except BaseException as error:  # noqa: BLE001 - raised again in the operation
                outcome = None, error
            if self.left_behind or self.parent is None:
                return
            hook = self.parent.switch(outcome)


class OperationGreenlet(Kept, _Greenlet):
    """Carries one operation out.

    Attributes:
        released: an event, set when the caller may go on; at the very end of the operation, and
            not by a link of gevent's: the hub might have had its last turn.
        let_go: nobody waits for the operation (any more).
    """

    def __init__(self, operation: Operation, work: Coroutine[Any, Any, Any], released: Any) -> None:
        super().__init__()
        self.operation = operation
        self.work = work
        self.released = released
        self.let_go = False
        self.raised: BaseException | None = None
        self.result: Any = None
        self._hooks: Any = None  # a HookGreenlet, from the first hook on
        self._hook: Any = None  # the service and the name of the hook that runs now
        self._limit: float | None = None
        self._broken_into = 0
        self._alarm: Any = None
        self._looking = False

    def _run(self) -> None:
        try:
            self.result = run_to_end(self.work)
        except BaseException as error:  # noqa: BLE001 - raised again in whoever waits
            self.raised = error
            if self.let_go:
                self.operation.tell(error)
        finally:
            if self._hooks is not None:
                self._hooks.throw()
                self._hooks = None
            self.released.set()

    # -- hooks -----------------------------------------------------------------------------------

    def call(self, service: Service, name: str, limit: float | None) -> Any:
        """Run a hook. Called in this greenlet."""
        if self._hooks is None:
            self._hooks = HookGreenlet(self)
        self._hook = service, name
        self._limit = limit
        if not self._looking:
            self._looking = True
            self.loop.run_callback(self._look)
        value, error = self._hooks.switch(getattr(service, name))
        self._hook = None
        if self._alarm is not None:
            self._disarm()
        if error is None:
            return value
        try:
            raise error
        finally:
            del error

    def _look(self) -> None:
        """The hub has its turn: if a hook runs, it waits for something, and its time counts."""
        self._looking = False
        if self._hook is not None and self._alarm is None and self._limit is not None:
            self._arm(self._limit, Expired())

    def interrupt(self) -> None:
        """Break into the operation where it waits, if that is allowed. Called in the hub."""
        if self.dead or not self.operation.interruptible or self.operation.abandoned is None:
            return
        if self._hook is not None:
            self._break_into(Interruption())
        else:  # it waits for set_ready, or for another operation
            self.throw(Interruption())

    def _break_into(self, interruption: Interruption) -> None:
        if self._broken_into == TIMES:
            self._leave_behind(interruption)
            return
        self._broken_into += 1
        limit = tasks.GRACE if self._limit is None else min(tasks.GRACE, self._limit)
        self._arm(limit, interruption)
        self._hooks.throw(interruption)

    def _leave_behind(self, interruption: Interruption) -> None:
        service, name = self._hook
        stack = "".join(traceback.format_stack(self._hooks.gr_frame)).rstrip()
        message = "%s: %s does not end, and is left behind"
        log_stack(logger, logging.ERROR, stack, message, service.path, name)
        self._hooks.left_behind = True
        self._hooks.parent = self.parent  # the hub: that is where it ends, if it ever does
        self._hooks = None
        self.switch((None, interruption))

    def _arm(self, seconds: float, interruption: Interruption) -> None:
        if self._alarm is not None:
            self._alarm.close()
        self._alarm = self.loop.timer(max(0.0, seconds))
        # update: what ran since the loop last looked at the clock is not this hook's time.
        self._alarm.start(self._break_into, interruption, update=True)

    def _disarm(self) -> None:
        self._alarm.close()
        self._alarm = None
        self._broken_into = 0
