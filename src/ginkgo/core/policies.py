"""What a supervisor does, in the words of Erlang's: who is restarted, how often, and how soon.

::

    class Pool(Service):
        restart = "permanent"          # what its supervisor does; or transient, temporary
        strategy = "rest_for_one"      # who is restarted with a child of it that failed
        max_restarts = 5               # more failures of its children than that ...
        restart_period = 30.0          # ... within so many seconds, and it gives up
        backoff = Backoff(0.1, 2, 30)  # how long a child that failed waits for its next start
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .context import context
from .errors import UsageError

if TYPE_CHECKING:
    from .service import Service

TRANSIENT: Final = "transient"
PERMANENT: Final = "permanent"
TEMPORARY: Final = "temporary"
RESTARTS: Final = (TRANSIENT, PERMANENT, TEMPORARY)

ONE_FOR_ONE: Final = "one_for_one"
ONE_FOR_ALL: Final = "one_for_all"
REST_FOR_ONE: Final = "rest_for_one"
STRATEGIES: Final = (ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE)


class Backoff(NamedTuple):
    """How long a service that failed waits for its next start.

    Attributes:
        first: seconds before the first of its restarts.
        factor: what the wait is multiplied by at each further one.
        ceiling: seconds that it never exceeds.
        jitter: the share of a wait, from 0 to 1, that is taken off at random, so that services
            that failed together do not all come back in the same moment.

    Example:
        >>> [Backoff(0.1, 2, 1, jitter=0).delay(attempt) for attempt in range(5)]
        [0.1, 0.2, 0.4, 0.8, 1]
    """

    first: float = 0.1
    factor: float = 2.0
    ceiling: float = 30.0
    jitter: float = 0.5

    def delay(self, attempt: int) -> float:
        """Seconds to wait before a restart, when there were `attempt` of them since it was well."""
        full = min(self.ceiling, self.first * self.factor ** min(attempt, 64))
        return full * (1 - self.jitter * random.random())  # noqa: S311 - not a secret


class Limits(NamedTuple):
    """How often something may be restarted, and how soon."""

    max_restarts: int
    restart_period: float
    backoff: Backoff


REASONS = ("start", "task", "check", "command", "run", "child", "sibling")
"""What a restart is for: its start failed, a task of it, its health check, its program; it has come
to its end and is to run permanently; one below it has failed it; it goes with a sibling."""


class Care:
    """What a supervisor remembers of one child.

    Attributes:
        said: what `add_service` was given for it alone (max_restarts, restart_period, backoff).
        failures: when it failed, where it has limits of its own.
        attempts: its restarts since it was well for `restart_period` seconds.
        restarts: all of them.
        reasons: how many of them there were for what; see `REASONS`.
        up_since: when it was last restarted.
    """

    __slots__ = ("attempts", "failures", "reasons", "restarts", "said", "up_since")

    def __init__(self, said: tuple[Any, Any, Any] | None = None) -> None:
        self.said = said
        self.failures: deque[float] = deque()
        self.attempts = 0
        self.restarts = 0
        self.reasons: dict[str, int] = {}
        self.up_since: float | None = None


def limits_of(supervisor: Service, care: Care) -> Limits:
    """Those that a service sets a child."""
    most, period, backoff = care.said or (None, None, None)
    if most is None:
        most = supervisor.max_restarts
    if period is None:
        period = supervisor.restart_period
    if backoff is None:
        backoff = supervisor.backoff
    return Limits(
        context.max_restarts if most is None else most,
        context.restart_period if period is None else period,
        Backoff(*(backoff or ())),
    )


def check_policies(service: Service) -> None:
    """Look at what a service says about the supervision of its children.

    Raises:
        UsageError: it cannot be meant so.
    """
    if service.strategy not in STRATEGIES:
        raise UsageError(
            f"{service.path}: strategy is one of {', '.join(STRATEGIES)}, not {service.strategy!r}"
        )
    check_limits(service, service.max_restarts, service.restart_period, service.backoff)


def check_limits(service: Service, max_restarts: Any, restart_period: Any, backoff: Any) -> None:
    """The same for single values; None is what was not said."""
    if max_restarts is restart_period is backoff is None:
        return
    path = service.path
    if max_restarts is not None and not _number(max_restarts, 0):
        raise UsageError(f"{path}: max_restarts is a number from 0, not {max_restarts!r}")
    if restart_period is not None and not (_number(restart_period, 0) and restart_period > 0):
        raise UsageError(f"{path}: restart_period is a time above 0 s, not {restart_period!r}")
    if backoff is None:
        return
    if not isinstance(backoff, (tuple, list)) or not 1 <= len(backoff) <= 4:
        raise UsageError(
            f"{path}: backoff is a Backoff(first, factor, ceiling, jitter), not {backoff!r}"
        )
    first, factor, ceiling, jitter = Backoff(*backoff)
    fits = _number(first, 0) and _number(factor, 1) and _number(ceiling, 0) and _number(jitter, 0)
    if not fits or jitter > 1:
        raise UsageError(
            f"{path}: of a backoff, first and ceiling are seconds, factor is at least 1 and jitter "
            f"from 0 to 1, unlike in {tuple(backoff)!r}"
        )


def _number(value: Any, least: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= least


def check_restart(whose: str, policy: object) -> str:
    """The policy with that name.

    Raises:
        UsageError: there is none.
    """
    if policy not in RESTARTS:
        raise UsageError(f"{whose}: restart is one of {', '.join(RESTARTS)}, not {policy!r}")
    return str(policy)


class Policy(str):
    """What ``service.restart`` is: the policy's name, and called, it restarts the service."""

    _service: Service | None

    def __new__(cls, policy: str, service: Service | None) -> Policy:
        self = super().__new__(cls, policy)
        self._service = service
        return self

    def __call__(self, service: Service | None = None) -> Any:
        service = self._service or service
        if service is None:
            raise TypeError("restart() is called on a service")
        return service._restart_now()


class RestartAttribute:
    """``restart`` of the class `Service`: a policy to read and to set, and a call.

    A subclass sets it as it sets any attribute, ``restart = "permanent"``; see
    :func:`take_policy`.
    """

    def __get__(self, service: Service | None, owner: type[Service]) -> Policy:
        return Policy((owner if service is None else service)._restart_policy, service)

    def __set__(self, service: Service, policy: object) -> None:
        service._restart_policy = check_restart(service.path, policy)


def take_policy(cls: type[Service]) -> None:
    """Let a subclass's ``restart = "permanent"`` be its policy, and not hide the call.

    Raises:
        UsageError: there is no such policy.
    """
    policy = cls.__dict__.get("restart")
    if isinstance(policy, str):
        cls._restart_policy = check_restart(f"{cls.__module__}.{cls.__qualname__}", policy)
        del cls.restart
