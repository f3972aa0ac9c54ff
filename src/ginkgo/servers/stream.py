"""A server for streams: TCP, unix sockets, and TLS on either."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gevent

from .addresses import AddressLike, client_name, without_mapping
from .connection import Connection
from .listen import BACKLOG, Listener, bind
from .listening import GONE
from .server import Handler, Server
from .tls import Certificate

if TYPE_CHECKING:
    import ssl


class StreamServer(Server):
    """A server that calls ``handle(socket, address)`` for each connection, in its own greenlet.

    The connection is closed when the handler returns or raises. When the server stops, `recv` tells
    an idle handler the end of the stream, as if the peer had hung up; what it still has to say is
    sent. A handler at work has `drain_timeout` seconds to come to its end.

    Args:
        address: ``("0.0.0.0", 7000)``, ``"host:port"``, ``":port"``, ``"unix:/path"``, or a socket
            that listens already.
        handle: called with the socket (:class:`~ginkgo.servers.connection.Connection`) and the
            peer's address; None when the subclass has a method `handle`.
        backlog: how many connections the kernel may queue.
        max_connections: how many connections there may be at a time; None for no limit.
        certfile, keyfile: PEM files; with them the server speaks TLS. Read at :meth:`bind`, and
            again at a reload, if they have changed.
        ssl_context: a context of your own, instead of the files.
        handshake_timeout: seconds that a client has for the TLS handshake.
        drain_timeout: seconds that connections under way have at stop.
        mode: the permissions of a unix socket's file.

    Attributes:
        tls: whether it speaks TLS.

    Example:
        >>> class Echo(Service):
        ...     def __init__(self):
        ...         self.add_service(StreamServer(":7000", self.handle))
        ...
        ...     def handle(self, socket, address):
        ...         while data := socket.recv(4096):
        ...             socket.sendall(data)
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

    def _listen(self) -> Listener:
        return bind(self._address, owner=self.path, backlog=self.backlog, mode=self.mode)

    def _bound(self, raw: Any, dual_stack: bool) -> None:
        self._accept = raw._accept  # accept() itself would build a socket of another class
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
            connection = Connection(*self._kind, fd)
            connection._sock.traffic = self._traffic
        except BaseException:
            os.close(fd)
            raise
        if self._dual_stack:
            address = without_mapping(address)
        self._begin(StreamHandler(self, connection, address))
        return True

    def _connection_of(self, handler: StreamHandler) -> Any:
        return handler.socket._sock

    def _is_new(self, handler: StreamHandler) -> bool:
        return not handler.socket.reads

    def _tell(self, handler: StreamHandler) -> None:
        self.wind_down(handler.socket)

    def wind_down(self, socket: Any) -> None:
        """The server stops: make the handler of this connection come to its end.

        Here it is told the end of the stream at its next `recv`. A subclass that knows where one
        request ends and the next begins does better; it must not block.
        """
        socket.end_input()

    def _secure(self, handler: StreamHandler) -> bool:
        """Make the handler's socket one that encrypts; False when that failed."""
        from .tls_connection import TLSConnection

        context = self._certificate.context
        assert context is not None  # noqa: S101 - for the type checker
        try:
            handler.socket = TLSConnection(handler.socket, context, server_side=True)
            handler.socket.handshake(self.handshake_timeout)
        except OSError as error:
            self._peer_lost(handler, error)
            return False
        return True


class StreamHandler(Handler):
    """The greenlet of one connection."""

    __slots__ = ("address", "server", "socket")

    def __init__(self, server: StreamServer, connection: Connection, address: Any) -> None:
        super().__init__()
        self.server = server
        self.socket: Any = connection
        self.address = address

    def _run(self) -> None:
        server = self.server
        try:
            if server.tls and not server._secure(self):
                return
            server.handle(self.socket, self.address)
            server.handled += 1
            self.socket.close()
        except gevent.GreenletExit:
            pass  # killed: by the server, which counts it, or by the user's own code
        except BaseException as error:  # noqa: BLE001 - told by the server, never lost
            server._handler_raised(self, error, self.socket)
        finally:
            self.socket.hang_up()
            server._ended(self)

    @property
    def peer(self) -> str:
        return client_name(self.address)

    def hang_up(self) -> None:
        self.socket.hang_up()
