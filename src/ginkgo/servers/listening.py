"""What the servers of all backends have in common: an address, a handler, and what they count.

A server listens from :meth:`Listening.bind` on, which a runner may call long before the start,
while it still has the privileges. How it takes in what comes, and how it stops, is in
:mod:`ginkgo.servers.serving`.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from ..core.context import context
from ..core.errors import ConfigError
from ..core.repeats import Repeats
from ..core.service import Service
from .addresses import Address, AddressLike
from .listen import Listener
from .traffic import Durations, Traffic, carried_by

logger = logging.getLogger(__name__)

# Taken in at one go, before others have their turn.
BATCH = 100
# Seconds that a client which has sent nothing yet has for it when the server stops: what it sent
# right after its connect has arrived by then.
FIRST_WORD = 0.1
# Seconds that handlers have to end in when they are cut, before they are left behind.
CUT_TIME = 1.0
# Seconds until it tries again when the process was out of descriptors or memory.
BREATHER = 0.5
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# accept(2): the new connection has failed already; there may be another behind it.
GONE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EPERM,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
    }
)


class Listening(Service):
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
        accept_errors: how often nothing could be taken in, for want of descriptors or memory.
        draining: whether the server is stopping.

    Raises:
        AddressError: that is no address.
        ConfigError: nobody handles what comes in, or nothing may come in.
    """

    _noun = "connection"
    _closes_first = True  # before it drains, so that nobody new can connect
    _traffic: Traffic | None = None  # made when it listens, where the kernel counts
    _traffic_guard: Any = None  # where several threads close connections
    _durations: Durations | None = None  # of those that answer requests

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
        if handle is not None and not callable(handle):
            raise ConfigError(
                f"{type(self).__name__} at {self._address}: {handle!r} is no handler",
                hint="A handler is a function. An address of host and port is one argument: "
                '("127.0.0.1", 7000), or "127.0.0.1:7000".',
            )
        given_or_own(self, Listening.handle, handle, f"at {self._address} has no handler")
        if max_active is not None and max_active < 1:
            raise ConfigError(f"{type(self).__name__} at {self._address} may take nothing in")
        self.max_active = max_active
        self.drain_timeout = drain_timeout
        self.mode = mode
        if drain_timeout + 2 * CUT_TIME > context.stop_timeout:
            self.stop_timeout = drain_timeout + 2 * CUT_TIME
        self.accepted = self.handled = self.failed = self.lost = self.cut = 0
        self.accept_errors = 0
        self._accept_errnos: dict[str, int] = {}
        self.draining = False
        self._listener: Listener | None = None
        # In the order in which they came. A set of thousands may take three times the memory.
        self._handlers: dict[Any, None] = {}
        self._complaint = Repeats(10.0, time.monotonic)

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
            raw = getattr(listener.socket, "_sock", listener.socket)
            if self._traffic is None and carried_by(raw) is not None:
                self._traffic = Traffic(self._traffic_guard)
            self._bound(raw, listener.dual_stack)
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

    # -- what it says ---------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """What it has counted since it was made. From any thread; waits for nobody.

        Returns:
            accepted, active, handled, errors (handlers or applications that raised), lost, cut and
            accept_errors; bytes_in and bytes_out, where the kernel counts them; of a web server
            also requests. What cannot be had is not there.
        """
        counted: dict[str, Any] = {
            "accepted": self.accepted,
            "active": self.active,
            "handled": self.handled,
            "errors": self.failed,
            "lost": self.lost,
            "cut": self.cut,
            "accept_errors": self.accept_errors,
        }
        if self._durations is not None:
            counted["requests"] = self._durations.total
        if self._traffic is not None:
            handlers = list(self._handlers)  # in one step: it may change at any time
            carried = self._traffic.total(map(self._connection_of, handlers))
            counted |= {"bytes_in": carried[0], "bytes_out": carried[1]}
        return counted

    def _connection_of(self, handler: Any) -> Any:
        """What knows the bytes of a handler's connection; None where there is none."""
        return None

    def _complain(self, error: Exception) -> None:
        self.accept_errors += 1
        name = errno.errorcode.get(getattr(error, "errno", None) or 0, "other")
        self._accept_errnos[name] = self._accept_errnos.get(name, 0) + 1
        kept_back = self._complaint.due()
        if kept_back is not None:
            logger.warning(
                "%s: cannot take in what waits at %s, and tries again every %g s: %s",
                self.path,
                self.address,
                BREATHER,
                error,
            )

    @staticmethod
    def _fail(error: Exception) -> None:
        raise error

    def _count_failed(self) -> None:
        self.failed += 1

    def _peer_lost(self, handler: Any, error: Exception) -> None:
        """A connection has ended itself: that is the daily bread of a server, and no failure."""
        self.lost += 1
        logger.debug("%s: lost %s: %s", self.path, handler.peer, error)

    def _handler_raised(self, handler: Any, error: BaseException, works_on: object) -> None:
        """Tell what a handler raised, but not what its peer did to it."""
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            self.root.end_with(error)  # as in a task, on every backend
        elif isinstance(error, OSError) and raised_by(works_on, error):
            self._peer_lost(handler, error)
        else:
            self._count_failed()
            below = error.__traceback__ and error.__traceback__.tb_next  # without our own frame
            logger.error(
                "%s: the handler of %s failed: %s: %s",
                self.path,
                handler.peer,
                type(error).__name__,
                error,
                exc_info=(type(error), error, below),
            )


def raised_by(culprit: object, error: BaseException) -> bool:
    """Whether `error` came out of a method of `culprit`; None has raised nothing."""
    at = None if culprit is None else error.__traceback__
    while at is not None:
        if at.tb_frame.f_locals.get("self") is culprit:
            return True
        at = at.tb_next
    return False


def given_or_own(service: Service, placeholder: Any, given: Any, otherwise: str) -> None:
    """Let what a constructor was given be a method of its service; else the class has to have one.

    Args:
        placeholder: that method of the class which leaves it to others.
        given: a function, or None.
        otherwise: what is wrong with a service that has neither: "at :7000 has no handler".

    Raises:
        ConfigError: it has neither.
    """
    method = placeholder.__name__
    if given is not None:
        setattr(service, method, given)
    elif getattr(type(service), method) is placeholder:
        raise ConfigError(
            f"{type(service).__name__} {otherwise}",
            hint=f"Give it a function, or let the subclass have a method `{method}`.",
        )
