"""Why a service failed, and why those above it did.

A failure is data: the control plane shows it, the log tells it once, and the runner prints it when
it ends the process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import ApplicationFailed, TemporaryFailure

if TYPE_CHECKING:
    from .service import Service

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """One service's failure.

    Attributes:
        path: the service's path in its tree, ``app/db/pool``.
        phase: what it was doing: ``start``, ``task NAME``, ``child``.
        error: the exception, the user's own where there is one.
        cause: the failure of the child that brought this service down, or None.
        text: what the error says, asked when it failed: others may look from another thread.
    """

    path: str
    phase: str
    error: BaseException
    cause: Failure | None = None
    text: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", text_of(self.error))

    def chain(self) -> Iterator[Failure]:
        """This failure, the one that caused it, and so on; the first cause comes last."""
        failure: Failure | None = self
        while failure is not None:
            yield failure
            failure = failure.cause

    def __str__(self) -> str:
        *_, first = self.chain()
        return f"{first.path}: {first.phase} failed: {type(first.error).__name__}: {first.text}"

    def story(self) -> str:
        """How it came to this failure, in a line; the first cause comes last."""
        *above, _ = self.chain()
        first = str(self).partition("\n")[0]
        return "".join(f"{each.path} failed because " for each in above) + first


def text_of(error: BaseException) -> str:
    """What an error says, even one that cannot say it."""
    try:
        return str(error)
    except Exception as another:  # noqa: BLE001 - somebody else's code, in the middle of a stop
        return f"<its __str__ raised {type(another).__name__}>"


def note(error: BaseException, text: str) -> None:
    """Add a note to an error, if it takes one: an exception that is a frozen dataclass does not."""
    try:
        error.add_note(text)
    except Exception as another:  # noqa: BLE001 - somebody else's code, in the middle of a stop
        logger.debug("%s takes no note (%s): %s", type(error).__name__, another, text)


class StartTimeout(TemporaryFailure, TimeoutError):
    """A service was not ready in time."""


class StopTimeout(TemporaryFailure, TimeoutError):
    """A task or a `do_stop` did not end in time, and was left behind."""


class ReloadTimeout(TemporaryFailure, TimeoutError):
    """A `do_reload` did not end in time."""


class Abandoned(TemporaryFailure):
    """A start, reload or restart was given up, because of what happened to `service` meanwhile.

    Args:
        message: what happened.
        service: the service that was stopped, or whose task failed.
        failure: that failure, or None where it was a stop.

    Attributes:
        reached: the unwinding of the start has come up to `service`.
    """

    def __init__(self, message: str, service: Service, failure: Failure | None = None) -> None:
        super().__init__(message)
        self.service = service
        self.failure = failure
        self.reached = False


class NotReady(ApplicationFailed):
    """A method that needs a ready service was called before it was ready."""


class SpawnRefused(ApplicationFailed):
    """A service that is stopped does not take tasks."""
