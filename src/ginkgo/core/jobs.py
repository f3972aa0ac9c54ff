"""Jobs: functions that a service calls again and again, by timers of the clock.

::

    timer ---> time has come ---> set the next timer ---> is the last run still going on?
      ^                                  |                   no:  spawn a task of the service
      |                                  |                   yes: one more that was missed
      +----------------------------------+

Between its runs a job is a timer, and nothing else. A run is a task like any other: it is ended
with those of its service, and an error in it is told by the same rules. The jobs of a service are
in its ``_jobs``, which is None while it has none, and end when the service stops.
"""

from __future__ import annotations

import contextvars
import logging
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .context import context
from .repeats import Repeats
from .state import FAILED, STOPPED, STOPPING
from .tasks import FAIL, task_failed, task_name, with_rules

if TYPE_CHECKING:
    from .clock import Timer
    from .service import Service

logger = logging.getLogger(__name__)

QUIET: Final = 60.0  # seconds for which a job that misses runs says so no more


class Job:
    """What :meth:`Service.every` and :meth:`Service.at` return.

    Attributes:
        runs: how many calls were begun.
        missed: how many were left out: the one before had not ended, or the process was held up,
            or the wall clock was put forward.
        cancelled: whether there will be no more.
    """

    __slots__ = (
        "_args",
        "_context",
        "_function",
        "_kwargs",
        "_repeats",
        "_task",
        "_timer",
        "cancelled",
        "missed",
        "runs",
        "service",
    )

    def __init__(
        self,
        service: Service,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        on_error: str = FAIL,
    ) -> None:
        if on_error != FAIL:
            function = with_rules(service, function, on_error, False)
        self.service = service
        self.runs = 0
        self.missed = 0
        self.cancelled = False
        self._function = function
        self._args = args
        self._kwargs = kwargs or {}
        self._context = contextvars.copy_context()  # of whoever asked, as in any other task
        self._task: Any = None
        self._timer: Timer | None = None
        self._repeats: Repeats | None = None

    @property
    def name(self) -> str:
        """How the function is called in messages."""
        return task_name(self._function)

    @property
    def running(self) -> bool:
        """Whether a call is under way."""
        return self._task is not None and self._task in (self.service._tasks or ())

    def cancel(self) -> None:
        """Make no more calls. One that is under way comes to its end. May be called again."""
        self.cancelled = True
        self.service.backend_to_ask.post(self._end)

    def kill(self, *args: Any, **kwargs: Any) -> None:
        """Make no more calls, and end the one that is under way.

        Args:
            args: what the ``kill`` of a task takes: `block`, `timeout`.
            kwargs: likewise, by name.
        """
        self.cancel()
        task = self._task
        if task is not None and self.running:
            if hasattr(task, "kill"):
                task.kill(*args, **kwargs)
            else:
                self.service.backend_in_use.cancel(task)

    def begin(self) -> None:
        """Take up its place on the service, and wait for its first time. From any thread."""
        self.service.backend_in_use.post(self._begin)

    def _begin(self) -> None:
        service = self.service
        if self.cancelled or service._state in (STOPPING, STOPPED, FAILED):
            self.cancelled = True  # it would be ended in the same moment
            return
        if service._jobs is None:
            service._jobs = set()
        service._jobs.add(self)
        self._first()

    def _end(self) -> None:
        self.cancelled = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        jobs = self.service._jobs
        if jobs is not None:
            jobs.discard(self)
            if not jobs:
                self.service._jobs = None

    def _first(self) -> None:
        """Set the first timer."""
        raise NotImplementedError

    def _wait(self, seconds: float) -> None:
        backend = self.service.backend_in_use
        self._timer = context.clock.later(backend, max(0.0, seconds), self._time_has_come)

    def _time_has_come(self) -> None:
        """Set the next timer, and run."""
        raise NotImplementedError

    def _run(self) -> None:
        if self.running:
            self._miss(1, "the one before has not ended")
            return
        self.runs += 1
        try:
            self._task = self._context.run(self._spawn)
        except Exception as error:  # noqa: BLE001 - no thread can be made, say
            task_failed(self.service, self._function, error)

    def _spawn(self) -> Any:
        service = self.service
        return service.backend_in_use.spawn(service, self._function, self._args, self._kwargs)

    def _miss(self, count: int, why: str) -> None:
        """Count runs that are left out, and say so once in a while."""
        self.missed += count
        if self._repeats is None:
            self._repeats = Repeats(QUIET, context.clock.now)
        if self._repeats.due() is not None:
            logger.warning(
                "%s: %s is not called in time: %s (%d missed so far, %d made)",
                self.service.path,
                self.name,
                why,
                self.missed,
                self.runs,
            )

    def __repr__(self) -> str:
        state = " cancelled" if self.cancelled else ""
        return f"<{type(self).__name__} {self.name} of {self.service.path}{state}>"


class Every(Job):
    """One that is due at multiples of a time on the monotonic clock, however long a call takes."""

    __slots__ = ("_due", "_immediately", "_jitter", "_planned", "_seconds")

    def __init__(
        self, seconds: float, *what: Any, jitter: float = 0.0, immediately: bool = False
    ) -> None:
        super().__init__(*what)
        self._seconds = seconds
        self._jitter = jitter
        self._immediately = immediately
        self._due = self._planned = 0.0

    def _first(self) -> None:
        self._due = context.clock.now()
        self._plan(1)
        if self._immediately:
            self._run()

    def _plan(self, times: int) -> None:
        self._due += self._seconds * times
        jitter = random.uniform(-self._jitter, self._jitter)  # noqa: S311 - not a secret
        self._planned = self._due + jitter
        self._wait(self._planned - context.clock.now())

    def _time_has_come(self) -> None:
        missed = max(0, int((context.clock.now() - self._planned) // self._seconds))
        self._plan(1 + missed)
        if missed:
            self._miss(missed, "the process was held up")
        self._run()


def end_jobs(service: Service) -> None:
    """End all jobs of `service`. Called in the backend's own thread."""
    for job in tuple(service._jobs or ()):
        job._end()
