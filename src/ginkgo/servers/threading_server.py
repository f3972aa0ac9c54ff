"""What all servers on threads have in common; :mod:`ginkgo.servers.server` says how they stop.

::

    the server's own thread     waits until something can be taken in, and takes it in
    handlers                    have a thread each, which serves the next one when it is done

A thread that waits in the kernel for its peer cannot be ended, but its connection can be shut down
under it, and that is how a handler is told to end, and is cut. The descriptor is closed by the
handler's own thread alone: another one might have its number in the next moment.
"""

from __future__ import annotations

import contextvars
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..async_.threading_primitives import Event
from ..async_.threading_waits import Stopping, Strand, Waiter, stack_of, start_thread
from .listen import BACKLOG
from .listening import BREATHER, CUT_TIME, FIRST_WORD, OUT_OF_RESOURCES, Listening

logger = logging.getLogger(__name__)

# Threads that wait for the next handler, instead of being made for it.
MOST_IDLE = 32


class Handler:
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
    def peer(self) -> str:
        """Whom it serves, for the log."""
        raise NotImplementedError

    def run(self) -> None:
        """Serve, until it is done. In its own thread; lets no exception out."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Make its thread meet an error, or the end of the stream, in what it works on."""

    def drop(self) -> None:
        """Close what it would have worked on: it has got no thread."""


class Server(Listening):
    """A server on threads; see :class:`~ginkgo.servers.listening.Listening`."""

    backend = only_on = "threading"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = threading.Lock()  # of the handlers, and of what is counted
        self._traffic_guard = threading.Lock()
        self._acceptor: Acceptor | None = None
        self._crew: Crew | None = None
        self._waiting: deque[Handler] = deque()
        self._emptied: Event | None = None

    # -- what a kind of server has to say --------------------------------------------------------

    def _take_in(self) -> bool:
        """Take one in; False when nothing waits. It may not block."""
        raise NotImplementedError

    def _is_new(self, handler: Any) -> bool:
        """Whether the handler may still be about to get what its peer sent with its connect."""
        return bool(time.monotonic() - handler.began < FIRST_WORD)

    def _tell(self, handler: Any) -> None:
        """Tell a handler that the server stops."""

    # -- taking in -------------------------------------------------------------------------------

    def do_start(self) -> Any:
        """Listen, and take in."""
        self.bind()
        assert self._listener is not None  # noqa: S101 - for the type checker
        self._crew = Crew(self.path)
        self._acceptor = Acceptor(self, self._listener.socket.fileno())

    def _begin(self, handler: Handler) -> None:
        """Start a handler."""
        with self._guard:
            self.accepted += 1
            if self.draining and self.max_active is not None and self.active >= self.max_active:
                self._waiting.append(handler)  # it came in at the last moment
                return
            self._handlers.add(handler)
        self._serve(handler)

    def _serve(self, handler: Handler) -> None:
        try:
            assert self._crew is not None  # noqa: S101 - for the type checker
            self._crew.serve(handler)
        except BaseException:  # there is no thread left
            handler.drop()
            with self._guard:
                self._handlers.discard(handler)
            raise

    def _ended(self, handler: Handler) -> None:
        """A handler is at its end."""
        acceptor, emptied, waiting = self._acceptor, self._emptied, None
        with self._guard:
            self._handlers.discard(handler)
            if self._waiting:
                waiting = self._waiting.popleft()
                self._handlers.add(waiting)
            elif self._handlers:
                emptied = None
        if waiting is not None:
            self._serve(waiting)
            self._tell(waiting)  # what its peer has sent is there by now, and will be read
        elif emptied is not None:
            emptied.set()
        if self.max_active is not None and acceptor is not None:
            acceptor.there_is_room()

    def _handled(self) -> None:
        with self._guard:
            self.handled += 1

    def _peer_lost(self, handler: Any, error: Exception) -> None:
        with self._guard:
            super()._peer_lost(handler, error)

    # -- stopping --------------------------------------------------------------------------------

    def do_stop(self) -> Any:
        """Take in no more, let the handlers finish, and cut those that do not."""
        began = time.monotonic()
        self.draining = True
        try:
            self._take_in_the_last()
            if self._closes_first:
                self.unbind()
            self._let_askers_go()
            self._drain()
            self._cut(began, CUT_TIME)
        except BaseException:
            self._cut(began, 0.0)  # the stop is broken into: there is no time left
            raise
        finally:
            self.unbind()
            if self._crew is not None:
                self._crew.end()
                self._crew = None
            self.draining = False
            self._emptied = None

    def _take_in_the_last(self) -> None:
        """Take in what has been promised to be handled, because it is queued; then no more."""
        if self._acceptor is not None:
            self._acceptor.end()
            self._acceptor = None
        if self._listener is None or self._given is not None or self._crew is None:
            return  # a given socket goes on listening, for whoever has given it
        if self._listener.kept:
            return
        self._listener.withdraw()
        try:
            for _ in range(BACKLOG):  # new ones may still come: there is an end to it
                if not self._take_in():
                    break
        except (OSError, MemoryError, RuntimeError) as error:
            logger.warning("%s: could not take in all that waited: %s", self.path, error)

    def _let_askers_go(self) -> None:
        """A handler that asked for this stop waits for it; nobody may wait for that handler."""
        if self._operation is not None:
            with self._guard:
                self._handlers.difference_update(self._operation.callers())

    def _those_at_work(self) -> set[Any]:
        with self._guard:
            return set(self._handlers)

    def _drain(self) -> None:
        emptied = self._emptied = Event()
        at_work = self._those_at_work()
        if not at_work:
            return
        new = {handler for handler in at_work if self._is_new(handler)}
        for handler in at_work - new:
            self._tell(handler)
        quick = min(FIRST_WORD, self.drain_timeout)
        if emptied.wait(quick):
            return
        for handler in new & self._those_at_work():
            self._tell(handler)
        if emptied.wait(min(0.01, self.drain_timeout)):  # those who were idle end now
            return
        logger.info(
            "%s: %d still at work, and has up to %g s to finish",
            self.path,
            self.active,
            self.drain_timeout,
        )
        emptied.wait(self.drain_timeout - quick)

    def _cut(self, began: float, patience: float) -> None:
        """End what has not ended. Takes at most `patience` seconds."""
        with self._guard:
            waiting = list(self._waiting)
            self._waiting.clear()
        victims = self._those_at_work().union(waiting)
        if not victims:
            return
        self.cut += len(victims)
        for handler in waiting:
            handler.drop()
        logger.warning(
            "%s: cut %d %s%s after %.1f s",
            self.path,
            len(victims),
            self._noun,
            "" if len(victims) == 1 else "s",
            time.monotonic() - began,
        )
        for handler in victims:
            handler.hang_up()
            if handler.worker is not None:
                handler.worker.interrupt(handler)
        if patience and self._emptied is not None:
            self._emptied.wait(patience)
            for handler in victims & self._those_at_work():
                logger.error(
                    "%s: the handler of %s does not end, and is left behind:\n%s",
                    self.path,
                    handler.peer,
                    stack_of(handler.worker.thread if handler.worker else None),
                )
        with self._guard:
            self._handlers.clear()


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


def out_of_resources(error: Exception) -> bool:
    """Whether it may go better in a moment. Python says RuntimeError when it gets no thread."""
    if isinstance(error, OSError):
        return error.errno in OUT_OF_RESOURCES
    return isinstance(error, MemoryError) or "start new thread" in str(error)


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
