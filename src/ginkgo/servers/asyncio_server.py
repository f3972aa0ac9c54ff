"""What all servers on asyncio have in common; :mod:`ginkgo.servers.server` says how they stop.

Whatever comes in is accepted here and not by the loop's own servers, so that a limit, a lack of
descriptors and a stop mean the same on every backend.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..async_.asyncio_operations import stack_of
from .addresses import AddressLike, client_name, without_mapping
from .listen import BACKLOG, Listener, bind
from .listening import (
    BATCH,
    BREATHER,
    CUT_TIME,
    FIRST_WORD,
    GONE,
    OUT_OF_RESOURCES,
    Listening,
)
from .tls import Certificate
from .traffic import add_traffic

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger(__name__)

Kind = tuple[int, int, int]
"""Of a socket: its family, type and protocol."""


class Handler:
    """What serves one connection or datagram.

    Attributes:
        task: in which it does so, while there is one.
        is_new: whether its peer may still be about to send what it sends with its connect.
    """

    __slots__: tuple[str, ...] = ()

    task: Any
    is_new = False

    @property
    def peer(self) -> str:
        """Whom it serves, for the log."""
        raise NotImplementedError

    def tell(self) -> None:
        """The server stops: come to an end."""

    def hang_up(self) -> None:
        """Close what it works on, now."""


class Server(Listening):
    """A server on asyncio; see :class:`~ginkgo.servers.listening.Listening`."""

    backend: str | None = "asyncio"
    only_on: str | None = "asyncio"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop: asyncio.AbstractEventLoop
        self._reading = False
        self._breather: asyncio.TimerHandle | None = None
        self._waiting: list[Handler] = []
        self._emptied: asyncio.Event | None = None
        self._late: set[Handler] = set()  # those that were queued when the server was stopped
        # In the order in which they came. A set of thousands may take three times the memory.
        self._handlers: dict[Any, None] = {}  # type: ignore[assignment]

    # -- what a kind of server has to say --------------------------------------------------------

    def _take_in(self) -> bool:
        """Take one in; False when nothing waits. In the loop: it may not block."""
        raise NotImplementedError

    async def _attend(self, handler: Any) -> None:
        """Serve what was taken in, until it is done."""
        raise NotImplementedError

    # -- taking in -------------------------------------------------------------------------------

    def do_start(self) -> Any:
        """Listen, and take in."""
        self.bind()
        self._loop = asyncio.get_running_loop()
        self._resume()

    def _readable(self) -> None:
        """Something waits to be taken in."""
        limit = self.max_active
        try:
            for _ in range(BATCH):
                if limit is not None and len(self._handlers) >= limit:
                    self._pause()
                    return
                if not self._take_in():
                    return
        except Exception as error:  # noqa: BLE001 - told by the service; the loop is no place for it
            self._pause()
            if isinstance(error, MemoryError) or getattr(error, "errno", 0) in OUT_OF_RESOURCES:
                self._breather = self._loop.call_later(BREATHER, self._resume)
                self._complain(error)
            else:
                self.spawn(_fail, error)

    def _pause(self) -> None:
        if self._reading and self._listener is not None:
            self._reading = False
            self._loop.remove_reader(self._listener.socket.fileno())

    def _resume(self) -> None:
        if self._breather is not None:
            self._breather.cancel()
            self._breather = None
        if not self._reading and not self.draining and self._listener is not None:
            self._reading = True
            self._loop.add_reader(self._listener.socket.fileno(), self._readable)

    def _begin(self, handler: Handler) -> None:
        """Start a handler. What comes in at the last moment may have to wait for its turn."""
        self.accepted += 1
        if self.draining and self.max_active is not None and self.active >= self.max_active:
            self._waiting.append(handler)
            return
        if self.draining:
            self._late.add(handler)
        self._handlers[handler] = None
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

    def _ended(self, handler: Handler) -> None:
        """A handler is at its end."""
        self._handlers.pop(handler, None)
        if not self._reading and self._breather is None:
            self._resume()
        if self._waiting:
            waiting = self._waiting.pop(0)
            self._handlers[waiting] = None
            waiting.task = self._loop.create_task(self._carry_out(waiting))
            waiting.tell()  # what its peer has sent is there by now, and will be read
        elif self._emptied is not None and not self._handlers:
            self._emptied.set()

    # -- stopping --------------------------------------------------------------------------------

    async def do_stop(self) -> Any:
        """Take in no more, let the handlers finish, and cut those that do not."""
        began = time.monotonic()
        self.draining = True
        try:
            self._take_in_the_last()
            if self._closes_first:
                self.unbind()
            self._let_askers_go()
            await self._drain()
            await self._cut(began, CUT_TIME)
        except BaseException:
            await self._cut(began, 0.0)  # the stop is broken into: there is no time left
            raise
        finally:
            self.unbind()
            self.draining = False
            self._emptied = None
            self._late.clear()

    def _take_in_the_last(self) -> None:
        """Take in what has been promised to be handled, because it is queued; then no more."""
        self._pause()
        if self._breather is not None:
            self._breather.cancel()
            self._breather = None
        if self._listener is None or self._given is not None:
            return  # a given socket goes on listening, for whoever has given it
        if self._listener.kept:
            return
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
            callers = set(self._operation.callers())
            self._handlers = {each: None for each in self._handlers if each.task not in callers}

    async def _drain(self) -> None:
        if not self._handlers:
            return
        self._emptied = asyncio.Event()
        new = [handler for handler in self._handlers if handler.is_new]
        for handler in [handler for handler in self._handlers if not handler.is_new]:
            handler.tell()
        quick = min(FIRST_WORD, self.drain_timeout)
        if await self._empty_within(quick):
            return
        self._late.clear()
        for handler in new:
            if handler in self._handlers:
                handler.tell()
        await asyncio.sleep(0)  # those who were idle end now
        if self._handlers:
            logger.info(
                "%s: %d still at work, and has up to %g s to finish",
                self.path,
                self.active,
                self.drain_timeout,
            )
            await self._empty_within(self.drain_timeout - quick)

    async def _empty_within(self, seconds: float) -> bool:
        assert self._emptied is not None  # noqa: S101 - for the type checker
        try:
            async with asyncio.timeout(seconds):
                await self._emptied.wait()
        except TimeoutError:
            return False
        return True

    async def _cut(self, began: float, patience: float) -> None:
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
        tasks = [handler.task for handler in victims if handler.task is not None]
        for task in tasks:
            task.cancel()
        if patience and tasks:
            await asyncio.wait(tasks, timeout=patience / 2)
        for handler in victims:
            handler.hang_up()  # what swallowed the cancellation meets an error now
        if patience and tasks:
            _, left = await asyncio.wait(tasks, timeout=patience / 2)
            for handler in victims:
                if handler.task in left:
                    logger.error(
                        "%s: the handler of %s does not end, and is left behind:\n%s",
                        self.path,
                        handler.peer,
                        stack_of(handler.task),
                    )
        self._handlers.clear()


async def _fail(error: Exception) -> None:
    raise error


class Connections(Server):
    """A server of connections: TCP, unix sockets, and TLS on either.

    Args:
        address: ``("0.0.0.0", 7000)``, ``"host:port"``, ``":port"``, ``"unix:/path"``, or a socket
            that listens already.
        handle: what serves a connection.
        backlog: how many connections the kernel may queue.
        max_connections: how many connections there may be at a time; None for no limit.
        certfile, keyfile: PEM files; with them the server speaks TLS. Read at :meth:`bind`, and
            again at a reload, if they have changed.
        ssl_context: a context of your own, instead of the files.
        handshake_timeout: seconds that a client has for the TLS handshake.
        drain_timeout: seconds that connections under way have at stop.
        mode: the permissions of a unix socket's file.
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

    def do_start(self) -> Any:
        """Listen, and take in."""
        super().do_start()
        if self.tls and not isinstance(self._loop, asyncio.SelectorEventLoop):
            self._traffic = None  # uvloop has closed the socket when we hear of its end

    def do_reload(self) -> Any:
        """Take a new certificate, if there is one."""
        self._certificate.reload()

    def _listen(self) -> Listener:
        return bind(self._address, owner=self.path, backlog=self.backlog, mode=self.mode)

    def _bound(self, raw: Any, dual_stack: bool) -> None:
        self._accept = raw._accept  # accept() itself asks the socket for its kind each time
        self._kind = raw.family, raw.type, raw.proto

    def _take_in(self) -> bool:
        try:
            fd, _ = self._accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in GONE:
                return True
            raise
        try:
            connection = self._connection(self._kind, fd)
        except BaseException:
            os.close(fd)
            raise
        self._begin(connection)
        return True

    def _connection(self, kind: Kind, fd: int) -> Connection:
        """Make what serves a connection."""
        raise NotImplementedError

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

    def __init__(self, server: Any, kind: Kind, fd: int) -> None:
        super().__init__(*kind, fd)
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
