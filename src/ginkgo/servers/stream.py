"""A server for streams: TCP, unix sockets, and TLS on either."""

from __future__ import annotations

from typing import Any

import gevent

from .connection import Connection
from .kinds import ForConnections
from .server import Handler, Server


class StreamServer(ForConnections, Server):
    """A server that calls ``handle(socket, address)`` for each connection, in its own greenlet.

    The connection is closed when the handler returns or raises. When the server stops, `recv` tells
    an idle handler the end of the stream, as if the peer had hung up; what it still has to say is
    sent. A handler at work has `drain_timeout` seconds to come to its end.

    The socket is a :class:`~ginkgo.servers.connection.Connection`. The arguments are those of
    :class:`~ginkgo.servers.kinds.ForConnections`.

    Example:
        >>> class Echo(Service):
        ...     def __init__(self):
        ...         self.add_service(StreamServer(":7000", self.handle))
        ...
        ...     def handle(self, socket, address):
        ...         while data := socket.recv(4096):
        ...             socket.sendall(data)
    """

    def _connection(self, fd: int) -> Connection:
        connection = Connection(*self._kind, fd)
        connection._sock.traffic = self._traffic
        return connection

    def _handler_of(self, connection: Connection, address: Any) -> StreamHandler:
        return StreamHandler(self, connection, address)

    def _connection_of(self, handler: StreamHandler) -> Any:
        return handler.socket._sock

    def _is_new(self, handler: StreamHandler) -> bool:
        return not handler.socket.reads

    def _tell(self, handler: StreamHandler) -> None:
        self.wind_down(handler.socket)

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

    def hang_up(self) -> None:
        self.socket.hang_up()
