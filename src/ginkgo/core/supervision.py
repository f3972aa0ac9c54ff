"""What becomes of a service that fails: it is mended, or whoever supervises it fails too.

Every service supervises its children, as Erlang's supervisors do::

    db fails ---> brought down ---> temporary?  ---> stays down; app goes on, degraded
                                |
                                +-> too often?  ---> app gives up: its children are stopped in
                                |                    order, it fails, and so on up to the root
                                |
                                +-> mend: stop those that restart with it (`strategy`), wait
                                    (`backoff`), start them in their order; a start that fails
                                    is one more failure

While a mend waits, nothing is held: the siblings serve, and stop, reload and remove_service work.
A stop takes a service out of its mend; a start by hand makes the mend go at once.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from .backend import Operation
from .context import context
from .errors import ApplicationFailed
from .events import BACKOFF, FAILURE, GIVE_UP, RESTART, record
from .failure import Abandoned, Failure
from .lifecycle import begin, bring_down, start, stop, stopped_meanwhile
from .policies import ONE_FOR_ALL, ONE_FOR_ONE, PERMANENT, TEMPORARY, Care, Limits, limits_of
from .state import FAILED, READY, STARTING, STOPPED, down, up
from .tasks import log_failure
from .waiting import settled

if TYPE_CHECKING:
    from .clock import Timer
    from .service import Service

logger = logging.getLogger(__name__)


class Ended(ApplicationFailed):
    """A service that is to run permanently came to its end."""


class Supervisor:
    """What a service remembers as the supervisor of its children; made at the first failure."""

    __slots__ = ("failures", "mends")

    def __init__(self) -> None:
        self.failures: deque[float] = deque()
        self.mends: set[Mend] = set()

    def close(self) -> None:
        """The supervisor is brought down: restart nothing any more."""
        for mend in tuple(self.mends):
            mend.close()
        self.failures.clear()


class Mend:
    """One restart that is due: of a child that failed, and of those that restart with it."""

    __slots__ = ("_supervisor", "children", "closed", "failure", "parent", "timer")

    def __init__(
        self, supervisor: Supervisor, parent: Service, children: list[Service], failure: Failure
    ) -> None:
        self._supervisor = supervisor
        self.parent = parent
        self.children = children
        self.failure = failure
        self.timer: Timer | None = None
        self.closed = False
        supervisor.mends.add(self)
        for child in children:
            if child._mend is not None:
                child._mend.release(child)
            child._mend = self
            down(child)

    def wait(self, seconds: float) -> None:
        """Begin the restart when so many seconds have gone by."""
        backend = self.parent.backend_in_use
        self.timer = context.clock.later(backend, seconds, self._go)

    def hurry(self) -> None:
        """Somebody starts one of them by hand: begin at once, if it only waits for its time."""
        if self.timer is not None:
            self.timer.cancel()
            self._go()

    def _go(self) -> None:
        self.timer = None
        begin(self.parent, "restart", restart_children, self)

    def leave(self, child: Service) -> None:
        """`child` is stopped by hand, or taken out: it is not restarted any more."""
        self.release(child)
        if child._state == STOPPED:
            up(child)

    def release(self, child: Service) -> None:
        """`child` is no longer the business of this restart."""
        child._mend = None
        self.children = [each for each in self.children if each is not child]
        if not self.children:
            self.close()

    def close(self) -> None:
        """Restart nothing any more."""
        if self.closed:
            return
        self.closed = True
        self._supervisor.mends.discard(self)
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for child in tuple(self.children):
            self.leave(child)


# -- failure -------------------------------------------------------------------------------------


def begin_failure(service: Service, failure: Failure) -> bool:
    """A task of `service` failed. Called in the backend's own thread; returns at once.

    Returns:
        Whether it fails a start, whose caller will be told.
    """
    if service._state == READY:
        begin(service, "fail", fail, failure)
    elif service._state == STARTING and service._operation is not None:
        return service._operation.abandon(Abandoned(str(failure), service, failure))
    return False


async def fail(operation: Operation, service: Service, failure: Failure) -> None:
    """`service` cannot go on: bring it down, and let its supervisor see to it."""
    if service._state == READY and service._operation is not None:
        service._operation.abandon(stopped_meanwhile(service))
        await settled(operation, service)
    if service._state != READY:
        return
    service.failure = failure
    record(service, FAILURE, failure)
    errors: list[BaseException] = []
    await bring_down(operation, service, errors, "failed")
    await child_failed(operation, service, failure)


def end(service: Service) -> None:
    """Stop `service`, which has come to its end by itself. Called in the backend's own thread."""
    begin(service, "stop", _end)


