"""A server for datagrams on threads: UDP, and unix datagram sockets."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

from ..async_.threading_waits import Stopping
from ..core.errors import Unavailable
from .addresses import AddressLike, client_name, without_mapping
from .listen import Listener, bind
from .threading_server import Handler, Server
from .traffic import Traffic

# The longest that IP can carry (RFC 768: a length of 16 bits).
_LONGEST = 65535


class DatagramServer(Server):
    """A server that calls ``handle(data, address)`` for each datagram, in a thread.

    Args:
        address: ``("0.0.0.0", 7000)``, ``"host:port"``, ``":port"``, ``"unix:/path"``, or a socket
            that is bound already.
        handle: called with the bytes and the sender's address; None when the subclass has a method
            `handle`.
        max_active: how many datagrams, and so threads, may be in work at a time. Those beyond it
            wait in the kernel's buffer, and when that is full the kernel drops them.
        drain_timeout: seconds that handlers have at stop to come to their end.
        mode: the permissions of a unix socket's file.

    Example:
        >>> class Echo(DatagramServer):
        ...     def handle(self, data, address):
        ...         self.sendto(data, address)
    """

    _noun = "datagram"
    _traffic: Traffic
    _closes_first = False  # the handlers answer through the same socket

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

    def sendto(self, data: bytes, address: Any) -> int:
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
        if self._listener is None:
            raise Unavailable(f"{self.path}: cannot send, the server does not run")
        if self._dual_stack and ":" not in address[0]:
            address = (f"::ffff:{address[0]}", *address[1:])
        while True:
            try:
                sent = self._raw.sendto(data, address)
            except BlockingIOError:
                writable = select.poll()
                writable.register(self._raw, select.POLLOUT)
                writable.poll()
            else:
                self._traffic.count(sent=sent)
                return sent

    def _listen(self) -> Listener:
        return bind(self._address, owner=self.path, datagram=True, mode=self.mode)

    def _bound(self, raw: Any, dual_stack: bool) -> None:
        self._raw: socket.socket = raw
        self._dual_stack = dual_stack
        self._traffic = self._traffic or Traffic(self._traffic_guard)

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
        self._begin(DatagramHandler(self, data, address))
        return True


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
