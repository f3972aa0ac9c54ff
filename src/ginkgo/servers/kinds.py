"""The two kinds of servers, of connections and of datagrams: what each is on every backend.

::

                      gevent            asyncio                        threading
    ForConnections    StreamServer      StreamServer, ProtocolServer   StreamServer
    ForDatagrams      DatagramServer    DatagramServer                 DatagramServer

A server is of one kind and on one backend: ``class StreamServer(ForConnections, Server)``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

from ..core.errors import Unavailable
from .addresses import AddressLike, without_mapping
from .listen import BACKLOG, Listener, bind
from .listening import GONE
from .serving import Serving
from .tls import Certificate
from .traffic import Traffic

if TYPE_CHECKING:
    import ssl

# The longest that IP can carry (RFC 768: a length of 16 bits).
_LONGEST = 65535


class ConnectionOptions(TypedDict, total=False):
    """The arguments of :class:`ForConnections` that the constructor of a subclass passes on."""

    backlog: int
    max_connections: int | None
    certfile: str | os.PathLike[str] | None
    keyfile: str | os.PathLike[str] | None
    ssl_context: ssl.SSLContext | None
    handshake_timeout: float
    drain_timeout: float
    mode: int


class ForConnections(Serving):
    """A server of connections: TCP, unix sockets, and TLS on either.

    Args:
        address: ``("0.0.0.0", 7000)``, ``"host:port"``, ``":port"``, ``"unix:/path"``, or a socket
            that listens already.
        handle: what serves a connection; None when the subclass has a method `handle`.
        backlog: how many connections the kernel may queue.
        max_connections: how many connections, and on threads so many threads, there may be at a
            time; None for no limit.
        certfile, keyfile: PEM files; with them the server speaks TLS. Read at :meth:`bind`, and
            again at a reload, if they have changed.
        ssl_context: a context of your own, instead of the files.
        handshake_timeout: seconds that a client has for the TLS handshake.
        drain_timeout: seconds that connections under way have at stop.
        mode: the permissions of a unix socket's file.

    Attributes:
        tls: whether it speaks TLS.
    """

    def __init__(
        self,
        address: AddressLike | socket.socket,
        handle: Callable[..., object] | None = None,
        *,
        backlog: int = BACKLOG,
        max_connections: int | None = None,
        certfile: str | os.PathLike[str] | None = None,
        keyfile: str | os.PathLike[str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        handshake_timeout: float = 10.0,
        drain_timeout: float = 5.0,
        mode: int = 0o600,
    ) -> None:
        super().__init__(
            address, handle, max_active=max_connections, drain_timeout=drain_timeout, mode=mode
        )
        self.backlog = backlog
        self.handshake_timeout = handshake_timeout
        self.tls = bool(certfile or ssl_context)
        self._certificate = Certificate(certfile, keyfile, ssl_context)

    def bind(self) -> None:
        if self._listener is None:
            self._certificate.reload()
        super().bind()

    def do_reload(self) -> Any:
        """Take a new certificate, if there is one."""
        self._certificate.reload()

    def wind_down(self, connection: Any) -> None:
        """The server stops: make the handler of this connection come to its end.

        Here it is told the end of the stream at its next read. A subclass that knows where one
        request ends and the next begins does better; it must not block.

        Args:
            connection: on gevent and threads the socket that the handler has.
        """
        connection.end_input()

    def _connection(self, fd: int) -> Any:
        """Make a connection of what was accepted."""
        raise NotImplementedError

    def _handler_of(self, connection: Any, address: Any) -> Any:
        """Make what serves a connection."""
        raise NotImplementedError

    def _listen(self) -> Listener:
        return bind(self._address, owner=self.path, backlog=self.backlog, mode=self.mode)

    def _bound(self, raw: Any, dual_stack: bool) -> None:
        # accept() itself would build a socket of another class, and ask for its kind each time.
        self._accept = raw._accept
        self._kind = int(raw.family), int(raw.type), raw.proto
        self._dual_stack = dual_stack

    def _take_in(self) -> bool:
        try:
            fd, address = self._accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in GONE:
                return True
            raise
        try:
            connection = self._connection(fd)
        except BaseException:
            os.close(fd)
            raise
        if self._dual_stack:
            address = without_mapping(address)
        self._begin(self._handler_of(connection, address))
        return True


class ForDatagrams(Serving):
    """A server of datagrams: UDP, and unix datagram sockets.

    Args:
        address: ``("0.0.0.0", 7000)``, ``"host:port"``, ``":port"``, ``"unix:/path"``, or a socket
            that is bound already.
        handle: called with the bytes and the sender's address; None when the subclass has a method
            `handle`.
        max_active: how many datagrams, and on threads so many threads, may be in work at a time: by
            default 1000, and 100 on threads. Those beyond it wait in the kernel's buffer, and when
            that is full the kernel drops them.
        drain_timeout: seconds that handlers have at stop to come to their end.
        mode: the permissions of a unix socket's file.
    """

    _noun = "datagram"
    _traffic: Traffic
    _closes_first = False  # the handlers answer through the same socket

    def __init__(
        self,
        address: AddressLike | socket.socket,
        handle: Callable[..., object] | None = None,
        *,
        max_active: int | None = 1000,
        drain_timeout: float = 5.0,
        mode: int = 0o600,
    ) -> None:
        super().__init__(
            address, handle, max_active=max_active, drain_timeout=drain_timeout, mode=mode
        )

    def sendto(self, data: bytes, address: Any) -> Any:
        """Send a datagram from the server's own address. On asyncio to be awaited.

        Args:
            data: at most 65507 bytes over UDP.
            address: as `handle` got it.

        Returns:
            How many bytes were sent: all of them.

        Raises:
            Unavailable: the server does not run.
            OSError: the kernel refused it.
        """
        while (sent := self._sent(data, address)) is None:
            self._wait_until_writable()
        return sent

    def _handler_of(self, data: bytes, address: Any) -> Any:
        """Make what handles a datagram."""
        raise NotImplementedError

    def _wait_until_writable(self) -> Any:
        """Wait until the kernel's buffer has room."""
        raise NotImplementedError

    def _sent(self, data: bytes, address: Any) -> int | None:
        """Send a datagram; None when the kernel's buffer has no room for it."""
        if self._listener is None:
            raise Unavailable(f"{self.path}: cannot send, the server does not run")
        if self._dual_stack and ":" not in address[0]:
            address = (f"::ffff:{address[0]}", *address[1:])
        try:
            sent: int = self._raw.sendto(data, address)
        except BlockingIOError:
            return None
        self._traffic.count(sent=sent)
        return sent

    def _listen(self) -> Listener:
        return bind(self._address, owner=self.path, datagram=True, mode=self.mode)

    def _bound(self, raw: Any, dual_stack: bool) -> None:
        self._raw = raw
        self._dual_stack = dual_stack
        self._traffic = self._traffic or Traffic(self._traffic_guard)

    def _take_in(self) -> bool:
        try:
            data, address = self._raw.recvfrom(_LONGEST)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # an earlier answer did not reach its addressee (udp(7))
        self._traffic.count(received=len(data))
        if self._dual_stack:
            address = without_mapping(address)
        self._begin(self._handler_of(data, address))
        return True
