"""Servers of connections on asyncio: with streams, and with protocols."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from typing import Any

from ..core.errors import ConfigError
from .addresses import Address
from .asyncio_server import ConnectionHandler, Connections
from .listening import raised_by


class StreamServer(Connections):
    """A server that calls ``handle(reader, writer)`` for each connection, in its own task.

    The two are asyncio's. The connection is closed when the handler returns or raises. When the
    server stops, `reader` tells an idle handler the end of the stream, as if the peer had hung up;
    what the handler still has to say is sent. One at work has `drain_timeout` seconds to come to
    its end. Its arguments are those of :class:`~ginkgo.servers.asyncio_server.Connections`.

    Example:
        >>> class Echo(Service):
        ...     def __init__(self):
        ...         self.add_service(StreamServer(":7000", self.handle))
        ...
        ...     async def handle(self, reader, writer):
        ...         while data := await reader.read(4096):
        ...             writer.write(data)
        ...             await writer.drain()
    """

    def _handler(self, connection: socket.socket, address: Any) -> StreamHandler:
        return StreamHandler(self, connection, address)

    async def _attend(self, handler: StreamHandler) -> None:
        reader = asyncio.StreamReader(loop=self._loop)
        handler.listen_to(reader)
        protocol = Protocol(reader, loop=self._loop)
        transport = await self._connect(protocol, handler)
        if transport is None:
            return
        if handler.told:
            handler.end_input()
        writer = handler.writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
        answer = self.handle(reader, writer)
        if inspect.isawaitable(answer):
            await answer
        self.handled += 1
        await close(writer)

    def _handler_raised(self, handler: Any, error: BaseException, works_on: object) -> None:
        if isinstance(error, (OSError, asyncio.IncompleteReadError)) and handler.has_raised(error):
            self._peer_lost(handler, error)
        else:
            super()._handler_raised(handler, error, works_on)

    def wind_down(self, handler: StreamHandler) -> None:
        """The server stops: make the handler of this connection come to its end.

        Here it is told the end of the stream at its next read. A subclass that knows where one
        request ends and the next begins does better; it must not block.
        """
        handler.end_input()


class StreamHandler(ConnectionHandler):
    """What serves one connection.

    Attributes:
        reader, writer: what the handler has got, once there is a connection.
        told: the server stops.
        is_new: nothing has come from the peer.
    """

    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    told = False
    is_new = True

    def __init__(self, server: StreamServer, connection: socket.socket, address: Any) -> None:
        super().__init__(connection, address)
        self._server = server

    def listen_to(self, reader: asyncio.StreamReader) -> None:
        """Notice the first that comes; the rest does not pass here."""
        self.reader = reader

        def first(data: Any) -> None:
            self.is_new = False
            del reader.feed_data
            reader.feed_data(data)

        reader.feed_data = first  # type: ignore[method-assign]

    def tell(self) -> None:
        self.told = True
        if self.writer is not None:
            self._server.wind_down(self)

    def end_input(self) -> None:
        """Make reads return the end of the stream, after what has arrived; writes go on."""
        assert self.reader is not None  # noqa: S101 - for the type checker
        if self._server.tls:
            # The end of the socket's input would close the connection before the answer is out.
            self.transport.pause_reading()
            self.reader.feed_data = _nothing  # type: ignore[method-assign]
            self.reader.feed_eof()
            return
        try:
            self.socket.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # not connected any more: it has ended already

    def has_raised(self, error: BaseException) -> bool:
        """Whether `error` came out of the connection."""
        return raised_by(self.reader, error) or raised_by(self.writer, error)


class Protocol(asyncio.StreamReaderProtocol):
    """asyncio's, but for an error of its connection: whoever reads or writes is told of that."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        closed: Any = self._closed  # type: ignore[attr-defined]
        if closed.done() and not closed.cancelled():
            closed.exception()


def _nothing(data: Any) -> None:
    """What comes in behind the end is for nobody."""


