"""From SIGTERM to the end of the process, while a client sits on an idle kept-alive connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from benchmarks.harness import (
    Benchmark,
    Column,
    Contestant,
    Figures,
    Options,
    Report,
    Unmeasured,
    compare,
    figure_goal,
)
from benchmarks.machine import END_LIMIT, Running, ginkgo, python, running

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def run(options: Options) -> list[Report]:
    """Measures it for ours, and for a script that waits for its handlers for up to 5 s."""
    drain = str(options.pick(5.0, 1.0))
    benchmark = Benchmark(
        "SIGTERM to exit with an idle keep-alive client",
        [
            Contestant("gevent script", lambda: _ended(python("gevent_wsgi.py", drain))),
            Contestant("ginkgo", lambda: _ended(ginkgo("Hello"))),
        ],
        [
            Column("idle_client", "ms with the client"),
            Column("alone", "ms without", with_range=True),
        ],
        reference="gevent script",
        goals=[figure_goal("ginkgo", "idle_client", "ms", at_most=200.0)],
    )
    return [compare(benchmark, options.rounds_of(5))]


def _ended(argv: Sequence[str]) -> Figures:
    with running(argv) as server, _kept_alive(server.port):
        with_client = _milliseconds_to_end(server)
    with running(argv) as server:
        with _kept_alive(server.port):
            pass  # it has served once, and the client is gone
        alone = _milliseconds_to_end(server)
    return {"idle_client": with_client, "alone": alone}


def _kept_alive(port: int) -> socket.socket:
    """A connection on which one request has been answered."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(REQUEST)
    received = b""
    while not received.endswith(b"</strong>"):
        data = client.recv(4096)
        if not data:
            client.close()
            raise Unmeasured(f"the server closed the connection after {received!r}")
        received += data
    return client


def _milliseconds_to_end(server: Running) -> float:
    began = time.perf_counter()
    server.process.terminate()
    server.process.wait(END_LIMIT)
    return (time.perf_counter() - began) * 1e3
