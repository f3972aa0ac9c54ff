"""A server for datagrams on threads: UDP, and unix datagram sockets."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

from ..async_.threading_waits import Stopping
from .addresses import AddressLike, client_name
from .kinds import ForDatagrams
from .threading_server import Handler, Server


class DatagramServer(ForDatagrams, Server):
    """A server that calls ``handle(data, address)`` for each datagram, in a thread.

    Its arguments are those of :class:`~ginkgo.servers.kinds.ForDatagrams`.

    Example:
        >>> class Echo(DatagramServer):
        ...     def handle(self, data, address):
        ...         self.sendto(data, address)
    """

    def __init__(
        self,
        address: AddressLike | socket.socket,
        handle: Callable[..., object] | None = None,
        *,
        max_active: int | None = 100,
        drain_timeout: float = 5.0,
        mode: int = 0o600,
    ) -> None:
        super().__init__(
            address, handle, max_active=max_active, drain_timeout=drain_timeout, mode=mode
        )

    def _handler_of(self, data: bytes, address: Any) -> DatagramHandler:
        return DatagramHandler(self, data, address)

    def _wait_until_writable(self) -> None:
        writable = select.poll()
        writable.register(self._raw, select.POLLOUT)
        writable.poll()


class DatagramHandler(Handler):
    """What handles one datagram."""

    __slots__ = ("address", "data", "server")

    def __init__(self, server: DatagramServer, data: bytes, address: Any) -> None:
        super().__init__()
        self.server = server
        self.data = data
        self.address = address

    def run(self) -> None:
        server = self.server
        try:
            server.handle(self.data, self.address)
            server._handled()
        except Stopping:
            pass  # cut: by the server, which counts it
        except BaseException as error:  # noqa: BLE001 - told by the server, never lost
            server._handler_raised(self, error, None)
        finally:
            server._ended(self)

    @property
    def peer(self) -> str:
        return f"a datagram from {client_name(self.address)}"
