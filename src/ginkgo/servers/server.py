"""What all servers have in common: they bind, take in, and stop in order.

::

    bind()              may be called before the start, by a runner that still has the privileges
    do_start            binds if need be: a port that is taken fails the start
      |                 whatever comes in has a handler, a greenlet of its own
    do_stop             takes in what waits in the queue, and closes the listening socket
      |  at once        handlers that are idle are told to end
      |  drain_timeout  those at work finish it
      v                 the rest is cut, and counted

A handler is not a task of the service: when it raises, what it worked on is closed and the log
tells it, and nobody else is harmed.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from .listen import BACKLOG
from .listening import BATCH, BREATHER, CUT_TIME, FIRST_WORD, OUT_OF_RESOURCES, Listening

if TYPE_CHECKING:
    _Greenlet = gevent.Greenlet[..., Any]
else:
    _Greenlet = gevent.Greenlet

logger = logging.getLogger(__name__)


class Handler(_Greenlet):
    """The greenlet that handles one connection or one datagram."""

    __slots__ = ()

    spawning_stack_limit = 0  # it would always be the way from the loop to here

    @property
    def peer(self) -> str:
        """Whom it serves, for the log."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Close what it works on, even if it never got to run."""


class Server(Listening):
    """A server on gevent; see :class:`~ginkgo.servers.listening.Listening`."""

    backend = only_on = "gevent"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watcher: Any = None
        self._timer: Any = None
        self._paused = False
        self._waiting: deque[Handler] = deque()
        self._emptied: Event | None = None

    # -- what a kind of server has to say --------------------------------------------------------

    def _take_in(self) -> bool:
        """Take one in; False when nothing waits. In the hub: it may not block."""
        raise NotImplementedError

    def _is_new(self, handler: Any) -> bool:
        """Whether the handler may still be about to get what its peer sent with its connect."""
        return False

    def _tell(self, handler: Any) -> None:
        """Tell a handler that the server stops."""

    # -- taking in -------------------------------------------------------------------------------

    def do_start(self) -> Any:
        """Listen, and take in."""
        self.bind()
        assert self._listener is not None  # noqa: S101 - for the type checker
        loop = gevent.get_hub().loop
        # Repeating, because libev starts a timer that has fired once with no time left.
        self._timer = loop.timer(BREATHER, BREATHER)
        self._watcher = loop.io(self._listener.socket.fileno(), 1)
        self._paused = True
        self._resume()

    def _readable(self) -> None:
        """Something waits to be taken in. Runs in the hub."""
        limit = self.max_active
        try:
            for _ in range(BATCH):
                if limit is not None and len(self._handlers) >= limit:
                    self._pause()
                    return
                if not self._take_in():
                    return
        except Exception as error:  # noqa: BLE001 - told by the service; the hub is no place for it
            self._pause()
            if isinstance(error, MemoryError) or getattr(error, "errno", 0) in OUT_OF_RESOURCES:
                self._timer.again(self._resume)
                self.spawn(self._complain, error)  # the log may have to wait for a lock
            else:
                self.spawn(self._fail, error)

    def _pause(self) -> None:
        self._paused = True
        self._watcher.stop()

    def _resume(self) -> None:
        if self._paused and self._watcher is not None:
            self._paused = False
            self._timer.stop()
            self._watcher.start(self._readable)

    def _begin(self, handler: Handler) -> None:
        """Start a handler. What comes in at the last moment may have to wait for its turn."""
        self.accepted += 1
        if self.draining and self.max_active is not None and self.active >= self.max_active:
            self._waiting.append(handler)
            return
        self._handlers.add(handler)
        handler.start()

    def _ended(self, handler: Handler) -> None:
        """A handler is at its end."""
        self._handlers.discard(handler)
        if self._paused:
            self._resume()
        if self._waiting:
            waiting = self._waiting.popleft()
            self._handlers.add(waiting)
            waiting.start()
            self._tell(waiting)  # what its peer has sent is there by now, and will be read
        elif self._emptied is not None and not self._handlers:
            self._emptied.set()

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
            self.draining = False
            self._emptied = None

    def _take_in_the_last(self) -> None:
        """Take in what has been promised to be handled, because it is queued; then no more."""
        if self._watcher is not None:
            self._paused = False
            for watcher in (self._watcher, self._timer):
                watcher.stop()
                watcher.close()
            self._watcher = self._timer = None
        if self._listener is None or self._given is not None:
            return  # a given socket goes on listening, for whoever has given it
        if self._listener.kept:
            return
        self._listener.withdraw()
        try:
            for _ in range(BACKLOG):  # new ones may still come: there is an end to it
                if not self._take_in():
                    break
        except (OSError, MemoryError) as error:
            logger.warning("%s: could not take in all that waited: %s", self.path, error)

    def _let_askers_go(self) -> None:
        """A handler that asked for this stop waits for it; nobody may wait for that handler."""
        if self._operation is not None:
            self._handlers.difference_update(self._operation.callers())

    def _drain(self) -> None:
        if not self._handlers:
            return
        self._emptied = Event()
        new = {handler for handler in self._handlers if self._is_new(handler)}
        for handler in self._handlers - new:
            self._tell(handler)
        quick = min(FIRST_WORD, self.drain_timeout)
        if self._emptied.wait(quick):
            return
        for handler in new & self._handlers:
            self._tell(handler)
        gevent.sleep(0)  # those who were idle end now
        if self._handlers:
            logger.info(
                "%s: %d still at work, and has up to %g s to finish",
                self.path,
                self.active,
                self.drain_timeout,
            )
            self._emptied.wait(self.drain_timeout - quick)

    def _cut(self, began: float, patience: float) -> None:
        """End what has not ended. Takes at most `patience` seconds."""
        victims = [*self._handlers, *self._waiting]
        if not victims:
            return
        self.cut += len(victims)
        logger.warning(
            "%s: cut %d %s%s after %.1f s",
            self.path,
            len(victims),
            self._noun,
            "" if len(victims) == 1 else "s",
            time.monotonic() - began,
        )
        self._waiting.clear()
        gevent.killall(victims, block=False)
        if patience:
            gevent.joinall(victims, timeout=patience / 2)
        for handler in victims:
            handler.hang_up()  # what swallowed the kill meets an error now
        if patience:
            gevent.joinall(victims, timeout=patience / 2)
            for handler in victims:
                if not handler.dead:
                    frame = handler.gr_frame
                    stack = "".join(traceback.format_stack(frame)) if frame else ""
                    logger.error(
                        "%s: the handler of %s does not end, and is left behind:\n%s",
                        self.path,
                        handler.peer,
                        stack.rstrip(),
                    )
        self._handlers.clear()
