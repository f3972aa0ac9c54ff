"""How the servers of all backends take in what comes, and how they stop.

::

    bind()              may be called before the start, by a runner that still has the privileges
    do_start            binds if need be: a port that is taken fails the start
      |                 whatever comes in has a handler: a greenlet, a task or a thread of its own
    do_stop             takes in what waits in the queue, and closes the listening socket
      |  at once        handlers that are idle are told to end
      |  drain_timeout  those at work finish it
      v                 the rest is cut, and counted

A handler is not a task of the service: when it raises, what it worked on is closed and the log
tells it, and nobody else is harmed.

As in :mod:`ginkgo.core.backend`, asyncio awaits what is ``async`` here, and on gevent and threads
it runs to its end, since what waits there blocks.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from ..async_.base import run_to_end
from .addresses import client_name
from .listen import BACKLOG
from .listening import BATCH, CUT_TIME, FIRST_WORD, OUT_OF_RESOURCES, Listening

logger = logging.getLogger(__name__)


class BaseHandler:
    """What serves one connection or one datagram."""

    __slots__: tuple[str, ...] = ()

    address: Any

    @property
    def peer(self) -> str:
        """Whom it serves, for the log."""
        return client_name(self.address)

    @property
    def where(self) -> str:
        """Its stack, for the log."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Make it meet an error, or the end of the stream, in what it works on."""

    def drop(self) -> None:
        """Close what it would have worked on: it never gets to run."""
        self.hang_up()


