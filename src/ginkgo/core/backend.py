"""What the core needs of a concurrency backend, and the record of a lifecycle operation.

The lifecycle is written once, as coroutines that know no event loop (:mod:`ginkgo.core.lifecycle`).
Their only awaits are each other and the methods of a :class:`Backend` that are marked ``async``
below. asyncio awaits them as they are; gevent and threading run them to their end, since there
each primitive blocks and never suspends the coroutine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .failure import Abandoned, text_of

if TYPE_CHECKING:
    from .clock import Timer
    from .service import Service

logger = logging.getLogger(__name__)


class Interruption(BaseException):
    """Thrown into a hook to break into it: its time is over, or it is not wanted any more.

    A BaseException, so that ``except Exception`` in a hook's own retry loop lets it through.
    """


class Expired(Interruption):
    """The hook's time is over."""


class Signal(Protocol):
    """What a coroutine waits for: set once, by code in the backend's own thread."""

    def set(self) -> None: ...


class Backend(Protocol):
    """One kind of concurrency, for the trees of one thread."""

    name: str

    @property
    def cancellation(self) -> type[BaseException] | tuple[()]:
        """What is raised in who waits in ``serve_forever`` so that the tree is stopped, if there is
        such a thing."""

    @property
    def here(self) -> bool:
        """Whether the calling thread is the one in which the backend's trees live."""

    @property
    def alive(self) -> bool:
        """Whether that thread has not ended."""

    def drive(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> Any:
        """Carry an operation out for a caller, who waits for it (on asyncio: may await it).

        Works from every task and thread. A caller that is itself ended while it waits ends a
        start, and leaves a stop going on.
        """

    def background(self, operation: Operation, work: Coroutine[Any, Any, Any]) -> None:
        """Carry an operation out with nobody waiting for it."""

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine that only waits, in the caller's own task."""

    def release(self, operation: Operation) -> None:
        """Let the caller of `operation` go on, while it continues in the background."""

    def interrupt(self, operation: Operation) -> None:
        """Break into the operation's hook, if it is in one that may be broken into."""

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Call `function` soon in the backend's own thread; from any thread."""

    def watch(self, fd: int, callback: Callable[[], object]) -> Any:
        """Call `callback` in the loop whenever `fd` is readable. Ended by ``close()`` of what it
        returns."""

    def attach_pulse(self, pulse: Any) -> Callable[[], object]:
        """Have `pulse` told when the loop works and when it rests: see `ginkgo.async_.pulse`.
        Called in the backend's own thread, as is what it returns, which ends it."""

    def now(self) -> float:
        """Monotonic seconds."""

    def later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in the backend's own thread, in which this is called, after so many
        seconds. It must not block."""

    def signal(self) -> Signal:
        """What the calling task or thread can wait for."""

    async def wait(self, signal: Signal, timeout: float | None) -> bool:
        """Wait for a signal; False when `timeout` seconds went by first."""

    async def call(
        self, operation: Operation, service: Service, hook: str, timeout: float | None
    ) -> object:
        """Run the hook of that name and return what it returns.

        Raises:
            Expired: its time is over. A hook that does not end when it is broken into is left
                behind, and the log shows where it is.
        """

    def spawn(
        self,
        service: Service,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        delay: float | None = None,
    ) -> Any:
        """Start a task, after `delay` seconds when that is given."""

    def cancel(self, task: Any) -> None:
        """Ask a task to end. Returns at once; may be called again."""

    async def join(self, tasks: Iterable[Any], timeout: float) -> list[Any]:
        """Wait for tasks to end; returns those that have not after `timeout` seconds."""

    def describe(self, task: Any) -> str:
        """A task's name and its stack, for the log."""

    def primitives(self, service: Service) -> Any:
        """The object that is ``service.async_``."""


class Operation:
    """One start, stop, reload or restart that is under way.

    Args:
        backend: who drives it.
        service: what it was asked of.
        kind: ``start``, ``stop``, ``reload``, ``restart`` or ``fail``.

    Attributes:
        caller: the task that waits for it, or None.
        abandoned: what to raise at the next step, when the operation was told to give up.
        interruptible: whether a hook of it may be broken into now. Bringing down never may.
        left_out: tasks that asked for the stop of their own service: they are not waited for,
            and end once the operation has returned to them.
        logged: what it raises, if that is in the log already.
        handle: what the backend keeps of it.
    """

    __slots__ = (
        "abandoned",
        "backend",
        "caller",
        "handle",
        "interruptible",
        "kind",
        "left_out",
        "logged",
        "service",
    )

    def __init__(self, backend: Backend, service: Service, kind: str) -> None:
        self.backend = backend
        self.service = service
        self.kind = kind
        self.caller: Any = None
        self.abandoned: BaseException | None = None
        self.interruptible = False
        self.left_out: list[Any] = []
        self.logged: BaseException | None = None
        self.handle: Any = None

    def callers(self) -> Iterator[Any]:
        """The task that waits for this operation, who waits for that one's operation, and so on.

        A backend's task that carries out an operation has it as its attribute ``operation``.
        """
        caller = self.caller
        while caller is not None:
            yield caller
            operation = getattr(caller, "operation", None)
            caller = operation.caller if operation is not None else None

    def holds_up(self, other: Operation) -> bool:
        """Whether `other` cannot go on before this operation lets its caller go."""
        return any(getattr(caller, "operation", None) is other for caller in self.callers())

    def abandon(self, reason: BaseException) -> bool:
        """Tell the operation to give up. Without effect once it brings down what it had started.

        Returns:
            Whether `reason` is what it will raise.
        """
        if self.abandoned is not None:
            return False
        self.abandoned = reason
        if self.interruptible:
            self.backend.interrupt(self)
        return self.interruptible

    def caller_ended(self) -> Abandoned:
        """Why it is given up, when whoever waited for it was ended."""
        return Abandoned(f"{self.service.path}: whoever started it was ended", self.service)

    def tell(self, error: BaseException) -> None:
        """Nobody waits for the operation, and it raised `error`: say so, if it was not said yet."""
        if error is self.logged:
            return
        level = logging.INFO if isinstance(error, Abandoned) else logging.ERROR
        logger.log(
            level,
            "%s: %s failed: %s",
            self.service.path,
            self.kind,
            text_of(error),
            exc_info=error if level == logging.ERROR else None,
        )
