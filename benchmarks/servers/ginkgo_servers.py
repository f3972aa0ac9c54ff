"""The same handlers on Ginkgo's StreamServer, each a target for `ginkgo`."""

from __future__ import annotations

from benchmarks.servers.handlers import echo, greet
from ginkgo import Service
from ginkgo.async_.gevent import StreamServer


class _Announcing(Service):
    """Tells the port of its server as soon as that listens."""

    server: StreamServer

    def do_start(self) -> None:
        print("port", self.server.port, flush=True)


class Echo(_Announcing):
    """Against gevent_echo.py."""

    def __init__(self) -> None:
        self.server = self.add_service(StreamServer(("127.0.0.1", 0), echo))


class Greeter(_Announcing):
    """Against gevent_greeter.py."""

    def __init__(self) -> None:
        self.server = self.add_service(StreamServer(("127.0.0.1", 0), greet))


class Crowd(Greeter):
    """A thousand services."""

    def __init__(self) -> None:
        for _ in range(998):
            self.add_service(Service())
        super().__init__()
