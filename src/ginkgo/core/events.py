"""What has happened in a tree: the last events of it, for those who look and those who listen.

Every transition, failure, restart, give-up and reload is an event, and so is what operators do to
it: see the kinds below. The root of a tree keeps the last thousand; a service shows those of itself
and of what is below it::

    for event in app.events:
        print(event.time, event.path, event.text)

    subscription = app.events.subscribe(print)
    ...
    subscription.close()
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .context import context
from .failure import Failure
from .repeats import Repeats

if TYPE_CHECKING:
    from .service import Service

logger = logging.getLogger(__name__)

KEPT: Final = 1000
MESSAGE: Final = 1000  # characters of an error that an event keeps
TOLD_AGAIN: Final = 10.0  # seconds until the log tells the same failure of a service again

STATE: Final = "state"
"""The service's state has changed."""

FAILURE: Final = "failure"
"""It has failed; `cause` says why."""

BACKOFF: Final = "backoff"
"""Its restart waits for `seconds`."""

RESTART: Final = "restart"
"""Its supervisor has started it again; `restarts` counts."""

GIVE_UP: Final = "give-up"
"""It restarts its children no longer: there were `failures`, and `max_restarts` is less."""

RELOAD: Final = "reload"
"""A service was reloaded, and `failed` services in it could not be; or the whole process was:
`outcome` (done, failed, refused, busy), `changed`, `needs_restart` and `covered` (each `name`,
`old`, `new`, `origin`), `refused` (why, with file and line), `failed` (each `path`, `state`,
`why`), `by`."""

ASKED: Final = "asked"
"""Somebody has asked for `action` (stop, restart, reload) of the service; of the root a stop is
that of the process. `by` is who or what."""

LAME_DUCK: Final = "lame-duck"
"""The process was told to stop, and serves for `seconds` still; `by` is the signal."""

SET: Final = "set"
"""The setting `name` was set for now: `outcome` (done), `old`, `value`, `until` (when that ends, or
None), `by`. Or it was not: `outcome` (refused), `refused` (why), `by`."""

LOG_LEVEL: Final = "log-level"
"""The logger `name` was given a level for now, or was not: the same."""

PUT_BACK: Final = "put-back"
"""The time of a change is over: `what` (set or log-level), `name`, `old`, `value`, `until`."""

KINDS: Final = (
    STATE,
    FAILURE,
    BACKOFF,
    RESTART,
    GIVE_UP,
    RELOAD,
    ASKED,
    LAME_DUCK,
    SET,
    LOG_LEVEL,
    PUT_BACK,
)
"""All that Ginkgo records. An application may have kinds of its own."""


class Cause(NamedTuple):
    """One failure, in words: an event keeps no exception, and so nothing that its frames hold.

    Attributes:
        path: the path of the service that failed.
        phase: what it was doing, as in :class:`~ginkgo.core.failure.Failure`.
        error: the name of the exception's type.
        message: what it said.
    """

    path: str
    phase: str
    error: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.phase} failed: {self.error}: {self.message}"


def causes(failure: Failure) -> tuple[Cause, ...]:
    """The chain of a failure, its first cause last."""
    return tuple(
        Cause(each.path, each.phase, type(each.error).__name__, each.text[:MESSAGE])
        for each in failure.chain()
    )


class Event:
    """One thing that happened to one service.

    Attributes:
        number: counts the events of a tree, from 1; the numbers of a tree have no gaps.
        time: seconds since the epoch.
        kind: one of `KINDS`, or another word of who recorded it.
        state: the state that the service was in after it.
        cause: the chain of failures behind it, the first cause last; empty where there is none.
        details: what else is to be known, as JSON-able data.
    """

    __slots__ = (
        "_path",
        "_service",
        "_words",
        "cause",
        "details",
        "kind",
        "number",
        "state",
        "time",
    )

    def __init__(
        self,
        number: int,
        service: Service,
        kind: str,
        state: str,
        cause: Failure | None,
        details: dict[str, Any] | None,
        words: str = "",
    ) -> None:
        self.number = number
        self.time = context.clock.wall()
        self.kind = kind
        self.state = state
        self.cause = () if cause is None else causes(cause)
        self.details = details
        self._words = words
        self._service: Service | None = service
        self._path = ""

    @property
    def path(self) -> str:
        """The service's path in its tree when it happened."""
        if self._service is not None:  # looked up when it is read, or before it changes
            self._path = self._service.path
            self._service = None
        return self._path

    @property
    def text(self) -> str:
        """What happened, in a few words."""
        if self._words:
            return self._words
        words = self.state if self.kind == STATE else self.kind
        for name, value in (self.details or {}).items():
            shown = f"{value:.2g}" if isinstance(value, float) else value
            words += f", {name.replace('_', ' ')} {shown}"
        return f"{words}: {self.cause[-1]}" if self.cause else words

    def to_dict(self) -> dict[str, Any]:
        """The event as JSON-able data."""
        told: dict[str, Any] = {
            "number": self.number,
            "time": self.time,
            "path": self.path,
            "kind": self.kind,
            "state": self.state,
            "cause": [cause._asdict() for cause in self.cause],
        }
        return told | (self.details or {})

    def __repr__(self) -> str:
        return f"<Event {self.number} {self.path}: {self.text}>"


