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
that nothing of it runs any more. A transition is legal, or it is not made: :func:`move` never
raises, because it is called in the middle of a stop, where nothing may raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .service import Service

INIT: Final = "init"
STARTING: Final = "starting"
READY: Final = "ready"
STOPPING: Final = "stopping"
STOPPED: Final = "stopped"
FAILED: Final = "failed"

AT_AN_END: Final = frozenset((STOPPED, FAILED))
STATES: Final = (INIT, STARTING, READY, STOPPING, STOPPED, FAILED)

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
    if service._watchers:
        notify(service)
    return True


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
        """One of ``init``, ``starting``, ``ready``, ``stopping``, ``stopped``, ``failed``."""
        return self._service._state

    def wait(self, state: str, timeout: float | None = None) -> Any:
        """The same as :meth:`Service.wait <ginkgo.core.service.Service.wait>`."""
        return self._service.wait(state, timeout)

    def __eq__(self, other: object) -> bool:
        return self._service._state == (other.current if isinstance(other, State) else other)

    def __hash__(self) -> int:
        return hash(self._service._state)  # as that of the name: it is looked up in sets of names

    def __str__(self) -> str:
        return self._service._state

    def __repr__(self) -> str:
        return f"<State {self._service._state} of {self._service.path}>"
