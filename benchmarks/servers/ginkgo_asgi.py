"""Hello on Ginkgo's ASGIServer. Of its own, because uvicorn takes its time to import."""

from __future__ import annotations

from benchmarks.servers.asyncio_handlers import hello
from ginkgo import Service
from ginkgo.async_.asyncio import ASGIServer


class Hello(Service):
    """Against uvicorn's own command."""

    backend = "asyncio"

    def __init__(self) -> None:
        self.server = self.add_service(ASGIServer(("127.0.0.1", 0), hello, lifespan="off"))

    def do_start(self) -> None:
        print("port", self.server.port, flush=True)
