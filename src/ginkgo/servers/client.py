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

    It is ready as soon as it has begun to try: a peer that is away does not fail the start. It
    connects again when the handler returns or raises and when the peer closes, until it is stopped,
    which ends it at once. That a connection was lost, and that there is one again, is told in the
    log once each, not at every try.

    Args:
        address: ``("localhost", 7000)``, ``"host:port"``, ``"unix:/path"``.
        handle: called with the socket (:class:`~ginkgo.servers.connection.Connection`); None when
            the subclass has a method `handle`.
        tls: speak TLS, and verify the server's certificate and name.
        cafile: a PEM file with the roots to trust, instead of the system's; implies `tls`.
        certfile, keyfile: the client's own certificate; implies `tls`.
        ssl_context: a context of your own; implies `tls`.
        server_hostname: the name that the server's certificate has to have; by default the host.
        connect_timeout: seconds for one attempt, the TLS handshake included.
        retry: how long to wait between attempts.

    Attributes:
        connected: whether there is a connection.
        connections: how many there were.
        attempts: how often it was tried.
        failed: handlers that raised.

    Example:
        >>> class Reader(StreamClient):
        ...     def handle(self, socket):
        ...         for line in socket.makefile():
        ...             print(line.strip())
    """

    backend = only_on = "gevent"

    _ends_by = gevent.GreenletExit

    def _pause(self, seconds: float) -> None:
        gevent.sleep(seconds)

    def _connect(self) -> Any:
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
            except BaseException:
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
    except BaseException:
        connection.hang_up()
        raise
