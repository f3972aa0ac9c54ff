"""Echo on Ginkgo's StreamServer for threads, a target for `ginkgo`."""

from __future__ import annotations

from benchmarks.servers.handlers import echo
from ginkgo import Service
from ginkgo.async_.threading import StreamServer


class Echo(Service):
    """Against threading_echo.py."""

    backend = "threading"

    def __init__(self) -> None:
        self.server = self.add_service(StreamServer(("127.0.0.1", 0), echo))

    def do_start(self) -> None:
        print("port", self.server.port, flush=True)
