"""What all servers on asyncio have in common; :mod:`ginkgo.servers.serving` says how they stop.

Whatever comes in is accepted here and not by the loop's own servers, so that a limit, a lack of
descriptors and a stop mean the same on every backend.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ..async_.asyncio_operations import stack_of
from .addresses import client_name, without_mapping
from .kinds import ForConnections
from .listening import BREATHER
from .serving import BaseHandler, Serving, out_of_resources
from .traffic import add_traffic


class Handler(BaseHandler):
    """What serves one connection or datagram.

    Attributes:
        task: in which it does so, while there is one.
        is_new: whether its peer may still be about to send what it sends with its connect.
    """

    __slots__: tuple[str, ...] = ()

    task: Any
    is_new = False

    @property
    def where(self) -> str:
        return stack_of(self.task)

    def tell(self) -> None:
        """The server stops: come to an end."""


class Server(Serving):
    """A server on asyncio; see :class:`~ginkgo.servers.listening.Listening`."""

    backend: str | None = "asyncio"
    only_on: str | None = "asyncio"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop: asyncio.AbstractEventLoop
        self._reading = False
        self._breather: asyncio.TimerHandle | None = None
        self._late: set[Handler] = set()  # those that were queued when the server was stopped

    async def _attend(self, handler: Any) -> None:
        """Serve what was taken in, until it is done."""
        raise NotImplementedError

    def _is_new(self, handler: Handler) -> bool:
        return handler.is_new

    def _tell(self, handler: Handler) -> None:
        self._late.discard(handler)
        handler.tell()

    def _task_of(self, handler: Handler) -> Any:
        return handler.task

    # -- taking in, in the loop ------------------------------------------------------------------

    def do_start(self) -> Any:
        """Listen, and take in."""
        self.bind()
        self._loop = asyncio.get_running_loop()
        self._resume()

    def _pause(self) -> None:
        if self._reading and self._listener is not None:
            self._reading = False
            self._loop.remove_reader(self._listener.socket.fileno())

    def _resume(self) -> None:
        self._breathe_no_more()
        if not self._reading and not self.draining and self._listener is not None:
            self._reading = True
            self._loop.add_reader(self._listener.socket.fileno(), self._readable)

    def _has_room(self) -> None:
        if not self._reading and self._breather is None:
            self._resume()

    def _cannot_take_in(self, error: Exception) -> None:
        if out_of_resources(error):
            self._breather = self._loop.call_later(BREATHER, self._resume)
            self._complain(error)
        else:
            self.spawn(_fail, error)

    def _breathe_no_more(self) -> None:
        if self._breather is not None:
            self._breather.cancel()
            self._breather = None

    def _serve(self, handler: Handler) -> None:
        if self.draining:
            self._late.add(handler)
        handler.task = self._loop.create_task(self._carry_out(handler))

    async def _carry_out(self, handler: Handler) -> None:
        try:
            await self._attend(handler)
        except asyncio.CancelledError:
            pass  # by the server, which counts it, or by the user's own code
        except BaseException as error:  # noqa: BLE001 - told by the server, never lost
            self._handler_raised(handler, error, handler)
        finally:
            handler.hang_up()
            self._ended(handler)

    # -- stopping --------------------------------------------------------------------------------

    async def do_stop(self) -> Any:
        """Take in no more, let the handlers finish, and cut those that do not."""
        await self._come_to_rest()

    def _look_no_more(self) -> None:
        self._pause()
        self._breathe_no_more()

    def _event(self) -> asyncio.Event:
        return asyncio.Event()

    async def _emptied_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._emptied.wait()
        except TimeoutError:
            return False
        return True

    async def _end(self, victims: list[Any], patience: float) -> list[Any]:
        tasks = [handler.task for handler in victims if handler.task is not None]
        for task in tasks:
            task.cancel()
        if patience and tasks:
            await asyncio.wait(tasks, timeout=patience / 2)
        for handler in victims:
            handler.hang_up()  # what swallowed the cancellation meets an error now
        if not patience or not tasks:
            return []
        _, left = await asyncio.wait(tasks, timeout=patience / 2)
        return [handler for handler in victims if handler.task in left]

    def _at_rest(self) -> None:
        self._late.clear()


async def _fail(error: Exception) -> None:
    raise error


class Connections(ForConnections, Server):
    """A server of connections on asyncio; see :class:`~ginkgo.servers.kinds.ForConnections`."""

    def do_start(self) -> Any:
        """Listen, and take in."""
        super().do_start()
        if self.tls and not isinstance(self._loop, asyncio.SelectorEventLoop):
            self._traffic = None  # uvloop has closed the socket when we hear of its end

    def _handler_of(self, connection: Connection, address: Any) -> Connection:
        return connection

    def _connection_of(self, handler: Connection) -> Connection:
        return handler

    async def _connect(self, protocol: Any, connection: Connection) -> Any:
        """Let the loop take the connection; returns the transport, or None when it was lost."""
        try:
            async with asyncio.timeout(self.handshake_timeout if self.tls else None):
                connection.transport, _ = await self._loop.connect_accepted_socket(
                    lambda: protocol, connection, ssl=self._certificate.context
                )
        except OSError as error:
            self._peer_lost(connection, error)
            return None
        return connection.transport


class Connection(Handler, socket.socket):
    """What serves one connection: its socket, which its transport keeps for as long as it is open.

    It is one object and not two, because there may be very many.

    Attributes:
        server: whose connection it is.
        transport: the loop's, once there is one.
        traffic: what its bytes are added to when it closes, until then.
    """

    __slots__ = ("server", "task", "traffic", "transport")

    def __init__(self, server: Any, fd: int) -> None:
        family, kind, protocol = server._kind
        super().__init__(family, kind, protocol, fd)
        self.setblocking(False)
        self.server = server
        self.traffic = server._traffic
        self.task: asyncio.Task[Any] | None = None
        self.transport: Any = None

    @property
    def peer(self) -> str:
        if self.family == socket.AF_UNIX:
            return client_name(None)
        try:
            address = (
                self.getpeername()
                if self.transport is None
                else self.transport.get_extra_info("peername")
            )
        except OSError:
            address = None
        return "a client" if address is None else client_name(without_mapping(address))

    def _real_close(self, *args: Any) -> None:
        add_traffic(self)
        super()._real_close(*args)  # type: ignore[misc]

    def hang_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        else:
            self.close()

    def end_input(self) -> None:
        """Make reads return the end of the stream, after what has arrived; writes go on."""
        try:
            self.shutdown(socket.SHUT_RD)
        except OSError:
            pass  # not connected any more: it has ended already
