"""A client that keeps its connection, on gevent; see :mod:`ginkgo.servers.reconnecting`."""

from __future__ import annotations

import logging
import socket
from typing import Any

import gevent
from gevent.socket import getaddrinfo

from .connection import Connection
from .reconnecting import Reconnecting, resolved

logger = logging.getLogger(__name__)


class StreamClient(Reconnecting):
    """A client that calls ``handle(socket)`` with a connection, whenever it has a new one.

    The socket is a :class:`~ginkgo.servers.connection.Connection`. For all else, the arguments and
    the attributes, see :class:`~ginkgo.servers.reconnecting.Reconnecting`.

    Example:
        >>> class Reader(StreamClient):
        ...     def handle(self, socket):
        ...         for line in socket.makefile():
        ...             print(line.strip())
    """

    backend = only_on = "gevent"

    def _is_told_to_end(self, error: BaseException) -> bool:
        return isinstance(error, gevent.GreenletExit)

    async def _connect(self) -> Any:
        too_late = TimeoutError(f"no connection within {self.connect_timeout:g} s")
        with gevent.Timeout(self.connect_timeout, too_late):
            connection = self._open()
            if self._context is None:
                return connection
            from .tls_connection import TLSConnection

            secured = None
            try:
                secured = TLSConnection(
                    connection, self._context, server_hostname=self.server_hostname
                )
                secured.do_handshake()
                return secured
            except BaseException:  # raised again, a greenlet's end too: no connection is left open
                (secured or connection).hang_up()
                raise

    def _open(self) -> Connection:
        to = self.address.for_connecting
        if to.path:
            return _opened(socket.AF_UNIX, to.path)
        found = resolved(to, getaddrinfo)
        for family, sockaddr in found[:-1]:
            try:
                return _opened(family, sockaddr)
            except OSError as error:
                logger.debug("%s: %s: %s", self.path, sockaddr, error)
        return _opened(*found[-1])


def _opened(family: int, sockaddr: Any) -> Connection:
    connection = Connection(family, socket.SOCK_STREAM)
    try:
        connection.connect(sockaddr)
        if family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    except BaseException:  # raised again, a greenlet's end too: no connection is left open
        connection.hang_up()
        raise