class Serving(Listening):
    """A service that takes in what comes where it listens, and has it handled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: deque[Any] = deque()  # for a handler that ends, while the server stops
        self._emptied: Any = None  # set when the last handler ends, while the server stops

    # -- what a kind of server has to say --------------------------------------------------------

    def _take_in(self) -> bool:
        """Take one in; False when nothing waits. It may not block."""
        raise NotImplementedError

    def _is_new(self, handler: Any) -> bool:
        """Whether the handler may still be about to get what its peer sent with its connect."""
        return False

    def _tell(self, handler: Any) -> None:
        """Tell a handler that the server stops."""

    # -- what a backend has to say ---------------------------------------------------------------

    def _serve(self, handler: Any) -> None:
        """Let a handler run; it calls :meth:`_ended` at its end."""
        raise NotImplementedError

    def _pause(self) -> None:
        """Do not look for what waits to be taken in."""

    def _has_room(self) -> None:
        """A handler has ended: look for what waits again, if that was what it was paused for."""

    def _cannot_take_in(self, error: Exception) -> None:
        """What waits could not be taken in: try again later, or fail."""

    def _look_no_more(self) -> None:
        """The server stops: give up what looks for what waits to be taken in."""

    def _event(self) -> Any:
        """Make what the end of the last handler can be waited for with: it has a ``set()``."""
        raise NotImplementedError

    async def _emptied_within(self, seconds: float) -> bool:
        """Wait for `_emptied`; False when it took longer."""
        raise NotImplementedError

    async def _end(self, victims: list[Any], patience: float) -> Iterable[Any]:
        """End handlers. Returns those that live on after `patience` seconds, if it has any."""
        raise NotImplementedError

    def _task_of(self, handler: Any) -> Any:
        """What a handler runs as, where it asks for an operation."""
        return handler

    def _at_work(self) -> list[Any]:
        """The handlers that run."""
        return list(self._handlers)

    def _not_let_in(self) -> list[Any]:
        """Those that have waited for a handler to end, and wait no more."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

    def _at_rest(self) -> None:
        """The server has stopped."""

    # -- taking in -------------------------------------------------------------------------------

    def _readable(self) -> None:
        """Something waits to be taken in. Called by a loop."""
        limit = self.max_active
        try:
            for _ in range(BATCH):
                if limit is not None and len(self._handlers) >= limit:
                    self._pause()
                    return
                if not self._take_in():
                    return
        except Exception as error:  # noqa: BLE001 - told by the service; the loop is no place for it
            self._pause()
            self._cannot_take_in(error)

    def _begin(self, handler: Any) -> None:
        """Start a handler. What comes in at the last moment may have to wait for its turn."""
        self.accepted += 1
        if self.draining and self._has_to_wait(handler):
            return
        self._handlers[handler] = None
        self._serve(handler)

    def _has_to_wait(self, handler: Any) -> bool:
        if self.max_active is None or self.active < self.max_active:
            return False
        self._waiting.append(handler)
        return True

    def _ended(self, handler: Any) -> None:
        """A handler is at its end."""
        self._handlers.pop(handler, None)
        self._has_room()
        if self.draining:  # asked after that: a stop says so first, and then looks who is there
            waiting = self._next()
            if waiting is not None:
                self._serve(waiting)
                self._tell(waiting)  # what its peer has sent is there by now, and will be read

    def _next(self) -> Any:
        """The one that has waited for the place of a handler that has ended."""
        if self._waiting:
            waiting = self._waiting.popleft()
            self._handlers[waiting] = None
            return waiting
        if self._emptied is not None and not self._handlers:
            self._emptied.set()
        return None

    # -- stopping --------------------------------------------------------------------------------

    def do_stop(self) -> Any:
        """Take in no more, let the handlers finish, and cut those that do not."""
        return run_to_end(self._come_to_rest())

    async def _come_to_rest(self) -> None:
        began = time.monotonic()
        self.draining = True
        try:
            self._take_in_the_last()
            if self._closes_first:
                self.unbind()
            self._let_askers_go()
            await self._drain()
            await self._cut(began, CUT_TIME)
        except BaseException:
            await self._cut(began, 0.0)  # the stop is broken into: there is no time left
            raise
        finally:
            self.unbind()
            self.draining = False
            self._emptied = None
            self._at_rest()

    def _take_in_the_last(self) -> None:
        """Take in what has been promised to be handled, because it is queued; then no more."""
        self._look_no_more()
        if self._listener is None or self._given is not None or self._listener.kept:
            return  # a given socket goes on listening, for whoever has given it
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
            callers = set(self._operation.callers())
            for handler in self._at_work():
                if self._task_of(handler) in callers:
                    self._handlers.pop(handler, None)

    async def _drain(self) -> None:
        self._emptied = self._event()  # before the look: who ends behind it sets it
        new = []
        for handler in self._at_work():
            if self._is_new(handler):
                new.append(handler)
            else:
                self._tell(handler)
        quick = min(FIRST_WORD, self.drain_timeout)
        if await self._are_gone_within(quick):
            return
        for handler in new:
            if handler in self._handlers:
                self._tell(handler)
        if await self._are_gone_within(min(0.01, self.drain_timeout)):  # idle ones end now
            return
        logger.info(
            "%s: %d still at work, and has up to %g s to finish",
            self.path,
            self.active,
            self.drain_timeout,
        )
        await self._are_gone_within(self.drain_timeout - quick)

    async def _are_gone_within(self, seconds: float) -> bool:
        # In this order: one that waits comes to be one at work, and never the other way.
        gone = not self._waiting and not self._at_work()
        return gone or await self._emptied_within(seconds)

    async def _cut(self, began: float, patience: float) -> None:
        """End what has not ended. Takes at most `patience` seconds."""
        waiting = self._not_let_in()
        victims = self._at_work()
        number = len(victims) + len(waiting)
        if not number:
            return
        self.cut += number
        logger.warning(
            "%s: cut %d %s%s after %.1f s",
            self.path,
            number,
            self._noun,
            "" if number == 1 else "s",
            time.monotonic() - began,
        )
        for handler in waiting:
            handler.drop()
        for handler in await self._end(victims, patience):
            logger.error(
                "%s: the handler of %s does not end, and is left behind:\n%s",
                self.path,
                handler.peer,
                handler.where,
            )
        self._handlers.clear()


def out_of_resources(error: Exception) -> bool:
    """Whether it may go better in a moment. Python says RuntimeError when it gets no thread."""
    if isinstance(error, OSError):
        return error.errno in OUT_OF_RESOURCES
    return isinstance(error, MemoryError) or "start new thread" in str(error)
