"""What all servers on threads have in common; :mod:`ginkgo.servers.serving` says how they stop.

::

    the server's own thread     waits until something can be taken in, and takes it in
    handlers                    have a thread each, which serves the next one when it is done

A thread that waits in the kernel for its peer cannot be ended, but its connection can be shut down
under it, and that is how a handler is told to end, and is cut. The descriptor is closed by the
handler's own thread alone: another one might have its number in the next moment.
"""

from __future__ import annotations

import contextvars
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Any

from ..async_.threading_primitives import Event
from ..async_.threading_waits import Stopping, Strand, Waiter, stack_of, start_thread
from .listening import BREATHER, FIRST_WORD
from .serving import BaseHandler, Serving, out_of_resources

# Threads that wait for the next handler, instead of being made for it.
MOST_IDLE = 32


class Handler(BaseHandler):
    """What serves one connection or datagram.

    Attributes:
        worker: whose thread it has, while it has one.
        began: when it came in, in monotonic seconds.
    """

    __slots__ = ("began", "worker")

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.began = time.monotonic()

    @property
    def where(self) -> str:
        return stack_of(self.worker.thread if self.worker else None)

    def run(self) -> None:
        """Serve, until it is done. In its own thread; lets no exception out."""
        raise NotImplementedError


class Server(Serving):
    """A server on threads; see :class:`~ginkgo.servers.listening.Listening`."""

    backend = only_on = "threading"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = threading.Lock()  # of what waits for a handler to end, and of what is counted
        self._traffic_guard = threading.Lock()
        self._acceptor: Acceptor | None = None
        self._crew: Crew | None = None

    def _is_new(self, handler: Any) -> bool:
        return bool(time.monotonic() - handler.began < FIRST_WORD)

    # -- taking in -------------------------------------------------------------------------------

    def do_start(self) -> Any:
        """Listen, and take in."""
        self._crew = Crew(self.path)
        self.bind()
        assert self._listener is not None  # noqa: S101 - for the type checker
        self._acceptor = Acceptor(self, self._listener.socket.fileno())

    def _has_to_wait(self, handler: Handler) -> bool:
        with self._guard:
            return super()._has_to_wait(handler)

    def _serve(self, handler: Handler) -> None:
        try:
            assert self._crew is not None  # noqa: S101 - for the type checker
            self._crew.serve(handler)
        except BaseException:  # there is no thread left
            handler.drop()
            self._handlers.pop(handler, None)
            raise

    def _next(self) -> Any:
        with self._guard:
            return super()._next()

    def _has_room(self) -> None:
        acceptor = self._acceptor
        if self.max_active is not None and acceptor is not None:
            acceptor.there_is_room()

    def _handled(self) -> None:
        with self._guard:
            self.handled += 1

    def _count_failed(self) -> None:
        with self._guard:
            super()._count_failed()

    def _peer_lost(self, handler: Any, error: Exception) -> None:
        with self._guard:
            super()._peer_lost(handler, error)

    # -- stopping --------------------------------------------------------------------------------

    def _look_no_more(self) -> None:
        if self._acceptor is not None:
            self._acceptor.end()
            self._acceptor = None

    def _at_work(self) -> list[Any]:
        with self._guard:
            return super()._at_work()

    def _not_let_in(self) -> list[Any]:
        with self._guard:
            return super()._not_let_in()

    def _event(self) -> Event:
        return Event()

    async def _emptied_within(self, seconds: float) -> bool:
        return bool(self._emptied.wait(seconds))

    async def _end(self, victims: list[Any], patience: float) -> list[Any]:
        for handler in victims:
            handler.hang_up()
            worker = handler.worker
            if worker is not None:
                worker.interrupt(handler)
        if not patience:
            return []
        self._emptied.wait(patience)
        left = self._at_work()
        return [handler for handler in victims if handler in left]

    def _at_rest(self) -> None:
        if self._crew is not None:
            self._crew.end()
            self._crew = None


class Acceptor:
    """The thread that takes in what comes."""

    def __init__(self, server: Server, fd: int) -> None:
        self._server = server
        self._over = False
        self._room = Waiter()
        self._ended = Event()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wakeup, select.POLLIN)
        try:
            start_thread(Strand(), self._run, f"{server.path}: accept")
        except BaseException:
            os.close(self._wakeup)
            raise

    def there_is_room(self) -> None:
        """A handler has ended, where their number is limited."""
        self._room.set()

    def end(self) -> None:
        """Take in no more; when this returns, it does not."""
        self._over = True
        os.eventfd_write(self._wakeup, 1)
        self._room.set()
        self._ended.wait()
        os.close(self._wakeup)

    def _run(self) -> None:
        server = self._server
        try:
            while not self._over:
                if server.max_active is not None and server.active >= server.max_active:
                    self._room.wait()
                    continue
                try:
                    if not server._take_in():
                        self._poll.poll()
                except (OSError, MemoryError, RuntimeError) as error:
                    if not out_of_resources(error):
                        raise
                    server._complain(error)
                    self._room.wait(BREATHER)
        except Exception as error:  # noqa: BLE001 - told by the service
            server.spawn(server._fail, error)
        finally:
            self._ended.set()


class Crew:
    """The threads of the handlers of one server.

    Attributes:
        guard: held while it is decided who works on what.
    """

    def __init__(self, name: str) -> None:
        self._name = f"{name}: handler"
        self.guard = threading.Lock()
        self._idle: list[Worker] = []
        self._over = False
        self._context = contextvars.copy_context()

    def serve(self, handler: Handler) -> None:
        """Run a handler, in a thread that is idle or in a new one.

        Raises:
            RuntimeError: there is no thread left.
        """
        with self.guard:
            worker = self._idle.pop() if self._idle else None
        if worker is not None:
            worker.serve(handler)
            return
        Worker(self, handler).start(self._name)

    def in_context(self, function: Callable[[], None]) -> None:
        """Call a function with the context variables that the server was started with."""
        self._context.copy().run(function)

    def keeps(self, worker: Worker) -> bool:
        """A worker is idle: whether it is to wait for the next handler."""
        with self.guard:
            if self._over or len(self._idle) >= MOST_IDLE:
                return False
            self._idle.append(worker)
            return True

    def end(self) -> None:
        """Let the threads end: those that are idle now, the others after their handler."""
        with self.guard:
            self._over = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.serve(None)


class Worker:
    """One thread that runs handlers, one after the other."""

    __slots__ = ("_crew", "_given", "_handler", "_strand", "thread")

    def __init__(self, crew: Crew, handler: Handler) -> None:
        self._crew = crew
        self._handler: Handler | None = handler
        self._given = Waiter()
        self._strand = Strand()
        self.thread: threading.Thread | None = None
        handler.worker = self

    def start(self, name: str) -> None:
        self.thread = start_thread(self._strand, self._run, name)

    def serve(self, handler: Handler | None) -> None:
        """Take the next handler; None for the end. The worker is idle."""
        if handler is not None:
            handler.worker = self
        self._handler = handler
        self._given.set()

    def interrupt(self, handler: Handler) -> None:
        """Make what `handler` waits for raise :class:`Stopping`, if it still runs here."""
        with self._crew.guard:
            if self._strand.owner is handler:
                self._strand.interrupt(Stopping())

    def _run(self) -> None:
        while (handler := self._handler) is not None:
            self._handler = None
            with self._crew.guard:
                self._strand.owner = handler
                self._strand.pending = None
            self._crew.in_context(handler.run)
            with self._crew.guard:
                self._strand.owner = None
            handler.worker = None
            del handler
            if not self._crew.keeps(self):
                return
            self._given.wait()
