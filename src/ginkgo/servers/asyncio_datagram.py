"""A server for datagrams on asyncio: UDP, and unix datagram sockets."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from .addresses import client_name
from .asyncio_server import Handler, Server
from .kinds import ForDatagrams


class DatagramServer(ForDatagrams, Server):
    """A server that calls ``handle(data, address)`` for each datagram, in its own task.

    Its arguments are those of :class:`~ginkgo.servers.kinds.ForDatagrams`.

    Example:
        >>> class Echo(DatagramServer):
        ...     async def handle(self, data, address):
        ...         await self.sendto(data, address)
    """

    _writable: asyncio.Future[None] | None = None

    async def sendto(self, data: bytes, address: Any) -> int:
        while (sent := self._sent(data, address)) is None:
            await self._wait_until_writable()
        return sent

    def _handler_of(self, data: bytes, address: Any) -> DatagramHandler:
        return DatagramHandler(data, address)

    async def _wait_until_writable(self) -> None:
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
