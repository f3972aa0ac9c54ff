"""What the clients that keep their connection have in common: when they do what, and tell it.

::

    connect --ok--> handle(socket) --returns, raises, peer closes--+
       ^  |                                                        |
       |  +--fails--+                                              |
       |            v                                              |
       +------- wait, longer from time to time <-------------------+

As in :mod:`ginkgo.core.backend`, asyncio awaits what is ``async`` here, and on gevent and threads
it runs to its end, since what waits there blocks.
"""

from __future__ import annotations

import logging
import random
import socket
import time
from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ..async_.base import run_to_end
from ..core.errors import ConfigError
from ..core.repeats import Repeats
from ..core.service import Service
from .addresses import Address, AddressLike
from .listening import given_or_own, raised_by
from .retry import Retry

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger("ginkgo.servers.client")  # the same on every backend


class Reconnecting(Service):
    """A client that calls ``handle(socket)`` with a connection, whenever it has a new one.

    It is ready as soon as it has begun to try: a peer that is away does not fail the start. It
    connects again when the handler returns or raises and when the peer closes, until it is stopped,
    which ends it at once. That a connection was lost, and that there is one again, is told in the
    log once each, not at every try.

    Args:
        address: ``("localhost", 7000)``, ``"host:port"``, ``"unix:/path"``.
        handle: called with the socket (its class is the backend's), and on asyncio with a reader
            and a writer; None when the subclass has a method `handle`.
        tls: speak TLS, and verify the server's certificate and name.
        cafile: a PEM file with the roots to trust, instead of the system's; implies `tls`.
        certfile, keyfile: the client's own certificate; implies `tls`.
        ssl_context: a context of your own; implies `tls`.
        server_hostname: the name that the server's certificate has to have; by default the host.
        connect_timeout: seconds for one attempt, the TLS handshake included.
        retry: how long to wait between attempts.

    Attributes:
        connected: whether there is a connection.
        connections: how many there were.
        attempts: how often it was tried.
        failed: handlers that raised.

    Example:
        >>> class Reader(StreamClient):
        ...     def handle(self, socket):
        ...         for line in socket.makefile():
        ...             print(line.strip())
    """

    def __init__(
        self,
        address: AddressLike,
        handle: Callable[[Any], object] | None = None,
        *,
        tls: bool = False,
        cafile: str | None = None,
        certfile: str | None = None,
        keyfile: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        connect_timeout: float = 10.0,
        retry: Retry = Retry(),  # noqa: B008 - immutable
    ) -> None:
        self.address = Address.parse(address)
        given_or_own(self, Reconnecting.handle, handle, f"for {self.address} has no handler")
        if ssl_context is not None and (cafile or certfile or keyfile):
            raise ConfigError("files make a context: ssl_context is one too much")
        self.tls = bool(tls or cafile or certfile or ssl_context)
        self.server_hostname = server_hostname or self.address.for_connecting.host or None
        if self.tls and self.server_hostname is None:
            raise ConfigError(f"TLS over {self.address} needs a server_hostname to verify")
        self.connect_timeout = connect_timeout
        self.retry = retry
        self.connected = False
        self.connections = self.attempts = self.failed = 0
        self._given_context = ssl_context
        self._files = {"cafile": cafile, "certfile": certfile, "keyfile": keyfile}
        self._context: ssl.SSLContext | None = None
        # Replaced by tests, which do not wait.
        self._clock: Callable[[], float] = time.monotonic
        self._random: Callable[[], float] = random.random
        self._sleep: Callable[[float], object] = self._pause

    def handle(self, *args: Any, **kwargs: Any) -> Any:
        """Use a connection. A subclass writes it, unless the constructor gets a function."""
        raise NotImplementedError

    def do_start(self) -> Any:
        """Begin to connect."""
        if self.tls:
            from .tls import client_context

            self._context = self._given_context or client_context(**self._files)
        self.spawn(self._keep_connected)

    def _keep_connected(self) -> Any:
        run_to_end(self._stay_connected())

    async def _stay_connected(self) -> None:
        log = _ConnectionLog(self, self._clock)
        waits = self.retry.waits(self._random)
        while not self.async_.stopping:
            self.attempts += 1
            try:
                connection = await self._connect()
            except OSError as error:
                log.away(f"cannot reach {self.address}: {error}")
            else:
                since = self._clock()
                log.there()
                log.away(f"lost the connection to {self.address}: {await self._use(connection)}")
                if self._clock() - since >= self.retry.healthy:
                    waits = self.retry.waits(self._random)
            paused = self._sleep(next(waits))
            if isawaitable(paused):
                await paused

    async def _use(self, connection: Any) -> str:
        """Call the handler. Returns why the connection is over."""
        self.connections += 1
        self.connected = True
        try:
            await self._handle(connection)
            return "the handler is done with it"
        except BaseException as error:
            if isinstance(error, (SystemExit, KeyboardInterrupt)) or self._is_told_to_end(error):
                raise  # the task's end is told by its service
            if self._was_lost(connection, error):
                return str(error)
            self.failed += 1
            ours = error.__traceback__ and error.__traceback__.tb_next  # two frames
            logger.error(
                "%s: the handler failed: %s: %s",
                self.path,
                type(error).__name__,
                error,
                exc_info=(type(error), error, ours and ours.tb_next),
            )
            return "its handler failed"
        finally:
            self.connected = False
            self._hang_up(connection)

    # -- what a backend has to say ---------------------------------------------------------------

    async def _connect(self) -> Any:
        """Return a new connection, within `connect_timeout`."""
        raise NotImplementedError

    async def _handle(self, connection: Any) -> None:
        """Call the handler, and close the connection in good order."""
        self.handle(connection)
        connection.close()

    def _is_told_to_end(self, error: BaseException) -> bool:
        """Whether the client is stopped, by this error of its handler."""
        raise NotImplementedError

    def _was_lost(self, connection: Any, error: BaseException) -> bool:
        """Whether it was the connection that raised this error of a handler."""
        return isinstance(error, OSError) and raised_by(connection, error)

    def _pause(self, seconds: float) -> Any:
        """Wait, until the client is stopped."""
        return self.async_.sleep(seconds)

    def _hang_up(self, connection: Any) -> None:
        """Close it now, whatever state it is in."""
        connection.hang_up()


