"""Echo over TCP: what a message costs on a connection that stays open."""

from __future__ import annotations

from benchmarks.harness import Benchmark, Column, Contestant, Options, Report, compare, ratio_goal
from benchmarks.load import Load, measure
from benchmarks.machine import Lineup, ginkgo, python

BARE = python("gevent_echo.py")


def run(options: Options) -> list[Report]:
    """Measures messages a second on 50 connections."""
    load = Load("echo", 50, 1024, options.pick(0.8, 0.5), options.pick(0.2, 0.1))
    return [against_gevent("TCP echo, 1 KiB, 50 connections", "messages/s", load, options)]


def against_gevent(title: str, unit: str, load: Load, options: Options) -> Report:
    """Our echo server and the same handler on a bare `gevent.server.StreamServer`."""
    with Lineup() as servers:
        benchmark = Benchmark(
            title,
            [
                Contestant("gevent", lambda: measure(load, servers.get(BARE))),
                Contestant(
                    "ginkgo", lambda: measure(load, servers.get(ginkgo("ginkgo_servers.Echo")))
                ),
            ],
            [
                Column("rate", unit),
                Column("p50", "p50 us"),
                Column("p99", "p99 us"),
                Column("longest", "longest ms"),
                Column("server_us", "server CPU us"),
                Column("client_cpu", "client CPU"),
                Column("errors", "failed"),
            ],
            reference="gevent",
            goals=[ratio_goal("ginkgo", "gevent", "rate", at_least=0.97)],
        )
        return compare(benchmark, options.rounds_of(21))