async def _end(operation: Operation, service: Service) -> None:
    errors: list[BaseException] = []
    await stop(operation, service, errors)
    service.stop_errors = tuple(errors)
    await ended(operation, service)


async def ended(operation: Operation, service: Service) -> None:
    """`service` came to its end by itself, and is stopped: a permanent one is restarted."""
    if service._restart_policy == PERMANENT and service._state == STOPPED:
        error = Ended(f"{service.path} has ended, and is to run permanently")
        await child_failed(operation, service, Failure(service.path, "run", error))


# -- supervision ---------------------------------------------------------------------------------


async def child_failed(operation: Operation, child: Service, failure: Failure) -> None:
    """`child` is down because of `failure`: restart it, or give up."""
    parent = child.parent
    if parent is None:
        return
    above = Failure(parent.path, "child", failure.error, failure)
    if parent._state != READY:
        begin_failure(parent, above)
    elif child._restart_policy == TEMPORARY:
        if child._state == FAILED:
            down(child)
    else:
        care = child._care = child._care or Care()
        supervisor = parent._supervisor = parent._supervisor or Supervisor()
        limits = limits_of(parent, care)
        count = _count(supervisor, care, limits)
        if count > limits.max_restarts:
            _tell_given_up(parent, failure, count, limits)
            await fail(operation, parent, above)
        else:
            mend = Mend(supervisor, parent, _with(child), failure)
            await _mend(operation, child, mend, limits)


def _count(supervisor: Supervisor, care: Care, limits: Limits) -> int:
    """Count one more failure; returns how many there were within the period."""
    now = context.clock.now()
    if care.up_since is not None and now - care.up_since >= limits.restart_period:
        care.attempts = 0
    failures = supervisor.failures if care.said is None else care.failures
    failures.append(now)
    while now - failures[0] > limits.restart_period:
        failures.popleft()
    return len(failures)


def _tell_given_up(parent: Service, failure: Failure, count: int, limits: Limits) -> None:
    logger.error(
        "%s gives up: %s failed; that is %d failure%s within %g s, and max_restarts is %d",
        parent.path,
        failure.path,
        count,
        "" if count == 1 else "s",
        limits.restart_period,
        limits.max_restarts,
    )
    record(parent, GIVE_UP, failure, {"failures": count, "max_restarts": limits.max_restarts})


def _with(child: Service) -> list[Service]:
    """The children that are restarted when `child` is, in the order of their start."""
    parent = child.parent
    if parent is None or parent.strategy == ONE_FOR_ONE:
        return [child]
    children = list(parent.children)
    if parent.strategy == ONE_FOR_ALL:
        return children
    return children[next(i for i, each in enumerate(children) if each is child) :]


async def _mend(operation: Operation, child: Service, mend: Mend, limits: Limits) -> None:
    """Stop those that are restarted too, and wait for the time of the restart."""
    care = child._care or Care()
    delay = limits.backoff.delay(care.attempts)
    care.attempts += 1
    for other in reversed(mend.children):
        if other._mend is mend and other._state in (READY, STARTING):
            await stop(operation, other, [])  # what it raises is in the log
    if mend.parent._state != READY:
        mend.close()
    elif not mend.closed:
        mend.wait(delay)
        logger.warning("%s: to be restarted in %.2g s", mend.failure.path, delay)
        record(child, BACKOFF, mend.failure, {"seconds": delay})


async def restart_children(operation: Operation, parent: Service, mend: Mend) -> None:
    """Start those that are down, in their order."""
    for child in tuple(mend.children):
        if mend.closed or parent._state != READY:
            return
        if child._mend is not mend:
            continue
        try:
            await start(operation, child)
        except (SystemExit, KeyboardInterrupt) as ending:
            parent.root.end_with(ending)
            return
        except Exception as error:  # noqa: BLE001 - a user's do_start raised it
            if child._mend is mend:
                await _failed_again(operation, child, error)
                return
            operation.abandoned = None  # it was stopped by hand: its siblings are started
        else:
            _restarted(child, mend)


async def _failed_again(operation: Operation, child: Service, error: Exception) -> None:
    failure = child.failure or Failure(child.path, "start", error)
    *_, first = failure.chain()
    log_failure(child, first)
    await child_failed(operation, child, failure)


def _restarted(child: Service, mend: Mend) -> None:
    if child._mend is mend:
        mend.release(child)
    care = child._care = child._care or Care()
    care.restarts += 1
    own = mend.failure.path == child.path
    reason = mend.failure.phase.partition(" ")[0] if own else "sibling"
    care.reasons[reason] = care.reasons.get(reason, 0) + 1
    care.up_since = context.clock.now()
    logger.info("%s: restarted", child.path)
    record(child, RESTART, mend.failure, {"restarts": care.restarts})
