"""The TLS socket that a handler gets, on gevent. Imported only where there is TLS: it takes 15 ms.

The handshake is made in the connection's own greenlet and has a time limit, so that a client that
says nothing, or speaks another protocol, harms nobody.
"""

from __future__ import annotations

import errno
import ssl
import weakref
from typing import TYPE_CHECKING, Any

import gevent
from gevent.ssl import SSLSocket, _contextawaresock  # type: ignore[attr-defined]

from .connection import _END_READS, Connection, end_input
from .traffic import add_traffic


class Raw(_contextawaresock):  # type: ignore[misc]
    """As that of a connection which does not encrypt, for gevent's sockets that do."""

    __slots__ = ("traffic",)

    def close(self) -> None:
        add_traffic(self)
        super().close()


class TLSConnection(SSLSocket):
    """gevent's TLS socket around a connection; see :class:`~ginkgo.servers.connection.Connection`.

    Attributes:
        reads: how many reads have returned something.
    """

    if TYPE_CHECKING:
        _sock: Any
        _sslobj: Any
        _closed: bool

        def _real_close(self) -> None: ...

    def __init__(
        self,
        connection: Connection,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self.reads = 0
        self._end_reads = 0
        traffic = getattr(connection._sock, "traffic", None)
        connection._sock.traffic = None  # it is not closed, but handed on
        # Not context.wrap_socket(): that makes a socket that blocks, where the context comes from
        # an ssl module that is not patched.
        super().__init__(
            sock=connection,
            _context=context,
            server_side=server_side,
            server_hostname=server_hostname,
            do_handshake_on_connect=False,
        )
        self._sock.traffic = traffic

    def _gevent_sock_class(self, family: int, type: int, proto: int, fileno: int) -> Raw:
        return Raw(family, type, proto, fileno, weakref.ref(self))

    def handshake(self, timeout: float) -> None:
        """Agree on the encryption, within `timeout` seconds.

        Raises:
            TimeoutError: it took longer.
            ssl.SSLError: the two could not agree.
            OSError: the connection was lost.
        """
        with gevent.Timeout(timeout, TimeoutError(f"no TLS handshake within {timeout:g} s")):
            self.do_handshake()

    def read(self, nbytes: int = 1024, buffer: Any = None) -> Any:
        result = super().read(nbytes, buffer)
        if result:
            self.reads += 1
        elif nbytes:
            self._end_reads += 1
            if self._end_reads > _END_READS:
                raise ConnectionAbortedError(errno.ECONNABORTED, "The peer has closed")
        return result

    def end_input(self) -> None:
        """Make reads return the end of the stream, after what has arrived; writes go on."""
        end_input(self._sock)

    def hang_up(self) -> None:
        """Close it now, without a goodbye: the peer learns that it may not have got all."""
        self._closed = True
        self._real_close()

    def close(self) -> None:
        """Say goodbye (RFC 8446, section 6.1), so that the peer knows that it has got all."""
        if not self._closed and self._sslobj is not None:
            self.settimeout(0.0)
            try:
                self.unwrap()  # without waiting for the peer's goodbye
            except (OSError, ValueError):
                pass  # it has not shaken hands yet, or has gone
        super().close()