async def close(writer: asyncio.StreamWriter) -> None:
    """Send what was written, and close; on TLS without waiting for the peer's goodbye."""
    try:
        if writer.get_extra_info("ssl_object") is not None:
            writer.transport.set_write_buffer_limits(1)  # with 0 it would wait for ever
            await writer.drain()
            writer.close()  # all is out: this says goodbye, and would wait for the peer's
            writer.get_extra_info("socket").shutdown(socket.SHUT_RD)
        writer.close()
        await writer.wait_closed()
    except OSError:
        pass  # the peer did not wait for it


class ProtocolServer(Connections):
    """A server that makes a protocol for each connection: the way with the least in between.

    Nothing of Ginkgo's is between the loop and the protocol. When the server stops, a protocol that
    has a method ``shutdown()`` is told by it, and closes its transport when it has done its work;
    others are told the end of the stream (``eof_received``).

    Args:
        address: as for :class:`StreamServer`, as are the other arguments.
        protocol_factory: called without arguments; returns an :class:`asyncio.Protocol`. None when
            the subclass has a method `make_protocol`.

    Example:
        >>> class Echo(asyncio.Protocol):
        ...     def connection_made(self, transport):
        ...         self.transport = transport
        ...
        ...     def data_received(self, data):
        ...         self.transport.write(data)
        >>> ProtocolServer(":7000", Echo)
    """

    def __init__(
        self, address: Any, protocol_factory: Callable[[], Any] | None = None, **options: Any
    ) -> None:
        if protocol_factory is not None:
            self.make_protocol = protocol_factory  # type: ignore[method-assign]
        elif type(self).make_protocol is ProtocolServer.make_protocol:
            raise ConfigError(
                f"{type(self).__name__} at {address} has no protocol",
                hint="Give it a function, or let the subclass have a method `make_protocol`.",
            )
        super().__init__(address, self.make_protocol, **options)

    def make_protocol(self) -> Any:
        """Make the protocol of a new connection."""
        raise NotImplementedError

    def _handler(self, connection: socket.socket, address: Any) -> ProtocolHandler:
        return ProtocolHandler(self, connection)

    async def _carry_out(self, handler: Any) -> None:
        """Hand the connection over. It is active until the protocol's `connection_lost`."""
        try:
            protocol = self.make_protocol()
            handler.watch(protocol)
            if await self._connect(protocol, handler) is None:
                self._ended(handler)
            elif handler.told:
                handler.tell()
        except asyncio.CancelledError:
            handler.hang_up()
            self._ended(handler)
        except BaseException as error:  # noqa: BLE001 - told by the server, never lost
            self._handler_raised(handler, error, None)
            handler.hang_up()
            self._ended(handler)
        finally:
            handler.task = None

    def _lost(self, handler: ProtocolHandler, error: Exception | None) -> None:
        if handler in self._handlers:
            if error is None:
                self.handled += 1
            else:
                self._peer_lost(handler, error)
            self._ended(handler)


class ProtocolHandler(ConnectionHandler):
    """A connection that a protocol serves. There may be very many: it keeps little."""

    __slots__ = ("protocol", "server", "told")

    def __init__(self, server: ProtocolServer, connection: socket.socket) -> None:
        super().__init__(connection, None)
        self.server = server
        self.protocol: Any = None
        self.told = False

    @property
    def peer(self) -> str:
        address = self.transport and self.transport.get_extra_info("peername")
        return str(Address.of(address)) if address else "a client"

    def watch(self, protocol: Any) -> None:
        """Be called when the connection of `protocol` is lost."""
        self.protocol = protocol
        protocol.ginkgo_handler = self
        protocol.connection_lost = self.connection_lost

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the transport, in place of the protocol's own."""
        protocol = self.protocol
        try:
            type(protocol).connection_lost(protocol, error)
        finally:
            self.server._lost(self, error)

    def tell(self) -> None:
        self.told = True
        if self.transport is None:
            return
        shutdown = getattr(self.protocol, "shutdown", None)
        if shutdown is not None:
            shutdown()
        elif self.server.tls:
            if not self.protocol.eof_received():
                self.transport.close()
        else:
            try:
                self.socket.shutdown(socket.SHUT_RD)
            except OSError:
                pass  # not connected any more: it has ended already
