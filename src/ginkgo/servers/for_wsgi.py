"""What the servers of WSGI applications (PEP 3333) have in common on gevent and on threads.

On asyncio uvicorn reads the requests: see :mod:`ginkgo.servers.asyncio_wsgi`.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Unpack

from .addresses import AddressLike, client_name
from .error_log import ErrorLog
from .kinds import ConnectionOptions, ForConnections
from .listening import given_or_own
from .traffic import Durations

logger = logging.getLogger("ginkgo.servers.wsgi")  # the same on every backend
access_logger = logging.getLogger("ginkgo.servers.wsgi.access")

# Up to here copying the body behind the header is cheaper than a second call of the kernel.
ONE_PIECE = 65536


class WSGIOptions(ConnectionOptions, total=False):
    """The arguments that a server of WSGI applications passes on."""

    access_log: bool
    environ: Mapping[str, Any] | None


class ForWSGI(ForConnections):
    """A server that answers HTTP requests with a WSGI application.

    Args:
        address: ``("0.0.0.0", 8000)``, ``"host:port"``, ``":port"``, ``"unix:/path"``, or a socket
            that listens already.
        application: ``application(environ, start_response)``; None when the subclass has a method
            `application`.
        access_log: write a line for each request to the logger ``ginkgo.servers.wsgi.access``.
        environ: what to add to each request's `environ`.
        options: as for :class:`~ginkgo.servers.kinds.ForConnections`: backlog, max_connections,
            certfile, keyfile, ssl_context, handshake_timeout, drain_timeout, mode.

    Attributes:
        requests: requests that have ended, those too whose client left before the answer.
        failed: requests for which the application raised.
    """

    _durations: Durations

    def __init__(
        self,
        address: AddressLike | socket.socket,
        application: Callable[..., Iterable[bytes]] | None = None,
        *,
        access_log: bool = False,
        environ: Mapping[str, Any] | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> None:
        super().__init__(address, **options)
        given_or_own(
            self, ForWSGI.application, application, f"at {self._address} has no application"
        )
        self.access_log = access_log
        self._durations = Durations()
        self._environ = dict(environ or {})
        self._idle: set[Any] = set()  # the sockets that wait for their next request

    @property
    def requests(self) -> int:
        """How many requests have ended, since the server was made."""
        return self._durations.total

    def application(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request. A subclass writes it, unless the constructor gets a function."""
        raise NotImplementedError

    def wind_down(self, connection: Any) -> None:
        """The server stops: end a connection that waits for its next request."""
        if connection in self._idle:
            super().wind_down(connection)

    def _basic_environ(self) -> dict[str, Any]:
        """What is the same in the environ of each request."""
        host = self._address.host
        anywhere = host in ("", "0.0.0.0", "::")  # noqa: S104
        return {
            "SERVER_NAME": socket.gethostname()
            if anywhere and not self._address.path
            else host or "localhost",
            "SERVER_PORT": str(self.port or (443 if self.tls else 80)),
            "SERVER_SOFTWARE": "ginkgo",
            "wsgi.url_scheme": "https" if self.tls else "http",
            "wsgi.multithread": True,  # requests run at the same time, in greenlets or threads
            "wsgi.errors": ErrorLog(self),
            **self._environ,
        }

    def _log_access(self, peer: Any, line: str, status: str, sent: int, seconds: float) -> None:
        code = status.split(" ", 1)[0]
        access_logger.info('%s "%s" %s %d %.6f', client_name(peer), line, code, sent, seconds)

    def _application_failed(
        self, peer: Any, line: str, error: BaseException, trace: TracebackType | None
    ) -> None:
        """Tell what the application raised.

        Args:
            peer: the client's address.
            line: the first of the request.
            trace: the error's, without our own frames.
        """
        self._count_failed()
        logger.error(
            '%s: the application failed at "%s" of %s: %s: %s',
            self.path,
            line,
            client_name(peer),
            type(error).__name__,
            error,
            exc_info=(type(error), error, trace),
        )
