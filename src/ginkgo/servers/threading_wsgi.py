"""A web server for WSGI applications (PEP 3333), on threads.

Each connection has a thread, which reads its requests one after the other; the number of them is
limited. HTTP/1.1 with kept connections, chunks in both directions and ``Expect: 100-continue``
(RFC 9110 and 9112). How it stops is as on gevent: a connection that waits for its next request is
closed at once, a request that has begun is answered, with ``Connection: close``.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any, Unpack
from urllib.parse import unquote_to_bytes

from ..async_.threading_waits import Stopping
from .addresses import AddressLike, client_name
from .for_wsgi import ONE_PIECE, ForWSGI, WSGIOptions, logger
from .http_body import Body, BodyError
from .http_fields import LONGEST_LINE, FieldError, Fields
from .listening import FIRST_WORD, raised_by
from .threading_stream import StreamServer

# Those answers have no body, and no length (RFC 9110, section 6.4.1).
_WITHOUT_BODY = ("1", "204", "304")


class WSGIServer(ForWSGI, StreamServer):
    """A server that answers HTTP requests with a WSGI application.

    Args:
        address, application, access_log, environ: as for
            :class:`~ginkgo.servers.for_wsgi.ForWSGI`, which also tells its attributes.
        keep_alive: seconds that a connection may wait for its next request, and a client for a part
            of one.
        options: as for :class:`~ginkgo.servers.kinds.ForConnections`; max_connections, and so the
            number of threads, is 100 by default.

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
        keep_alive: float = 30.0,
        **options: Unpack[WSGIOptions],
    ) -> None:
        options.setdefault("max_connections", 100)
        super().__init__(address, application, **options)
        self.keep_alive = keep_alive
        self._basic: dict[str, Any] = {}

    def do_start(self) -> Any:
        """Listen, and answer."""
        self.bind()
        self._basic = {
            "SCRIPT_NAME": "",
            "wsgi.version": (1, 0),
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            **self._basic_environ(),
        }
        super().do_start()

    def handle(self, socket: Any, address: Any) -> None:
        """Answer the requests of one connection."""
        socket.settimeout(self.keep_alive)
        stream = socket.makefile("rb", 65536)
        goes_on = first = True
        try:
            while goes_on and self._request_comes(socket, stream, first):
                request = Request(self, socket, stream, address)
                request.answer()
                goes_on, first = request.keeps, False
        except TimeoutError:
            pass  # the client took too long, or has nothing more to ask
        finally:
            stream.close()

    def _request_comes(self, socket: Any, stream: Any, first: bool) -> bool:
        """Wait for a request. While nothing of it has come, the connection is idle."""
        self._idle.add(socket)
        try:
            if not self.draining:  # looked at when whoever drains sees that it is idle
                return bool(stream.peek(1))
            if not first:
                self.wind_down(socket)
            socket.settimeout(FIRST_WORD)
            comes = bool(stream.peek(1))
            socket.settimeout(self.keep_alive)
            return comes
        finally:
            self._idle.discard(socket)


class Refused(Exception):
    """The request is none that can be answered; its arguments are the status and the reason."""


