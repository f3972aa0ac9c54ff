"""A web server for WSGI applications (PEP 3333) on asyncio: each request has a worker thread.

uvicorn reads the requests, as it does for ASGI; the application blocks in a thread of its own,
which waits for the client where that is slower than the application.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from ..async_.workers import in_thread
from .asgi import ASGIServer
from .error_log import ErrorLog
from .listening import given_or_own

logger = logging.getLogger(__name__)

# Bodies of requests above this size wait in a file, in bytes.
_IN_MEMORY = 1024 * 1024


class WSGIServer(ASGIServer):
    """A server that answers HTTP requests with a WSGI application.

    Args:
        address: as for :class:`~ginkgo.servers.asyncio_stream.StreamServer`, as are the arguments
            for TLS, limits and drain. There are as many threads as there are requests at a time:
            `max_connections` bounds them.
        application: ``application(environ, start_response)``; None when the subclass has a method
            `application`.
        access_log: write a line for each request to the logger ``uvicorn.access``.
        environ: what to add to each request's `environ`.

    Attributes:
        requests: requests that have ended, those too whose client left before the answer.
        failed: requests for which the application raised.
    """

    backend: str | None = "asyncio"
    only_on: str | None = "asyncio"

    def __init__(
        self,
        address: Any,
        application: Callable[..., Iterable[bytes]] | None = None,
        *,
        access_log: bool = False,
        environ: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(address, application, access_log=access_log, lifespan="off", **options)
        given_or_own(
            self, WSGIServer.application, application, f"at {self._address} has no application"
        )
        self._environ = dict(environ or {})

    def application(self, environ: Any, start_response: Any) -> Any:  # type: ignore[override]
        """Answer a request. A subclass writes it, unless the constructor gets a function."""
        raise NotImplementedError

    def _is_given(self, application: Any) -> bool:
        return False

    def _called(self) -> Any:
        return self._answer

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application that calls the WSGI one."""
        with SpooledTemporaryFile(_IN_MEMORY) as body:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body.write(message.get("body", b""))
                if not message.get("more_body", False):
                    break
            body.seek(0)
            response = Response(self, asyncio.get_running_loop(), send)
            environ = environ_of(scope, body)
            environ |= {"wsgi.errors": ErrorLog(self), **self._environ}
            future = in_thread(response.run, (self.application, environ), {})
            _, error = await asyncio.shield(future)
        if error is not None:
            await self._failed(response, scope, error)

    def _request_failed(self) -> None:
        """Nothing is left to count: see `_failed`, where the client's fault is told from it."""

    async def _failed(self, response: Response, scope: Any, error: BaseException) -> None:
        self.failed += 1
        logger.error(
            '%s: the application failed at "%s %s": %s: %s',
            self.path,
            scope["method"],
            scope["path"],
            type(error).__name__,
            error,
            exc_info=error,
        )
        if not response.begun:
            await response.begin("500 Internal Server Error", [("Content-Type", "text/plain")])
            await response.more(b"Internal Server Error", last=True)
        else:
            raise ConnectionAbortedError("the application failed in the middle of its answer")


class Response:
    """The answer to one request, sent from the application's thread.

    Attributes:
        begun: whether its header has been sent.
    """

    def __init__(self, server: WSGIServer, loop: asyncio.AbstractEventLoop, send: Any) -> None:
        self._server = server
        self._loop = loop
        self._send = send
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self.begun = False

    def run(self, application: Any, environ: dict[str, Any]) -> None:
        """Call the application, and send what it gives. In its thread."""
        parts = application(environ, self.start)
        try:
            for part in parts:
                if part:
                    self._write(part)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        self._wait(self.more(b"", last=True))

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """What the application calls to begin its answer (``start_response``)."""
        if exc_info is not None and self.begun:
            try:
                raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        if self._head is not None and exc_info is None:
            raise AssertionError("start_response was called already")
        self._head = status, headers
        return self._write

    def _write(self, part: bytes) -> None:
        self._wait(self.more(part, last=False))

    def _wait(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def begin(self, status: str, headers: list[tuple[str, str]]) -> None:
        """Send the header. In the loop."""
        self.begun = True
        if self._server.draining:  # RFC 9112, section 9.6
            others = [each for each in headers if each[0].lower() != "connection"]
            headers = [*others, ("Connection", "close")]
        await self._send(
            {
                "type": "http.response.start",
                "status": int(status.split(" ", 1)[0]),
                "headers": [
                    (name.lower().encode("latin-1"), value.encode("latin-1"))
                    for name, value in headers
                ],
            }
        )

    async def more(self, part: bytes, last: bool) -> None:
        """Send a part of the body, after the header. In the loop."""
        if not self.begun:
            if self._head is None:
                raise AssertionError("start_response was not called")
            await self.begin(*self._head)
        await self._send({"type": "http.response.body", "body": part, "more_body": not last})


def environ_of(scope: Any, body: IO[bytes]) -> dict[str, Any]:
    """The environ of a request (PEP 3333), of its ASGI scope."""
    server = scope.get("server") or ("localhost", None)
    client = scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": scope.get("root_path", ""),
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or (443 if scope["scheme"] == "https" else 80)),
        "SERVER_SOFTWARE": "ginkgo",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1] or ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in ("content-type", "content-length"):
            key = name.upper().replace("-", "_")
        elif "_" in name:
            continue  # it could pose as the field with a hyphen in its place
        else:
            key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
