"""The same handlers on Ginkgo's servers, each a target for `ginkgo`."""

from __future__ import annotations

from benchmarks.servers.handlers import echo, greet, hello
from ginkgo import Service
from ginkgo.async_.gevent import StreamServer, WSGIServer

ANY_PORT = ("127.0.0.1", 0)


class _Announcing(Service):
    """Tells the port of its server as soon as that listens."""

    server: StreamServer | WSGIServer

    def do_start(self) -> None:
        print("port", self.server.port, flush=True)


class Echo(_Announcing):
    """Against gevent_echo.py."""

    def __init__(self) -> None:
        self.server = self.add_service(StreamServer(ANY_PORT, echo))


class Greeter(_Announcing):
    """Against gevent_greeter.py."""

    def __init__(self) -> None:
        self.server = self.add_service(StreamServer(ANY_PORT, greet))


class Hello(_Announcing):
    """Against gevent_wsgi.py and gunicorn."""

    def __init__(self) -> None:
        self.server = self.add_service(WSGIServer(ANY_PORT, hello))
