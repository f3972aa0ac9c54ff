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

import errno
import logging
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from ..core.context import context
from ..core.errors import ConfigError
from ..core.service import Service
from .addresses import Address, AddressLike
from .listen import BACKLOG, Listener
from .seldom import Seldom

if TYPE_CHECKING:
    _Greenlet = gevent.Greenlet[..., Any]
else:
    _Greenlet = gevent.Greenlet

logger = logging.getLogger(__name__)

# Taken in at one go, before others have their turn.
_BATCH = 100
# Seconds that a client which has sent nothing yet has for it when the server stops: what it sent
# right after its connect has arrived by then.
FIRST_WORD = 0.1
# Seconds that handlers have to end in when they are cut, before they are left behind.
CUT_TIME = 1.0
# Seconds until it tries again when the process was out of descriptors or memory.
_BREATHER = 0.5
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


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


class Server(Service):
    """A service that listens, and handles what comes in.

    Args:
        address: where; see :mod:`ginkgo.servers.addresses`. Or a socket that is bound already.
        handle: called for all that comes in; None when the subclass has a method `handle`.
        max_active: how many handlers may run at a time; None for no limit. What comes in beyond it
            waits in the kernel's queue.
        drain_timeout: seconds that handlers have at stop to finish what they do.
        mode: the permissions of a unix socket's file.

    Attributes:
        accepted: what was taken in since the service was made.
        handled: handlers that returned.
        failed: handlers that raised.
        lost: handlers that ended because of their own connection: reset, timed out.
        cut: handlers that had not finished when the drain time was over.
        draining: whether the server is stopping.

    Raises:
        AddressError: that is no address.
        ConfigError: nobody handles what comes in, or nothing may come in.
    """

    backend = only_on = "gevent"

    _noun = "connection"
    _closes_first = True  # before it drains, so that nobody new can connect

    def __init__(
        self,
        address: AddressLike | socket.socket,
        handle: Callable[..., object] | None = None,
        *,
        max_active: int | None = None,
        drain_timeout: float = 5.0,
        mode: int = 0o600,
    ) -> None:
        self._given: Any = None
        if hasattr(address, "getsockname"):  # gevent's socket is no socket.socket
            self._given = address
            self._address = Address.of(address.getsockname())
        else:
            self._address = Address.parse(address)
        if handle is not None:
            self.handle = handle  # type: ignore[method-assign]
        elif type(self).handle is Server.handle:
            raise ConfigError(
                f"{type(self).__name__} at {self._address} has no handler",
                hint="Give it a function, or let the subclass have a method `handle`.",
            )
        if max_active is not None and max_active < 1:
            raise ConfigError(f"{type(self).__name__} at {self._address} may take nothing in")
        self.max_active = max_active
        self.drain_timeout = drain_timeout
        self.mode = mode
        if drain_timeout + 2 * CUT_TIME > context.stop_timeout:
            self.stop_timeout = drain_timeout + 2 * CUT_TIME
        self.accepted = self.handled = self.failed = self.lost = self.cut = 0
        self.draining = False
        self._listener: Listener | None = None
        self._watcher: Any = None
        self._timer: Any = None
        self._paused = False
        self._handlers: set[Handler] = set()
        self._waiting: deque[Handler] = deque()
        self._emptied: Event | None = None
        self._complaint = Seldom(10.0)

    # -- what a kind of server has to say --------------------------------------------------------

    def handle(self, *args: Any) -> object:
        """Handle what came in. A subclass writes it, unless the constructor gets a function."""
        raise NotImplementedError

    def _listen(self) -> Listener:
        """Bind a new socket."""
        raise NotImplementedError

    def _bound(self, raw: Any, dual_stack: bool) -> None:
        """Remember the socket that it listens on: `raw` never waits, whatever is patched."""
        raise NotImplementedError

    def _take_in(self) -> bool:
        """Take one in; False when nothing waits. In the hub: it may not block."""
        raise NotImplementedError

    def _is_new(self, handler: Any) -> bool:
        """Whether the handler may still be about to get what its peer sent with its connect."""
        return False

    def _tell(self, handler: Any) -> None:
        """Tell a handler that the server stops."""

    # -- where it listens ------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        """Where the server listens; before it is bound, where it is going to."""
        return self._address if self._listener is None else self._listener.address

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while that is not known, and for a unix socket."""
        return self.address.port or None

    @property
    def active(self) -> int:
        """How many handlers run."""
        return len(self._handlers)

    def bind(self) -> None:
        """Listen, if it does not yet. Clients can connect from now on; they wait for the start.

        Raises:
            Unavailable: the address is taken, or this machine does not have it.
            PermissionDenied: this user may not bind there.
        """
        if self._listener is None:
            given = self._given
            listener = self._listen() if given is None else Listener.adopt(given)
            self._bound(getattr(listener.socket, "_sock", listener.socket), listener.dual_stack)
            self._listener = listener

    def give_to(self, uid: int, gid: int) -> None:
        """Let a unix socket's file, once bound, belong to the user that the process will become."""
        if self._listener is not None:
            self._listener.give_to(uid, gid)

    def unbind(self) -> None:
        """Undo a :meth:`bind` that no start has followed."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    # -- taking in -------------------------------------------------------------------------------

    def do_start(self) -> Any:
        """Listen, and take in."""
        self.bind()
        assert self._listener is not None  # noqa: S101 - for the type checker
        loop = gevent.get_hub().loop
        # Repeating, because libev starts a timer that has fired once with no time left.
        self._timer = loop.timer(_BREATHER, _BREATHER)
        self._watcher = loop.io(self._listener.socket.fileno(), 1)
        self._paused = True
        self._resume()

    def _readable(self) -> None:
        """Something waits to be taken in. Runs in the hub."""
        limit = self.max_active
        try:
            for _ in range(_BATCH):
                if limit is not None and len(self._handlers) >= limit:
                    self._pause()
                    return
                if not self._take_in():
                    return
        except Exception as error:  # noqa: BLE001 - told by the service; the hub is no place for it
            self._pause()
            if isinstance(error, MemoryError) or getattr(error, "errno", 0) in _OUT_OF_RESOURCES:
                self._timer.again(self._resume)
                self.spawn(self._complain, error)  # the log may have to wait for a lock
            else:
                self.spawn(self._fail, error)

    def _complain(self, error: Exception) -> None:
        kept_back = self._complaint.due()
        if kept_back is not None:
            logger.warning(
                "%s: cannot take in what waits at %s, and tries again every %g s: %s",
                self.path,
                self.address,
                _BREATHER,
                error,
            )

    @staticmethod
    def _fail(error: Exception) -> None:
        raise error

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

    def _peer_lost(self, handler: Handler, error: OSError) -> None:
        """A connection has ended itself: that is the daily bread of a server, and no failure."""
        self.lost += 1
        logger.debug("%s: lost %s: %s", self.path, handler.peer, error)

    def _handler_raised(self, handler: Handler, error: BaseException, works_on: object) -> None:
        """Tell what a handler raised, but not what its peer did to it."""
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            self.root.end_with(error)  # as in a task, on every backend
        elif isinstance(error, OSError) and raised_by(works_on, error):
            self._peer_lost(handler, error)
        else:
            self.failed += 1
            below = error.__traceback__ and error.__traceback__.tb_next  # without our own frame
            logger.error(
                "%s: the handler of %s failed: %s: %s",
                self.path,
                handler.peer,
                type(error).__name__,
                error,
                exc_info=(type(error), error, below),
            )

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


def raised_by(culprit: object, error: BaseException) -> bool:
    """Whether `error` came out of a method of `culprit`."""
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_locals.get("self") is culprit:
            return True
        at = at.tb_next
    return False