def resolved(address: Address, getaddrinfo: Callable[..., Any]) -> list[tuple[int, Any]]:
    """The socket addresses of a host, in the order in which to try them."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address.host)
        except OSError:
            continue
        return [(family, (address.host, address.port))]  # no thread is needed for this
    try:
        address.host.encode("idna")  # before a thread does it, and prints that it failed
    except UnicodeError as error:
        raise OSError(f"{address.host!r} is no name of a host: {error}") from error
    found = getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [(entry[0], entry[4]) for entry in found]


class _ConnectionLog:
    """Tells once that the peer is away, and once that it is there again.

    A peer that accepts and hangs up over and over is told of every 10 s at most.
    """

    def __init__(self, client: Reconnecting, clock: Callable[[], float]) -> None:
        self._client = client
        self._repeats = Repeats(10.0, clock)
        self._attempts = client.attempts
        self._away = False
        self._told = True  # the first connection is told

    def away(self, reason: str) -> None:
        if self._away:
            return
        self._away = True
        self._attempts = self._client.attempts
        kept_back = self._repeats.due()
        self._told = kept_back is not None
        if kept_back is not None:
            often = f" ({kept_back} times before that)" if kept_back else ""
            logger.warning("%s: %s%s; connecting again", self._client.path, reason, often)

    def there(self) -> None:
        self._away = False
        if self._told:
            tries = self._client.attempts - self._attempts
            logger.info(
                "%s: connected to %s%s",
                self._client.path,
                self._client.address,
                f", at attempt {tries}" if tries > 1 else "",
            )
            self._told = False
