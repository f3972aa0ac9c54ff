"""Servers of connections on asyncio: with streams, and with protocols."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from collections.abc import Callable
from typing import Any, TypeGuard, Unpack

from .asyncio_server import Connection, Connections
from .kinds import ConnectionOptions
from .listening import FIRST_WORD, given_or_own, raised_by
from .traffic import add_traffic

GOODBYE = 0.02  # seconds between two looks at what waits for a TLS goodbye at stop


class StreamServer(Connections):
    """A server that calls ``handle(reader, writer)`` for each connection, in its own task.

    The two are asyncio's. The connection is closed when the handler returns or raises. When the
    server stops, `reader` tells an idle handler the end of the stream, as if the peer had hung up;
    what the handler still has to say is sent. One at work has `drain_timeout` seconds to come to
    its end. Its arguments are those of :class:`~ginkgo.servers.kinds.ForConnections`.

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

    def _connection(self, fd: int) -> Connection:
        return StreamConnection(self, fd)

    async def _carry_out(self, connection: Any) -> None:
        """Serve a connection. In one coroutine, because each idle connection keeps it."""
        reader = asyncio.StreamReader(loop=self._loop)
        writer = None
        try:
            writer = await self._open(connection, reader)
            if writer is None:
                return
            answer = self.handle(reader, writer)
            if inspect.isawaitable(answer):
                await answer
            self.handled += 1
            await close(writer)
        except asyncio.CancelledError:
            pass  # by the server, which counts it, or by the user's own code
        except BaseException as error:  # noqa: BLE001 - told by the server, never lost
            if have_raised(error, reader, writer):
                self._peer_lost(connection, error)
            else:
                self._handler_raised(connection, error, connection)
        finally:
            connection.hang_up()
            self._ended(connection)

    async def _open(
        self, connection: StreamConnection, reader: asyncio.StreamReader
    ) -> asyncio.StreamWriter | None:
        """Let the loop take the connection; None when it was lost."""
        connection.listen_to(reader)
        protocol = Protocol(reader, loop=self._loop)
        protocol.connection = connection
        transport = await self._connect(protocol, connection)
        if transport is None:
            return None
        if connection.told:
            connection.end_input()
        return asyncio.StreamWriter(transport, protocol, reader, self._loop)


def have_raised(
    error: BaseException, *streams: asyncio.StreamReader | asyncio.StreamWriter | None
) -> TypeGuard[Exception]:
    """Whether `error` came out of the connection, and not of what the handler does besides."""
    return isinstance(error, (OSError, asyncio.IncompleteReadError)) and any(
        raised_by(stream, error) for stream in streams if stream is not None
    )


class StreamConnection(Connection):
    """A connection that a handler serves with streams.

    Attributes:
        reader: what the handler reads from.
        told: the server stops.
        is_new: nothing has come from the peer.
    """

    __slots__ = ("is_new", "reader", "told")

    def __init__(self, server: Any, fd: int) -> None:
        super().__init__(server, fd)
        self.reader: asyncio.StreamReader
        self.told = False
        self.is_new = True

    def listen_to(self, reader: asyncio.StreamReader) -> None:
        """Notice the first that comes; the rest does not pass here."""
        self.reader = reader
        reader.feed_data = self._first  # type: ignore[method-assign]

    def _first(self, data: Any) -> None:
        reader = self.reader
        self.is_new = False
        del reader.feed_data
        reader.feed_data(data)

    def tell(self) -> None:
        self.told = True
        if self.transport is not None:
            self.server.wind_down(self)

    def end_input(self) -> None:
        if not self.server.tls:
            super().end_input()
            return
        if self.transport.is_closing():
            return
        # The end of the socket's input would close the connection before the answer is out.
        self.transport.pause_reading()
        self.reader.feed_data = _nothing  # type: ignore[method-assign]
        self.reader.feed_eof()


class Protocol(asyncio.StreamReaderProtocol):
    """asyncio's, but for an error of its connection: whoever reads or writes is told of that."""

    connection: StreamConnection | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            add_traffic(connection)  # uvloop closes the descriptor next, and not by the socket
        super().connection_lost(exc)
        closed: Any = self._closed  # type: ignore[attr-defined]
        if closed.done() and not closed.cancelled():
            closed.exception()


def _nothing(data: Any) -> None:
    """What comes in behind the end is for nobody."""