class Log:
    """The last events of one tree, and who is told of new ones."""

    __slots__ = ("_count", "_kept", "_settled", "repeats", "subscriptions")

    def __init__(self) -> None:
        self._count = 0
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._settled = 0
        self.repeats = Repeats(TOLD_AGAIN, lambda: context.clock.now())
        self.subscriptions: tuple[Subscription, ...] = ()

    def add(
        self,
        service: Service,
        kind: str,
        state: str,
        cause: Failure | None,
        details: dict[str, Any] | None,
        words: str = "",
    ) -> None:
        """Record an event, and tell it. Called in the tree's thread."""
        self._count += 1
        event = Event(self._count, service, kind, state, cause, details, words)
        self._kept.append(event)
        if kind == STATE:
            service._since = event.time
        for subscription in self.subscriptions:
            subscription.tell(event)

    def settle(self) -> None:
        """Look up the paths of what was recorded, before one of them changes."""
        new = min(self._count - self._settled, len(self._kept))
        self._settled = self._count
        for number in range(-new, 0):
            self._kept[number].path  # noqa: B018

    def kept(self) -> list[Event]:
        """Those that are kept, from any thread."""
        return list(self._kept)


class Subscription:
    """Somebody who is told of events; ended by :meth:`close`."""

    __slots__ = ("_function", "_log", "_path")

    def __init__(self, log: Log, path: str | None, function: Callable[[Event], object]) -> None:
        self._log = log
        self._path = path
        self._function = function
        log.subscriptions += (self,)

    def tell(self, event: Event) -> None:
        """Call the function; what it raises harms nobody but itself."""
        if self._path is not None and not within(event.path, self._path):
            return
        try:
            self._function(event)
        except Exception:  # users' code: told, and the tree and other subscribers go on
            logger.exception("What is subscribed to events raised: %r", self._function)

    def close(self) -> None:
        """Be told no more. May be called again."""
        self._log.subscriptions = tuple(
            each for each in self._log.subscriptions if each is not self
        )


class Events:
    """What ``service.events`` is: the events of a service and of those below it."""

    __slots__ = ("_service",)

    def __init__(self, service: Service) -> None:
        self._service = service

    def __iter__(self) -> Iterator[Event]:
        log, path = self._seen()
        for event in log.kept():
            if path is None or within(event.path, path):
                yield event

    def subscribe(self, function: Callable[[Event], object]) -> Subscription:
        """Have `function` called with each new event.

        It is called in the tree's own thread while the tree changes: it must not block, nor start
        or stop anything itself (``spawn`` and ``stop_soon`` do it afterwards).

        Returns:
            What ends it by its ``close()``.
        """
        log, path = self._seen()
        return Subscription(log, path, function)

    def _seen(self) -> tuple[Log, str | None]:
        root = self._service.root
        return log_of(root), None if root is self._service else self._service.path


def reloaded(failed: int) -> str:
    """What is told of a service's reload, in which so many services failed."""
    if not failed:
        return "reloaded"
    return f"reloaded, {failed} {'service' if failed == 1 else 'services'} in it failed"


def within(path: str, above: str) -> bool:
    """Whether `path` is that of a service, or of one below it."""
    return path == above or path.startswith(above + "/")


def log_of(root: Service) -> Log:
    """The log of the tree with that root."""
    log = root._event_log
    if log is None:
        log = root._event_log = Log()
    return log


def record(
    service: Service,
    kind: str,
    cause: Failure | None = None,
    details: dict[str, Any] | None = None,
    words: str = "",
) -> None:
    """Record that something happened to `service`. Called in the tree's thread.

    Args:
        service: whom it happened to.
        kind: see `KINDS`.
        cause: the failure behind it.
        details: what else is to be known, as JSON-able data.
        words: what is told of it in a line, where kind and details one after the other would not
            read well.
    """
    root = service
    while root.parent is not None:
        root = root.parent
    state = service.state.current if service._ailing else service._state
    log_of(root).add(service, kind, state, cause, details, words)
