"""Health checks: a service that says of itself whether it is well.

A service whose class has a ``check`` is asked by it every `check_interval` seconds, while it is
ready. The call is a task of the service. What it raises, that it returns False, or that it does not
return in time, fails the service as a task that raises does, and its supervisor sees to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .context import context
from .errors import ApplicationFailed, TemporaryFailure, UsageError
from .jobs import Every
from .state import READY
from .tasks import is_coroutine_function, task_failed

if TYPE_CHECKING:
    from .clock import Timer
    from .service import Service


class CheckFailed(ApplicationFailed):
    """The `check` of a service returned False."""


class CheckTimeout(TemporaryFailure, TimeoutError):
    """The `check` of a service did not return in time."""


class HealthCheck(Every):
    """The job that asks a service whether it is well."""

    __slots__ = ("_limit", "_timeout")

    def __init__(self, service: Service) -> None:
        super().__init__(service.check_interval, service, _judging(service.check))
        self._timeout = service.check_timeout
        self._limit: Timer | None = None

    def _run(self) -> None:
        if self.service._state != READY:
            return
        runs = self.runs
        super()._run()
        if self.runs > runs and self._timeout is not None:
            if self._limit is not None:  # of the run before, which is over
                self._limit.cancel()
            backend = self.service.backend_in_use
            expired = functools.partial(self._expired, self._task)
            self._limit = context.clock.later(backend, self._timeout, expired)

    def _expired(self, task: Any) -> None:
        if task is self._task and self.running:
            error = CheckTimeout(f"it did not return within {self._timeout:g} s")
            task_failed(self.service, self._function, error)

    def _end(self) -> None:
        super()._end()
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _judging(check: Callable[[], Any]) -> Callable[[], Any]:
    """`check`, as a task that raises where it returns False."""

    async def judge_later(value: Any) -> None:
        _judge(await value)

    async def waits() -> None:
        _judge(await check())

    def blocks() -> Any:
        value = check()  # a coroutine all the same, where a decorator hides that it gives one
        return judge_later(value) if hasattr(value, "__await__") else _judge(value)

    task: Callable[[], Any] = waits if is_coroutine_function(check) else blocks
    functools.update_wrapper(task, check)
    task.ginkgo_phase = "check"  # type: ignore[attr-defined]
    return task


def _judge(value: Any) -> None:
    if value is False:
        raise CheckFailed("it returned False")


def begin_checks(service: Service) -> None:
    """Ask `service` from now on. Called when it is about to be ready.

    Raises:
        UsageError: its `check_interval` or `check_timeout` is no time above 0 s.
    """
    for name in ("check_interval", "check_timeout"):
        seconds = getattr(service, name)
        if seconds is None and name == "check_timeout":
            continue
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
            raise UsageError(f"{service.path}: {name} is a time above 0 s, not {seconds!r}")
    HealthCheck(service).begin()
