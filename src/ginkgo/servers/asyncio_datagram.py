"""A server for datagrams on asyncio: UDP, and unix datagram sockets."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from typing import Any

from ..core.errors import Unavailable
from .addresses import AddressLike, client_name, without_mapping
from .asyncio_server import Handler, Server
from .listen import Listener, bind
from .traffic import Traffic

# The longest that IP can carry (RFC 768: a length of 16 bits).
_LONGEST = 65535


class DatagramServer(Server):
    """A server that calls ``handle(data, address)`` for each datagram, in its own task.

    Args:
        address: ``("0.0.0.0", 7000)``, ``"host:port"``, ``":port"``, ``"unix:/path"``, or a socket
            that is bound already.
        handle: called with the bytes and the sender's address; None when the subclass has a method
            `handle`.
        max_active: how many datagrams may be in work at a time. Those beyond it wait in the
            kernel's buffer, and when that is full the kernel drops them.
        drain_timeout: seconds that handlers have at stop to come to their end.
        mode: the permissions of a unix socket's file.

    Example:
        >>> class Echo(DatagramServer):
        ...     async def handle(self, data, address):
        ...         await self.sendto(data, address)
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
        self._writable: asyncio.Future[None] | None = None

    async def sendto(self, data: bytes, address: Any) -> int:
        """Send a datagram from the server's own address.

        Args:
            data: at most 65507 bytes over UDP.
            address: as `handle` got it.

        Returns:
            How many bytes were sent: all of them.

        Raises:
            Unavailable: the server does not run.
            OSError: the kernel refused it.
        """
        if self._listener is not None and self._dual_stack and ":" not in address[0]:
            address = (f"::ffff:{address[0]}", *address[1:])
        while self._listener is not None:
            try:
                sent = int(self._raw.sendto(data, address))
            except BlockingIOError:
                await self._until_writable()
            else:
                self._traffic.count(sent=sent)
                return sent
        raise Unavailable(f"{self.path}: cannot send, the server does not run")

    async def _until_writable(self) -> None:
        """Wait until the kernel's buffer has room; all who wait do so together."""
        fd = self._raw.fileno()
        if self._writable is None:
            self._writable = self._loop.create_future()
            self._loop.add_writer(fd, self._is_writable, fd)
        await asyncio.shield(self._writable)

    def _is_writable(self, fd: int) -> None:
        self._loop.remove_writer(fd)
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def unbind(self) -> None:
        if self._writable is not None:
            self._is_writable(self._raw.fileno())
        super().unbind()

    def _listen(self) -> Listener:
        return bind(self._address, owner=self.path, datagram=True, mode=self.mode)

    def _bound(self, raw: Any, dual_stack: bool) -> None:
        self._raw = raw
        self._dual_stack = dual_stack
        self._traffic = self._traffic or Traffic()

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
        self._begin(DatagramHandler(data, address))
        return True

    async def _attend(self, handler: DatagramHandler) -> None:
        answer = self.handle(handler.data, handler.address)
        if inspect.isawaitable(answer):
            await answer
        self.handled += 1

    def _handler_raised(self, handler: Any, error: BaseException, works_on: object) -> None:
        super()._handler_raised(handler, error, None)


class DatagramHandler(Handler):
    """What handles one datagram."""

    __slots__ = ("address", "data", "task")

    def __init__(self, data: bytes, address: Any) -> None:
        self.data = data
        self.address = address
        self.task: asyncio.Task[Any] | None = None

    @property
    def peer(self) -> str:
        return f"a datagram from {client_name(self.address)}"
