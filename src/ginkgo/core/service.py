"""The service: what everything else is made of.

A service is started, stopped and reloaded; it owns the tasks that it spawns, and contains other
services. A subclass says what happens in three hooks::

    class Echo(Service):
        def __init__(self):
            self.add_service(StreamServer(":7000", self.handle))

        def do_start(self):  # the children are ready
            self.spawn(self.count_forever)

        def do_stop(self):  # the tasks have ended, the children are still there
            ...

        def do_reload(self):  # the configuration may have changed
            ...

How a tree of them starts and stops is in :mod:`ginkgo.core.lifecycle`. An idle service is one
object: no task, event or lock is made before it is needed. Its fields have their first values on
the class, so that a subclass need not call ``super().__init__()``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from . import lifecycle, supervision
from .backend import Backend, Operation
from .context import context
from .errors import UsageError
from .events import Events, Log
from .failure import Abandoned, Failure
from .matching import natural_backend
from .policies import ONE_FOR_ONE, PERMANENT, TRANSIENT, Backoff, RestartAttribute, take_policy
from .state import READY, STARTING, STATES, State, current, notify
from .tasks import asked_from_within
from .tree import Place
from .waiting import at_rest
from .work import Work

if TYPE_CHECKING:
    from .policies import Care
    from .state import State as _State
    from .supervision import Mend, Supervisor

S = TypeVar("S", bound="Service")


async def _done(value: Any) -> Any:
    """What a lifecycle call gives: on asyncio it is awaited, elsewhere it has happened."""
    return await value if hasattr(value, "__await__") else value


class _NotReady:
    def __repr__(self) -> str:
        return "Service.NOT_READY"


class Service(Place, Work):
    """A component that starts, stops and reloads, owns its tasks, and contains other services.

    Attributes:
        start_before: True makes `do_start` run before the children start, and `do_reload` before
            theirs; `do_stop` then runs after they have stopped.
        restart: what its supervisor does when it has failed: ``transient`` restarts it,
            ``permanent`` also after it has ended by itself, ``temporary`` never does.
        strategy: who is restarted with a child that failed: ``one_for_one`` nobody,
            ``one_for_all`` all of its siblings, ``rest_for_one`` those added after it.
        max_restarts: how often its children are restarted within
        restart_period: so many seconds; one failure more, and this service stops them and fails
            itself. None for the process's values (5, 30).
        backoff: how long a child that failed waits, a :class:`~ginkgo.core.policies.Backoff`.
        start_timeout: seconds until the service has to be ready, counted from the call of its
            `do_start`; None for the process's `start_timeout` (30).
        stop_timeout: seconds for its tasks to end, and then for its `do_stop`; None for the
            process's `stop_timeout` (10).
        backend: the name of the backend of a tree whose root is this service; None for the
            configured one, or the one that its services are written for.
        only_on: the name of the backend that a server or client is written for, or None.
        failure: why the service failed, or None.
        reload_error: what its last `do_reload` raised, or None.
        stop_errors: what its last stop raised, there or below.
    """

    NOT_READY: Final = _NotReady()

    restart: Any = RestartAttribute()
    strategy: str = ONE_FOR_ONE
    max_restarts: int | None = None
    restart_period: float | None = None
    backoff: Backoff | tuple[float, ...] | None = None

    start_before: bool = False
    start_timeout: float | None = None
    stop_timeout: float | None = None
    backend: str | None = None
    only_on: str | None = None

    failure: Failure | None = None
    reload_error: BaseException | None = None
    stop_errors: tuple[BaseException, ...] = ()

    _state: str = "init"
    _children_up = False
    _tasks: set[Any] | None = None
    _operation: Operation | None = None
    _backend: Backend | None = None
    _watchers: list[Callable[[Service], None]] | None = None
    _restart_policy: str = TRANSIENT
    _supervisor: Supervisor | None = None
    _care: Care | None = None
    _mend: Mend | None = None
    _down_since: float | None = None  # when it last began to be down, in seconds since the epoch
    _is_down = False
    _ailing = 0
    _event_log: Log | None = None
    _reload_failed_at: float | None = None  # since when it has a `reload_error`, likewise
    _reload_text = ""  # what `reload_error` says
    _last_failure: dict[str, Any] | None = None  # for those who look from outside: data only
    _since: float | None = None  # when its state changed last, likewise
    _start_seconds: float | None = None  # that its last start took
    _catchers: tuple[tuple[Any, Any], ...] = ()
    _entered = False
    _stop_reserve = 0.0  # seconds beyond stop_timeout for a do_stop that then uses force itself
    _ready_told = False
    _reloading: Operation | None = None
    _reload_wanted = False
    _ending: BaseException | None = None
    _start_pending: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        take_policy(cls)

    # -- hooks: what a subclass writes -----------------------------------------------------------

    def do_start(self) -> Any:
        """What happens when the service starts: open, connect, spawn.

        The children are ready (with `start_before`: will be started next). Return ``NOT_READY``
        when the service is ready only later: it is when :meth:`set_ready` is called.
        """

    def do_stop(self) -> Any:
        """What happens when the service stops. Called if and only if `do_start` was entered.

        The service's tasks have ended; its children stop next.
        """

    def do_reload(self) -> Any:
        """What happens when the service is told to take its new configuration."""

    # -- composition -----------------------------------------------------------------------------

    def add_service(
        self,
        child: S,
        *,
        restart: str | None = None,
        strategy: str | None = None,
        max_restarts: int | None = None,
        restart_period: float | None = None,
        backoff: Backoff | tuple[float, ...] | None = None,
    ) -> S:
        """Make `child` a part of this service, and return it.

        In a service that runs the child is started at once. If that fails, the error is raised,
        and the child is not part of the service. On asyncio the start has only begun when this
        returns; ``await self.add_service(child)`` waits for it, and returns the child.

        Args:
            child: the service.
            restart: instead of the child's own policy.
            strategy: instead of the child's own, for its children.
            max_restarts: how often the child may be restarted within
            restart_period: so many seconds, counted for it alone. Without these its failures
                are counted with those of its siblings, by this service's values.
            backoff: how long this child waits.

        Raises:
            UsageError: it has a parent already, or a policy that does not exist.
        """
        self._adopt(child, restart, strategy, (max_restarts, restart_period, backoff))
        if self._starts_what_is_added:
            operation = Operation(self.backend_in_use, child, "start")
            pending = operation.backend.drive(operation, self._start_added(operation, child))
            if pending is not None:
                child._start_pending = pending
                pending.add_done_callback(child._start_is_over)
        return child

    def _start_is_over(self, pending: Any) -> None:
        if self._start_pending is pending:
            del self._start_pending

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait for the start that :meth:`add_service` has begun."""
        if self._start_pending is not None:
            yield from self._start_pending.__await__()
        return self

    @property
    def _starts_what_is_added(self) -> bool:
        return self._state == READY or (self._state == STARTING and self._children_up)

    async def _start_added(self, operation: Operation, child: Service) -> None:
        if not self._starts_what_is_added:
            return  # stopped since it was asked: like one that was added after that
        try:
            await lifecycle.start(operation, child)
        except BaseException:  # raised, a cancellation too; a child that did not start is no child
            self._disown(child)
            raise

    def remove_service(self, child: Service) -> Any:
        """Stop `child` if it runs, and take it out of this service.

        Raises:
            UsageError: `child` is not a child of this service.
            Exception: what the child's stop raised; it is taken out all the same.
        """
        if child.parent is not self:
            raise UsageError(f"{child.path} is not a child of {self.path}")
        operation = Operation(self.backend_to_ask, child, "stop")
        return operation.backend.drive(operation, self._remove(operation, child))

    async def _remove(self, operation: Operation, child: Service) -> None:
        errors: list[BaseException] = []
        path = child.path
        if child._mend is not None:
            child._mend.leave(child)
        await lifecycle.stop(operation, child, errors)
        self._disown(child)
        lifecycle.raise_collected(operation, f"stopping {path}", errors)

    # -- lifecycle -------------------------------------------------------------------------------

    def start(self) -> Any:
        """Start the children and this service, and return when all of it is ready.

        Without effect on a service that is ready. On one that is starting it waits for that start;
        on one that is stopping it starts it again afterwards.

        Raises:
            Exception: what failed the start, with a note that names the service it came from. What
                had been started has been stopped again.
            StartTimeout: a service was not ready within its `start_timeout`.
            Abandoned: the service was stopped meanwhile.
        """
        operation = Operation(self._backend_to_start, self, "start")
        return operation.backend.drive(operation, lifecycle.start(operation, self))

    def stop(self) -> Any:
        """Stop this service and its children, in the reverse order, and return when it is done.

        Whatever raises, everything is stopped. Without effect on a service that does not run. A
        task that stops its own service gets the call back, and ends at its next wait.

        Raises:
            Exception: what a `do_stop` raised, or an ExceptionGroup of several.
            StopTimeout: a task or a `do_stop` did not end within `stop_timeout`.
        """
        operation = Operation(self.backend_to_ask, self, "stop")
        return operation.backend.drive(operation, self._stop(operation))

    async def _stop(self, operation: Operation) -> None:
        errors: list[BaseException] = []
        by_itself = self._restart_policy == PERMANENT and asked_from_within(operation, self)
        if self._mend is not None:
            self._mend.leave(self)
        await lifecycle.stop(operation, self, errors)
        if errors:
            self.stop_errors = tuple(errors)
        if by_itself:
            lifecycle.begin(self, "restart", supervision.ended)
        lifecycle.raise_collected(operation, f"stopping {self.path}", errors)

    def stop_soon(self) -> None:
        """Begin to stop, and do not wait for it: from any thread, or from a loop's callback."""
        self.backend_to_ask.post(self._begin_stop)

    def _begin_stop(self) -> None:
        operation = Operation(self.backend_to_ask, self, "stop")
        operation.backend.background(operation, self._stop(operation))

    def reload(self) -> Any:
        """Call `do_reload` of the children and of this service. Every service is reached.

        Raises:
            Exception: what a `do_reload` raised, or an ExceptionGroup of several; each such
                service has it as its `reload_error`.
        """
        operation = Operation(self.backend_to_ask, self, "reload")
        return operation.backend.drive(operation, lifecycle.reload(operation, self))

    def _restart_now(self) -> Any:
        """Stop this service if it runs, and start it: what ``service.restart()`` does."""
        operation = Operation(self._backend_to_start, self, "restart")
        return operation.backend.drive(operation, lifecycle.restart(operation, self))

    def set_ready(self) -> None:
        """Tell that the service is ready, when its `do_start` has returned ``NOT_READY``."""
        self.backend_to_ask.post(self._tell_ready)

    def _tell_ready(self) -> None:
        self._ready_told = True
        notify(self)

    @property
    def state(self) -> _State:
        """The state: ``state.current``, ``state == "ready"``, ``state.wait("stopped")``."""
        return State(self)

    @property
    def ready(self) -> bool:
        """Whether the service and all below it were started and run."""
        return current(self) == READY

    @property
    def restarts(self) -> int:
        """How often its supervisor has restarted it."""
        return 0 if self._care is None else self._care.restarts

    @property
    def events(self) -> Events:
        """What has happened to this service and to those below it."""
        return Events(self)

    def wait(self, state: str = READY, timeout: float | None = None) -> Any:
        """Wait until the service is in `state`, at most `timeout` seconds.

        Returns:
            False when the time was over first.

        Raises:
            UsageError: there is no such state.
        """
        if state not in STATES:
            raise UsageError(f"there is no state {state!r}: it is one of {', '.join(STATES)}")
        backend = self.backend_to_ask
        return backend.run(lifecycle.until(backend, self, (state,), timeout))

    def serve_forever(self) -> Any:
        """Start the service if need be, and wait until it is stopped: a script needs no runner.

        SIGTERM and Ctrl+C stop it in order, where nobody else handles them.

        Raises:
            Exception: what made the start, the service or its stop fail.
            SystemExit: a task raised it.
        """
        backend = self._backend_to_start
        return backend.run(self._serve_until_over(backend))

    async def _serve_until_over(self, backend: Backend) -> None:
        with context.serving(self):
            try:
                if self._state != READY:
                    await _done(self.start())
                await lifecycle.over(backend, self)
            except KeyboardInterrupt:
                await _done(self.stop())
                return
            except backend.cancellation:
                await _done(self.stop())
                raise
            except Abandoned:
                await lifecycle.over(backend, self)
        if self._ending is not None:
            raise self._ending
        if self.failure is not None:
            raise self.failure.error
        if self.stop_errors:
            raise lifecycle.together(f"stopping {self.path}", self.stop_errors)

    def end_with(self, ending: BaseException) -> None:
        """Stop the tree in order because a task raised `ending`, SystemExit or KeyboardInterrupt.

        It is raised by :meth:`serve_forever`; the runner makes it the exit status of the process.
        """
        root = self.root
        if root._ending is None:
            root._ending = ending
        root.stop_soon()

    def __enter__(self) -> Self:
        pending = self.start()
        if hasattr(pending, "__await__"):  # nobody would await it before the body is over
            pending.cancel()
            raise UsageError(
                f"{self.path} is started in a loop of {self.backend_in_use.name}, which would "
                "stand still in the body of a `with`",
                hint="Use `async with`.",
            )
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await _done(self.start())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await _done(self.stop())

    # -- tasks -----------------------------------------------------------------------------------

    @property
    def async_(self) -> Any:
        """The async primitives of this service's backend: ``sleep``, ``event``, ``queue``..."""
        primitives = self.__dict__.get("_primitives")
        if primitives is None:
            backend = self._backend or self.root._backend or self._load_backend()
            primitives = self.__dict__["_primitives"] = backend.primitives(self)
        return primitives

    @property
    def backend_in_use(self) -> Backend:
        """The backend that drives this service: one for a tree.

        It is that of the thread which starts the tree, or spawns in it: there the tree lives, until
        it is at rest and started by a thread with a loop of its own, or when that thread is gone.
        """
        backend = self._backend
        if backend is None:
            if self.parent is not None:
                return self.parent.backend_in_use
            backend = self._backend = self._load_backend()
        return backend

    @property
    def backend_to_ask(self) -> Backend:
        """The same, for what does not make a tree live in the caller's thread: stop, wait..."""
        return self._backend or self.root._backend or self._load_backend(visiting=True)

    @property
    def _backend_to_start(self) -> Backend:
        backend = self.backend_in_use
        if not backend.here and at_rest(self.root):
            mine = self._load_backend(visiting=backend.alive)
            if mine.here:
                self.root._backend = self._backend = backend = mine
        return backend

    def _load_backend(self, visiting: bool = False) -> Backend:
        root = self.root
        name = root.backend or context.backend or natural_backend(root)
        return context.load_backend(name, visiting)

    def _overrides(self, hook: str) -> bool:
        """Whether the class (or the instance) says something in `hook`: no call for nothing."""
        return getattr(type(self), hook) is not getattr(Service, hook) or hook in self.__dict__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path} {self._state}>"
