"""Echo on Ginkgo's servers for asyncio, each a target for `ginkgo`."""

from __future__ import annotations

from typing import Any

from benchmarks.servers.asyncio_handlers import EchoProtocol, echo
from ginkgo import Service
from ginkgo.async_.asyncio import ProtocolServer, StreamServer


class _Announcing(Service):
    """Tells the port of its server as soon as that listens."""

    backend = "asyncio"
    server: Any

    def do_start(self) -> None:
        print("port", self.server.port, flush=True)


class Protocol(_Announcing):
    """Against asyncio_echo.py protocol."""

    def __init__(self) -> None:
        self.server = self.add_service(ProtocolServer(("127.0.0.1", 0), EchoProtocol))


class Streams(_Announcing):
    """Against asyncio_echo.py streams."""

    def __init__(self) -> None:
        self.server = self.add_service(StreamServer(("127.0.0.1", 0), echo))
