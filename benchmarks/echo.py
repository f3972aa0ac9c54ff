"""Echo over TCP: what a message costs on a connection that stays open."""

from __future__ import annotations

from benchmarks.harness import (
    Benchmark,
    Column,
    Contestant,
    Figures,
    Options,
    Report,
    compare,
    ratio_goal,
)
from benchmarks.load import Load, measure
from benchmarks.machine import ginkgo, python, running


def run(options: Options) -> list[Report]:
    """Measures messages a second on 50 connections."""
    load = Load("echo", 50, 1024, options.pick(1.5, 0.5), options.pick(0.3, 0.1))

    def bare() -> Figures:
        with running(python("gevent_echo.py")) as server:
            return measure(load, server)

    def ours() -> Figures:
        with running(ginkgo("ginkgo_servers.Echo")) as server:
            return measure(load, server)

    benchmark = Benchmark(
        "TCP echo, 1 KiB, 50 connections",
        [Contestant("gevent", bare), Contestant("ginkgo", ours)],
        [
            Column("rate", "messages/s"),
            Column("p50", "p50 us"),
            Column("p99", "p99 us"),
            Column("longest", "longest ms"),
            Column("server_us", "server CPU us"),
            Column("client_cpu", "client CPU"),
        ],
        reference="gevent",
        goals=[ratio_goal("ginkgo", "gevent", "rate", at_least=0.97)],
    )
    return [compare(benchmark, options.rounds_of(15))]
