"""A client that keeps its connection, on threads; see :mod:`ginkgo.servers.reconnecting`."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

from ..async_.threading_waits import Stopping, current
from .reconnecting import Reconnecting, resolved
from .threading_stream import Connection, close, hang_up, say_goodbye

logger = logging.getLogger(__name__)


class StreamClient(Reconnecting):
    """A client that calls ``handle(socket)`` with a connection, whenever it has a new one.

    The socket is the standard library's, and blocks. When the client is stopped, the connection is
    shut down under a handler that waits for it. For all else, the arguments and the attributes, see
    :class:`~ginkgo.servers.reconnecting.Reconnecting`.

    Example:
        >>> class Reader(StreamClient):
        ...     def handle(self, socket):
        ...         for line in socket.makefile():
        ...             print(line.strip())
    """

    backend = only_on = "threading"

    def _is_told_to_end(self, error: BaseException) -> bool:
        return isinstance(error, Stopping)

    async def _connect(self) -> Any:
        deadline = time.monotonic() + self.connect_timeout
        try:
            connection = self._open(deadline)
            if self._context is not None:
                connection = self._secured(connection, deadline)
        except TimeoutError as error:
            current().check()
            too_late = f"no connection within {self.connect_timeout:g} s"
            raise TimeoutError(too_late) from error
        except OSError:
            current().check()  # it was shut down, because the client is being stopped
            raise
        connection.settimeout(None)
        return connection

    def _open(self, deadline: float) -> Connection:
        to = self.address.for_connecting
        if to.path:
            return _opened(socket.AF_UNIX, to.path, deadline)
        found = resolved(to, self._getaddrinfo)
        for family, sockaddr in found[:-1]:
            try:
                return _opened(family, sockaddr, deadline)
            except OSError as error:
                current().check()
                logger.debug("%s: %s: %s", self.path, sockaddr, error)
        return _opened(*found[-1], deadline)

    def _getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        with self.async_.timeout(self.connect_timeout):
            return self.async_.to_thread(socket.getaddrinfo, *args, **kwargs)

    def _secured(self, connection: Connection, deadline: float) -> Any:
        assert self._context is not None  # noqa: S101 - for the type checker
        try:
            connection.settimeout(_left(deadline))
            secured = self._context.wrap_socket(
                connection, server_hostname=self.server_hostname, do_handshake_on_connect=False
            )
        except BaseException:
            self._hang_up(connection)
            raise
        current().hang_up = lambda: hang_up(secured)
        try:
            secured.do_handshake()
            return secured
        except BaseException:
            self._hang_up(secured)
            raise

    async def _handle(self, connection: Any) -> None:
        self.handle(connection)
        say_goodbye(connection)

    def _hang_up(self, connection: Any) -> None:
        strand = current()
        strand.hang_up = None
        close(connection)
        strand.check()  # it may have been shut down under the handler, by a stop


def _opened(family: int, sockaddr: Any, deadline: float) -> Connection:
    strand = current()
    connection = Connection(family, socket.SOCK_STREAM)
    strand.hang_up = lambda: hang_up(connection)
    try:
        strand.check()
        connection.settimeout(_left(deadline))
        connection.connect(sockaddr)
        if family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    except BaseException:
        strand.hang_up = None
        close(connection)
        raise


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
