"""The states of a service, as a table.

::

                +------+
                | init |
                +--+---+
                   | start
                   v
            +------------+  ready   +-------+
      +---->|  starting  +--------->| ready |
      |     +-----+------+          +---+---+
      |           | stop                | stop
      |           v                     v
      |     +---------------------------------+
      |     |            stopping             |
      |     +---+-------------------------+---+
      |         | stopped                 | failed
      |         v                         v
      | start +---------+   stopped   +--------+
      +-------+ stopped |<------------+ failed |
      |       +---------+             +---+----+
      |                                   | start
      +-----------------------------------+

A service that fails is brought down first, through ``stopping``, so that ``failed`` always means
that nothing of it runs any more. Above one that is down, those that are ready say ``degraded``.
A transition is legal, or it is not made: :func:`move` never
raises, because it is called in the middle of a stop, where nothing may raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .context import context
from .events import STATE, record

if TYPE_CHECKING:
    from .service import Service

INIT: Final = "init"
STARTING: Final = "starting"
READY: Final = "ready"
STOPPING: Final = "stopping"
STOPPED: Final = "stopped"
FAILED: Final = "failed"

AT_AN_END: Final = frozenset((STOPPED, FAILED))

DEGRADED: Final = "degraded"
"""What a ready service says while one of those below it is down that should be up."""

STATES: Final = (INIT, STARTING, READY, DEGRADED, STOPPING, STOPPED, FAILED)

TRANSITIONS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "start": ((INIT, STOPPED, FAILED), STARTING),
    "ready": ((STARTING,), READY),
    "stop": ((STARTING, READY), STOPPING),
    "stopped": ((STOPPING, FAILED), STOPPED),
    "failed": ((STOPPING,), FAILED),
}


def move(service: Service, event: str) -> bool:
    """Make the transition `event`, and tell whoever watches the service.

    Returns:
        False, with nothing changed, when the service's state has no such transition.
    """
    sources, target = TRANSITIONS[event]
    if service._state not in sources:
        return False
    service._state = target
    if service._is_down and (target == READY or (target == STOPPED and service._mend is None)):
        service._is_down = False
        service._ailing -= 1
        record(service, STATE)
        if not service._ailing and service.parent is not None:
            _ail(service.parent, -1)
    else:
        record(service, STATE)
    if service._watchers:
        notify(service)
    return True


def current(service: Service) -> str:
    """The state as it is told: a ready service is degraded while something below it is down."""
    return DEGRADED if service._ailing and service._state == READY else service._state


def down(service: Service) -> None:
    """`service` does not run although its parent does, and it should."""
    if not service._is_down:
        service._is_down = True
        service._down_since = context.clock.wall()
        _ail(service, +1)


def up(service: Service) -> None:
    """It is down no longer, or is not meant to run."""
    if service._is_down:
        service._is_down = False
        _ail(service, -1)


def orphan(service: Service) -> None:
    """It is about to leave its parent, which is no longer degraded by it."""
    up(service)
    if service._ailing and service.parent is not None:
        _ail(service.parent, -1)


def _ail(service: Service, step: int) -> None:
    """Count what is wrong with `service` and those below it, up to the root."""
    each: Service | None = service
    while each is not None:
        before = each._ailing
        each._ailing = before + step
        if bool(before) == bool(each._ailing):
            return
        if each._state == READY:
            record(each, STATE)
        if each._watchers:
            notify(each)
        each = each.parent


def notify(service: Service) -> None:
    """Call whoever watches the service: its state or its operation has changed."""
    for watcher in tuple(service._watchers or ()):
        watcher(service)


class State:
    """What ``service.state`` is: the current state, to read, to compare and to wait for.

    >>> service.state.current
    'ready'
    >>> service.state == "ready"
    True
    """

    __slots__ = ("_service",)

    def __init__(self, service: Service) -> None:
        self._service = service

    @property
    def current(self) -> str:
        """One of ``init``, ``starting``, ``ready``, ``degraded``, ``stopping``, ``stopped``,
        ``failed``. A service is degraded while it is ready and one below it is down."""
        return current(self._service)

    def wait(self, state: str, timeout: float | None = None) -> Any:
        """The same as :meth:`Service.wait <ginkgo.core.service.Service.wait>`."""
        return self._service.wait(state, timeout)

    def __eq__(self, other: object) -> bool:
        return self.current == (other.current if isinstance(other, State) else other)

    def __hash__(self) -> int:
        return hash(self.current)  # as that of the name: it is looked up in sets of names

    def __str__(self) -> str:
        return self.current

    def __repr__(self) -> str:
        return f"<State {self.current} of {self._service.path}>"
