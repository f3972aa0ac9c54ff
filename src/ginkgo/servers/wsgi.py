"""A web server for WSGI applications (PEP 3333), on gevent's pywsgi.

pywsgi reads requests and calls the application. What comes in and how it stops is Ginkgo's, and so
is the reading of header fields:

================  ==============================================================================
at stop           a connection that waits for its next request is closed at once; a request that
                  has begun is answered, with ``Connection: close``
keep-alive        between two requests of one connection the others have their turn
an answer         goes out in one piece where it is small, and never waits for the peer's
                  acknowledgement
errors            of the application go to the log, with its traceback; the client gets a 500
================  ==============================================================================
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Unpack

import gevent
from gevent import pywsgi

from .addresses import AddressLike
from .error_log import ErrorLog
from .for_wsgi import ONE_PIECE, ForWSGI, WSGIOptions, logger
from .http_fields import Fields
from .listening import FIRST_WORD
from .stream import StreamServer

if TYPE_CHECKING:
    from types import TracebackType


class WSGIServer(ForWSGI, StreamServer):
    """A server that answers HTTP requests with a WSGI application.

    Args:
        address, application, access_log, environ: as for
            :class:`~ginkgo.servers.for_wsgi.ForWSGI`, which also tells its attributes.
        handler_class: a subclass of gevent's ``pywsgi.WSGIHandler``, for WebSockets for example.
        options: as for :class:`~ginkgo.servers.kinds.ForConnections`.

    Example:
        >>> app = Flask(__name__)
        >>> def AppServer():
        ...     return WSGIServer(":8000", app)
    """

    def __init__(
        self,
        address: AddressLike | socket.socket,
        application: Callable[..., Iterable[bytes]] | None = None,
        *,
        handler_class: type[pywsgi.WSGIHandler] | None = None,
        **options: Unpack[WSGIOptions],
    ) -> None:
        super().__init__(address, application, **options)
        self._handler_class: type[Any] = (
            _Requests if handler_class is None else _joined(handler_class)
        )
        self._gateway: Any = None

    def do_start(self) -> Any:
        """Listen, and answer."""
        self.bind()
        self._gateway = _Gateway(self, self._basic_environ())
        super().do_start()

    def handle(self, socket: Any, address: Any) -> None:
        """Answer the requests of one connection."""
        try:
            self._handler_class(socket, address, self._gateway).handle()
        finally:
            self._idle.discard(socket)


class _Gateway(pywsgi.WSGIServer):
    """What pywsgi's handler wants of its server. It is never started: that is not its work here."""

    def __init__(self, service: WSGIServer, environ: dict[str, Any]) -> None:
        self.service = service
        assert service._listener is not None  # noqa: S101 - for the type checker
        listening: Any = service._listener.socket
        errors: Any = ErrorLog(service)
        super().__init__(
            listening, service.application, log=None, error_log=errors, environ=environ
        )


if TYPE_CHECKING:
    _PywsgiHandler: Any  # its types leave out half of its methods
else:
    _PywsgiHandler = pywsgi.WSGIHandler


class _Requests(_PywsgiHandler):  # type: ignore[misc]
    """The requests of one connection."""

    server: _Gateway
    _answered = 0
    _head: bytes | bytearray | None = None

    def MessageClass(self, stream: Any, *_: Any) -> Fields:
        """Read the header of a request."""
        return Fields.read(stream, self.request_version)

    def _headers(self) -> Iterable[tuple[str, str]]:
        fields: Fields = self.headers
        return fields.environ()

    def read_requestline(self) -> str:
        """Wait for a request. While nothing of it has come, the connection is idle."""
        service, connection = self.server.service, self.socket
        reads = connection.reads
        service._idle.add(connection)
        try:
            if service.draining:  # looked at when whoever drains sees that it is idle
                self._look_at_the_end()
            else:
                self.rfile.peek(1)
        finally:
            service._idle.discard(connection)
        if self._answered and (service.tls or connection.reads == reads):
            gevent.sleep(0)  # it was there already: nobody else has had a turn
        line: str = super().read_requestline()
        return line

    def _look_at_the_end(self) -> None:
        first = not self._answered  # it came as the stop began, and may say a first word
        if not first or gevent.with_timeout(FIRST_WORD, self.rfile.peek, 1, timeout_value=0) == 0:
            self.socket.end_input()

    def finalize_headers(self) -> None:
        super().finalize_headers()
        service = self.server.service
        if self.connection_upgraded:
            service._idle.add(self.socket)  # what it speaks now has no requests
        elif service.draining:
            self.close_connection = True
            headers: list[tuple[bytes, bytes]] = self.response_headers
            headers[:] = [item for item in headers if item[0].lower() != b"connection"]
            headers.append((b"Connection", b"close"))

    def _write_with_headers(self, data: bytes) -> None:
        """Send the header and the first of the body in one piece."""
        self._head = b""
        try:
            super()._write_with_headers(data)
        finally:
            head, self._head = self._head, None
        if head:
            super()._sendall(head)

    def _sendall(self, data: bytes | bytearray) -> None:
        head = self._head
        if head is None:
            super()._sendall(data)
        elif not head:
            self._head = data
        elif len(data) <= ONE_PIECE:
            self._head = head + data
        else:
            self._head = b""
            super()._sendall(head)
            super()._sendall(data)

    def log_request(self) -> None:
        service = self.server.service
        self._answered += 1
        # By the wall clock, which may have been set back meanwhile: that is what pywsgi goes by.
        service._durations.add(max(0.0, self.time_finish - self.time_start))
        if service.access_log:
            service._log_access(
                self.client_address,
                self.requestline,
                self._orig_status or "000",
                self.response_length,
                self.time_finish - self.time_start,
            )

    def log_error(self, msg: str, *args: object) -> None:
        """A request that cannot be understood."""
        logger.info(f"%s: {msg}", self.server.service.path, *args)

    def _handle_client_error(self, ex: BaseException) -> Any:
        if isinstance(ex, OSError) and ex.errno is not None:
            return None  # the connection was lost: there is nobody to answer
        return super()._handle_client_error(ex)

    def _log_error(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """The application has raised."""
        if isinstance(error, gevent.GreenletExit):
            return
        while trace is not None and trace.tb_frame.f_globals.get("__name__") in (
            pywsgi.__name__,
            __name__,
        ):
            trace = trace.tb_next
        self.server.service._application_failed(self.client_address, self.requestline, error, trace)


def _joined(handler_class: type[Any]) -> type[Any]:
    """A handler class of the user's, with what ours does below it."""
    if issubclass(handler_class, _Requests):
        return handler_class
    return type(handler_class.__name__, (handler_class, _Requests), {})
