"""From SIGTERM to the end of the process, while a client sits on an idle kept-alive connection."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.client import kept_alive
from benchmarks.harness import (
    Benchmark,
    Column,
    Contestant,
    Figures,
    Options,
    Report,
    compare,
    figure_goal,
)
from benchmarks.machine import END_LIMIT, Running, await_end, ginkgo, python, running


def run(options: Options) -> list[Report]:
    """Measures it for ours, and for a script that waits for its handlers for up to 5 s."""
    drain = str(options.pick(5.0, 1.0))
    benchmark = Benchmark(
        "SIGTERM to exit with an idle keep-alive client",
        [
            Contestant("gevent script", lambda: _ended(python("gevent_wsgi.py", drain))),
            Contestant("ginkgo", lambda: _ended(ginkgo("ginkgo_wsgi.Hello"))),
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
    with running(argv) as server, kept_alive(server.port):
        with_client = _milliseconds_to_end(server)
    with running(argv) as server:
        with kept_alive(server.port):
            pass  # it has served once, and the client is gone
        alone = _milliseconds_to_end(server)
    return {"idle_client": with_client, "alone": alone}


def _milliseconds_to_end(server: Running) -> float:
    began = time.perf_counter()
    server.process.terminate()
    await_end(server.process, END_LIMIT)
    return (time.perf_counter() - began) * 1e3