class Request:
    """One request, and its answer.

    Attributes:
        keeps: whether the connection can be used for another one.
    """

    def __init__(self, server: WSGIServer, connection: Any, stream: Any, address: Any) -> None:
        self.keeps = False
        self._server = server
        self._connection = connection
        self._stream = stream
        self._address = address
        self._line = self._method = ""
        self._version = "HTTP/1.0"
        self._body: Body | None = None
        self._status: str | None = None
        self._headers: list[tuple[str, str]] = []
        self._head_sent = self._chunked = False
        self._sent = 0
        self._began = time.monotonic()

    def answer(self) -> None:
        """Read the request, and answer it."""
        server = self._server
        try:
            environ = self._read()
        except (Refused, FieldError) as error:
            status = error.args[0] if isinstance(error, Refused) else "400 Bad Request"
            self._is_bad(error.args[-1])
            self._answer_plainly(status)
            return
        try:
            self._apply(environ)
        except BodyError as error:
            self._is_bad(error)
            self.keeps = False
            if not self._head_sent:
                self._answer_plainly("400 Bad Request")
        except BaseException as error:
            self.keeps = False
            if isinstance(error, Stopping):
                raise
            if isinstance(error, OSError) and raised_by(self._connection, error):
                raise
            self._application_raised(error)
        finally:
            with server._guard:
                server._durations.add(time.monotonic() - self._began)
        if server.access_log:
            server._log_access(
                self._address,
                self._line,
                self._status or "500",
                self._sent,
                time.monotonic() - self._began,
            )

    def _is_bad(self, why: object) -> None:
        peer = client_name(self._address)
        logger.info("%s: a bad request of %s: %s", self._server.path, peer, why)

    # -- the request -----------------------------------------------------------------------------

    def _read(self) -> dict[str, Any]:
        raw = self._stream.readline(LONGEST_LINE + 1)
        if len(raw) > LONGEST_LINE:
            raise Refused("414 URI Too Long", "its first line is too long")
        self._line = raw.decode("latin-1").rstrip("\r\n")
        parts = self._line.split(" ")
        if len(parts) != 3 or not parts[0].isalpha() or not raw.endswith(b"\n"):
            raise Refused("400 Bad Request", f"no request line: {self._line[:100]!r}")
        self._method, target, version = parts
        if version not in ("HTTP/1.0", "HTTP/1.1"):
            raise Refused("505 HTTP Version Not Supported", f"version {version[:20]!r}")
        self._version = version
        fields = Fields.read(self._stream, version)
        options = ",".join(fields.all("connection")).lower()
        self.keeps = "close" not in options if version == "HTTP/1.1" else "keep-alive" in options
        return self._environ(target, fields)

    def _environ(self, target: str, fields: Fields) -> dict[str, Any]:
        if target.startswith(("http://", "https://")):  # as a client tells a proxy
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        length = fields.get("content-length")
        expects = (fields.get("expect") or "").lower() == "100-continue"
        self._body = Body(
            self._stream,
            length=int(length or 0),
            chunked=bool(fields.all("transfer-encoding")),
            before=self._go_on if expects and self._version == "HTTP/1.1" else None,
        )
        environ = {
            **self._server._basic,
            "REQUEST_METHOD": self._method,
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": self._version,
            "wsgi.input": self._body,
            **dict(self._joined(fields)),
        }
        if isinstance(self._address, tuple):
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = self._address[0], str(self._address[1])
        if length is not None:
            environ["CONTENT_LENGTH"] = length
        if fields.typeheader is not None:
            environ["CONTENT_TYPE"] = fields.typeheader
        return environ

    @staticmethod
    def _joined(fields: Fields) -> dict[str, str]:
        joined: dict[str, str] = {}
        for key, value in fields.environ():
            between = "; " if key == "HTTP_COOKIE" else ","
            joined[key] = f"{joined[key]}{between}{value}" if key in joined else value
        return joined

    def _go_on(self) -> None:
        self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    # -- the answer ------------------------------------------------------------------------------

    def _apply(self, environ: dict[str, Any]) -> None:
        result = self._server.application(environ, self._start_response)
        try:
            whole = isinstance(result, (list, tuple)) and not self._head_sent
            if whole and self._status is not None:
                self._give_length(sum(map(len, result)))
            for piece in result:
                if piece:
                    self._write(piece)
            if not self._head_sent:
                self._give_length(0)
                self._write(b"")
            if self._chunked:
                self._connection.sendall(b"0\r\n\r\n")
        finally:
            if hasattr(result, "close"):
                result.close()
        if self.keeps and self._body is not None and not self._body.skip():
            self.keeps = False

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it holds this frame
        elif self._status is not None:
            raise AssertionError("start_response was called twice")
        for name, value in headers:
            if any(sign in name + value for sign in "\r\n\0"):
                raise ValueError(f"a header field of the answer has a line break in it: {name!r}")
        self._status = status
        self._headers = list(headers)
        return self._write

    def _names(self) -> set[str]:
        return {name.lower() for name, _ in self._headers}

    def _give_length(self, length: int) -> None:
        if self._may_have_body and "content-length" not in self._names():
            self._headers.append(("Content-Length", str(length)))

    @property
    def _may_have_body(self) -> bool:
        return not (self._status or "").startswith(_WITHOUT_BODY)

    def _write(self, data: bytes) -> None:
        head = b"" if self._head_sent else self._head()
        self._head_sent = True
        self._sent += len(data)
        if self._method == "HEAD" or not self._may_have_body:
            data = b""
        elif self._chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if len(data) <= ONE_PIECE:
            data = head + data
        elif head:
            self._connection.sendall(head)
        if data:
            self._connection.sendall(data)

    def _head(self) -> bytes:
        if self._status is None:
            raise AssertionError("the application has not called start_response")
        names = self._names()
        lines = [f"HTTP/1.1 {self._status}"]
        if "content-length" not in names and self._may_have_body:
            self._chunked = self._version == "HTTP/1.1" and self._method != "HEAD"
            if self._chunked:
                self._headers.append(("Transfer-Encoding", "chunked"))
            elif self._method != "HEAD":
                self.keeps = False  # the end of the connection is that of the answer
        given = [value.lower() for name, value in self._headers if name.lower() == "connection"]
        if self._server.draining or "close" in given:
            self.keeps = False
        lines += [
            f"{name}: {value}" for name, value in self._headers if name.lower() != "connection"
        ]
        if "date" not in names:
            lines.append(f"Date: {formatdate(usegmt=True)}")
        if not self.keeps:
            lines.append("Connection: close")
        elif self._version == "HTTP/1.0":
            lines.append("Connection: keep-alive")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _answer_plainly(self, status: str) -> None:
        self.keeps = False
        text = status.encode()
        self._status, self._headers = status, [("Content-Type", "text/plain")]
        self._give_length(len(text))
        self._write(text)

    def _application_raised(self, error: BaseException) -> None:
        below = error.__traceback__ and error.__traceback__.tb_next
        self._server._application_failed(self._address, self._line, error, below)
        if not self._head_sent:
            self._answer_plainly("500 Internal Server Error")
