"""What a service does: its tasks, what it does every so often, and its health check.

The part of :class:`~ginkgo.core.service.Service` that says so; how it is done is in
:mod:`ginkgo.core.tasks`, :mod:`ginkgo.core.jobs`, :mod:`ginkgo.core.cron` and
:mod:`ginkgo.core.health`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from .errors import UsageError
from .jobs import Every, Job
from .state import AT_AN_END
from .tasks import FAIL, refuse_spawn, with_rules

if TYPE_CHECKING:
    from .backend import Backend
    from .service import Service


class Work:
    """What a service does.

    Attributes:
        check_interval: seconds from one call of `check` to the next.
        check_timeout: seconds that one call may take; None for any time.
    """

    if TYPE_CHECKING:
        _state: str
        _backend: Backend | None

        @property
        def backend_in_use(self) -> Backend: ...

    check_interval: float = 10.0
    check_timeout: float | None = 5.0

    _jobs: set[Job] | None = None
    _catchers: tuple[tuple[Any, Any], ...] = ()

    def check(self) -> Any:
        """Whether the service is well. A subclass that has this is asked every `check_interval`.

        It is called as a task of the service, while that is ready: it may block, or be a coroutine
        function. The service fails, and is restarted by its supervisor, when it raises, returns
        False, or does not return within `check_timeout`.
        """

    def spawn(
        self,
        function: Callable[..., Any],
        *args: Any,
        on_error: str = "fail",
        essential: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run ``function(*args, **kwargs)`` as a task of this service, and return the task.

        The task ends when the service stops.

        Args:
            function: what to run, a coroutine function or a plain one.
            args: its arguments.
            on_error: what a task that raises does: ``fail`` its service, whose supervisor decides
                then; ``log`` the error and nothing else; ``stop`` the service in order.
            essential: True for a task without which the service is nothing: that it ends, while
                the service runs, is a failure too.
            kwargs: its keyword arguments.

        Raises:
            SpawnRefused: the service is stopped.
            UsageError: there is no such `on_error`.
        """
        if self._state in AT_AN_END:
            refuse_spawn(cast("Service", self))
        if on_error != "fail" or essential:
            function = with_rules(cast("Service", self), function, on_error, essential)
        backend: Any = self._backend or self.backend_in_use
        return backend.spawn(self, function, args, kwargs)

    def spawn_later(
        self,
        seconds: float,
        function: Callable[..., Any],
        *args: Any,
        on_error: str = "fail",
        essential: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The same as :meth:`spawn`, `seconds` later. The task can be ended before."""
        refuse_spawn(cast("Service", self))
        if on_error != "fail" or essential:
            function = with_rules(cast("Service", self), function, on_error, essential)
        backend: Any = self.backend_in_use
        return backend.spawn(self, function, args, kwargs, seconds)

    def catch(
        self,
        kind: type[BaseException] | tuple[type[BaseException], ...],
        handler: Callable[..., Any],
    ) -> None:
        """Have ``handler(error)`` called when a task of this service raises an error of that kind.

        It is a task of its own, and takes the place of what `on_error` says. Of several that fit,
        the one that was given last is called.
        """
        self._catchers = ((kind, handler), *self._catchers)

    def every(
        self,
        seconds: float,
        function: Callable[..., Any],
        *args: Any,
        jitter: float = 0.0,
        immediately: bool = False,
        on_error: str = FAIL,
        **kwargs: Any,
    ) -> Job:
        """Call ``function(*args, **kwargs)`` every `seconds`, until the service stops.

        Each call is a task as :meth:`spawn` makes them. The times are multiples of `seconds` on the
        monotonic clock: a call that takes long does not shift those after it. It never runs twice
        at a time: the calls that a long one makes impossible are left out, and counted.

        Args:
            seconds: from one call to the next.
            function: what to call, a coroutine function or a plain one.
            args: its arguments.
            jitter: seconds by which each call comes at most too early or too late, at random, so
                that not all instances do it in the same moment.
            immediately: True for a first call at once; else it comes after `seconds`.
            on_error: what a call that raises does, as in :meth:`spawn`.
            kwargs: the keyword arguments of the function.

        Returns:
            The job: ``cancel()`` ends it, `runs` and `missed` count.

        Raises:
            SpawnRefused: the service is stopped.
            UsageError: `seconds` is not above 0, or `jitter` not between 0 and `seconds`.

        Example:
            >>> self.every(60, self.send_report, jitter=5, on_error="log")
        """
        service = cast("Service", self)
        refuse_spawn(service)
        if not seconds > 0:
            raise UsageError(f"{service.path}: every() takes a time above 0 s, not {seconds!r}")
        if not 0 <= jitter <= seconds:
            raise UsageError(
                f"{service.path}: the jitter of every({seconds:g}) is from 0 to {seconds:g} s, "
                f"not {jitter!r}"
            )
        what = service, function, args, kwargs, on_error
        job = Every(seconds, *what, jitter=jitter, immediately=immediately)
        job.begin()
        return job

    def at(
        self,
        expression: str,
        function: Callable[..., Any],
        *args: Any,
        on_error: str = FAIL,
        **kwargs: Any,
    ) -> Job:
        """Call ``function(*args, **kwargs)`` at the times of a cron expression, in local time.

        Never twice at a time, and never twice at one time: a wall clock that is put back changes
        nothing. What is missed, because the machine slept or the clock was put forward, is counted
        and not made up for. It needs the extra ``cron``.

        Args:
            expression: minute, hour, day of the month, month and day of the week, as in crontab(5)
                of Debian: ``"*/5 * * * *"``, ``"30 4 * * mon-fri"``.
            function: what to call, a coroutine function or a plain one.
            args: its arguments.
            on_error: what a call that raises does, as in :meth:`spawn`.
            kwargs: the keyword arguments of the function.

        Returns:
            The job, as :meth:`every` does.

        Raises:
            SpawnRefused: the service is stopped.
            UsageError: the expression is none, or gives a time that never comes.
            ConfigError: cronsim is not installed.
        """
        from .cron import At

        service = cast("Service", self)
        refuse_spawn(service)
        job = At(expression, service, function, args, kwargs, on_error)
        job.begin()
        return job
