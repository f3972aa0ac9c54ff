"""A server for streams on threads: TCP, unix sockets, and TLS on either."""

from __future__ import annotations

import errno
import socket
from typing import Any

from ..async_.threading_waits import Stopping
from .kinds import ForConnections
from .threading_server import Handler, Server
from .traffic import Traffic, add_traffic

# Reads after the end of the stream. Libraries make two or three.
END_READS = 10


class StreamServer(ForConnections, Server):
    """A server that calls ``handle(socket, address)`` for each connection, in its own thread.

    The socket is the standard library's (:class:`Connection`), and blocks. The connection is closed
    when the handler returns or raises. When the server stops, `recv` tells an idle handler the end
    of the stream, as if the peer had hung up; what it still has to say is sent. A handler at work
    has `drain_timeout` seconds to come to its end. The arguments are those of
    :class:`~ginkgo.servers.kinds.ForConnections`.

    Example:
        >>> class Echo(Service):
        ...     backend = "threading"
        ...
        ...     def __init__(self):
        ...         self.add_service(StreamServer(":7000", self.handle))
        ...
        ...     def handle(self, socket, address):
        ...         while data := socket.recv(4096):
        ...             socket.sendall(data)
    """

    def _connection(self, fd: int) -> Connection:
        connection = Connection(*self._kind, fd)
        connection.settimeout(None)  # whatever the process's default is
        connection.traffic = self._traffic
        return connection

    def _handler_of(self, connection: Connection, address: Any) -> StreamHandler:
        return StreamHandler(self, connection, address)

    def _connection_of(self, handler: StreamHandler) -> Any:
        return handler.socket

    def _tell(self, handler: StreamHandler) -> None:
        self.wind_down(handler.socket)

    def wind_down(self, connection: Any) -> None:
        end_input(connection)


class StreamHandler(Handler):
    """What serves one connection."""

    __slots__ = ("address", "server", "socket")

    def __init__(self, server: StreamServer, connection: socket.socket, address: Any) -> None:
        super().__init__()
        self.server = server
        self.socket: Any = connection
        self.address = address

    def run(self) -> None:
        server = self.server
        try:
            if server.tls and not self._secure():
                return
            server.handle(self.socket, self.address)
            server._handled()
            say_goodbye(self.socket)
        except Stopping:
            pass  # cut: by the server, which counts it
        except BaseException as error:  # noqa: BLE001 - told by the server, never lost
            server._handler_raised(self, error, self.socket)
        finally:
            close(self.socket)
            server._ended(self)

    def _secure(self) -> bool:
        """Make the socket one that encrypts; False when that failed."""
        from .threading_tls import TLSConnection

        context = self.server._certificate.context
        assert context is not None  # noqa: S101 - for the type checker
        plain = self.socket
        try:
            plain.settimeout(self.server.handshake_timeout)
            self.socket = TLSConnection.around(plain, context)
            self.socket.do_handshake()
            self.socket.settimeout(None)
        except OSError as error:
            self.server._peer_lost(self, error)
            return False
        return True

    def hang_up(self) -> None:
        hang_up(self.socket)

    def drop(self) -> None:
        close(self.socket)


class Connection(socket.socket):
    """The standard library's socket, with a trace of its own in the errors that it raises.

    So the server can tell what a peer has done from what a handler has, and a handler that reads on
    and on after the end of the stream is ended: its eleventh such read raises.
    """

    __slots__ = ("_end_reads", "traffic")

    traffic: Traffic | None

    def _real_close(self, *args: Any) -> None:
        add_traffic(self)
        super()._real_close(*args)  # type: ignore[misc]

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        if not data and bufsize:
            self._at_the_end()
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        count = super().recv_into(buffer, nbytes, flags)
        if not count:
            self._at_the_end()
        return count

    def send(self, data: Any, flags: int = 0, /) -> int:
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        super().sendall(data, flags)

    def sendmsg(self, *args: Any) -> int:
        return super().sendmsg(*args)

    def _at_the_end(self) -> None:
        self._end_reads = getattr(self, "_end_reads", 0) + 1
        if self._end_reads > END_READS:
            raise ConnectionAbortedError(
                errno.ECONNABORTED,
                "The peer has closed: a handler returns when recv() returns b''",
            )


def end_input(connection: socket.socket) -> None:
    """Make reads return the end of the stream, after what has arrived; writes go on."""
    _shut_down(connection, socket.SHUT_RD)


def hang_up(connection: socket.socket) -> None:
    """End both directions; whoever waits in a read or write goes on."""
    _shut_down(connection, socket.SHUT_RDWR)


def _shut_down(connection: socket.socket, how: int) -> None:
    try:
        # Not its own method: that of a TLS socket makes it one that does not encrypt any more.
        socket.socket.shutdown(connection, how)
    except OSError:
        pass  # closed, or not connected any more: it has ended already


def say_goodbye(connection: socket.socket) -> None:
    """On TLS: tell the peer that it has got all (RFC 8446, section 6.1)."""
    unwrap = getattr(connection, "unwrap", None)
    if unwrap is not None and connection.fileno() >= 0:
        try:
            connection.settimeout(0.0)
            unwrap()  # without waiting for the peer's goodbye
        except (OSError, ValueError):
            pass  # it has gone


def close(connection: Any) -> None:
    """Close it now, even if a file that was made of it is still open. In its own thread only."""
    connection._closed = True
    connection._real_close()
