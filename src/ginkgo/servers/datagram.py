"""A server for datagrams: UDP, and unix datagram sockets."""

from __future__ import annotations

from typing import Any

import gevent
from gevent.socket import wait_write

from .addresses import client_name
from .kinds import ForDatagrams
from .server import Handler, Server


class DatagramServer(ForDatagrams, Server):
    """A server that calls ``handle(data, address)`` for each datagram, in its own greenlet.

    Its arguments are those of :class:`~ginkgo.servers.kinds.ForDatagrams`.

    Example:
        >>> class Echo(DatagramServer):
        ...     def handle(self, data, address):
        ...         self.sendto(data, address)
    """

    def _handler_of(self, data: bytes, address: Any) -> DatagramHandler:
        return DatagramHandler(self, data, address)

    def _wait_until_writable(self) -> None:
        wait_write(self._raw.fileno())


class DatagramHandler(Handler):
    """The greenlet of one datagram."""

    __slots__ = ("address", "data", "server")

    def __init__(self, server: DatagramServer, data: bytes, address: Any) -> None:
        super().__init__()
        self.server = server
        self.data = data
        self.address = address

    def _run(self) -> None:
        server = self.server
        try:
            server.handle(self.data, self.address)
            server.handled += 1
        except gevent.GreenletExit:
            pass  # killed: by the server, which counts it, or by the user's own code
        except BaseException as error:  # noqa: BLE001 - told by the server, never lost
            server._handler_raised(self, error, None)
        finally:
            server._ended(self)

    @property
    def peer(self) -> str:
        return f"a datagram from {client_name(self.address)}"