async def close(writer: asyncio.StreamWriter) -> None:
    """Send what was written, and close; on TLS without waiting for the peer's goodbye."""
    encrypts = writer.get_extra_info("ssl_object") is not None
    try:
        if encrypts and not writer.is_closing():
            writer.transport.set_write_buffer_limits(1)  # with 0 it would wait for ever
            await writer.drain()
        if not writer.is_closing():  # a second close() breaks asyncio's TLS
            writer.close()
        if encrypts:  # all is out, the goodbye too, and this would wait for the peer's
            end_input(writer.transport)
        await writer.wait_closed()
    except OSError:
        pass  # the peer did not wait for it


def end_input(transport: asyncio.BaseTransport) -> None:
    """Shut the input of a socket down. uvloop's own object for it cannot."""
    view = transport.get_extra_info("socket")
    if view is not None:  # else it is closed
        with socket.socket(fileno=os.dup(view.fileno())) as same:
            same.shutdown(socket.SHUT_RD)


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
        self,
        address: Any,
        protocol_factory: Callable[[], Any] | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> None:
        given_or_own(
            self, ProtocolServer.make_protocol, protocol_factory, f"at {address} has no protocol"
        )
        super().__init__(address, self.make_protocol, **options)

    def make_protocol(self) -> Any:
        """Make the protocol of a new connection."""
        raise NotImplementedError

    def _connection(self, fd: int) -> Connection:
        return ProtocolConnection(self, fd)

    async def _carry_out(self, connection: Any) -> None:
        """Hand the connection over. It is active until the protocol's `connection_lost`."""
        try:
            protocol = self.make_protocol()
            connection.watch(protocol)
            if await self._connect(protocol, connection) is None:
                self._ended(connection)
            elif self._emptied is not None and connection not in self._late:
                if connection.is_unasked:
                    self._loop.call_later(FIRST_WORD, connection.tell)
                else:
                    connection.tell()
        except asyncio.CancelledError:
            connection.hang_up()
            self._ended(connection)
        except BaseException as error:  # noqa: BLE001 - told by the server, never lost
            self._handler_raised(connection, error, None)
            connection.hang_up()
            self._ended(connection)
        finally:
            connection.task = None

    async def _drain(self) -> None:
        if not self.tls:
            return await super()._drain()
        goodbyes = self._loop.create_task(self._wait_for_no_goodbye())
        try:
            await super()._drain()
        finally:
            goodbyes.cancel()

    async def _wait_for_no_goodbye(self) -> None:
        """A protocol that closes its transport waits there for the peer's TLS goodbye: not now.

        Nothing tells when all that it has written is out, so it is looked at from time to time.
        """
        while True:
            for connection in tuple(self._handlers):
                transport = connection.transport
                closing = transport is not None and transport.is_closing()
                if closing and not transport.get_write_buffer_size():
                    end_input(transport)
            await asyncio.sleep(GOODBYE)

    def _lost(self, connection: ProtocolConnection, error: Exception | None) -> None:
        if connection in self._handlers:
            if error is None:
                self.handled += 1
            else:
                self._peer_lost(connection, error)
            self._ended(connection)


class ProtocolConnection(Connection):
    """A connection that a protocol serves. It is called in the place of its `connection_lost`.

    Attributes:
        protocol: the one that serves it now; None when it is lost.
        is_new: it was queued when the server stopped, or has not asked for anything yet: what its
            peer has sent is still to be read.
    """

    __slots__ = ("protocol",)

    def __init__(self, server: Any, fd: int) -> None:
        super().__init__(server, fd)
        self.protocol: Any = None

    @property
    def is_new(self) -> bool:  # type: ignore[override]
        return self in self.server._late or self.is_unasked

    @property
    def is_unasked(self) -> bool:
        """Whether no request has come yet, where the protocol is one of uvicorn's for HTTP."""
        return getattr(self.protocol, "cycle", self) is None

    def watch(self, protocol: Any) -> None:
        """Be called when the connection of `protocol` is lost."""
        self.protocol = protocol
        protocol.connection_lost = self  # no method of it: that would be one more object for each

    def __call__(self, error: Exception | None) -> None:
        add_traffic(self)  # uvloop closes the descriptor next, and not by the socket
        protocol, self.protocol = self.protocol, None
        del protocol.connection_lost  # its own is behind it; and they do not keep each other alive
        try:
            protocol.connection_lost(error)
        finally:
            self.server._lost(self, error)

    def tell(self) -> None:
        if self.transport is None or self.protocol is None:
            return
        shutdown = getattr(self.protocol, "shutdown", None)
        if shutdown is not None:
            shutdown()
        elif not self.server.tls:
            self.end_input()
        elif not self.protocol.eof_received():
            self.transport.close()


def connection_of(protocol: Any) -> ProtocolConnection | None:
    """The connection that watches a protocol."""
    connection: ProtocolConnection | None = vars(protocol).get("connection_lost")
    return connection
