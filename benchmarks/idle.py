"""The memory of a connection that does nothing."""

from __future__ import annotations

import resource

from benchmarks.harness import (
    Benchmark,
    Column,
    Contestant,
    Figures,
    Options,
    Report,
    Unmeasured,
    compare,
    ratio_goal,
)
from benchmarks.load import Load, idle_connections
from benchmarks.machine import Running, ginkgo, memory_kib, python, running


def run(options: Options) -> list[Report]:
    """Measures the growth of the server by 5,000 connections, after one exchange on each."""
    count = options.pick(5000, 500)
    load = Load("idle", count, 64, seconds=30.0, warmup=0.0)

    def growth(server: Running) -> Figures:
        _need_files(count)
        before = memory_kib(server.pid)
        with idle_connections(load, server) as seconds:
            after = memory_kib(server.pid)
        return {
            "each": (after - before) / count,
            "before": before / 1024,
            "after": after / 1024,
            "opening": seconds / count * 1e6,
        }

    def bare() -> Figures:
        with running(python("gevent_echo.py")) as server:
            return growth(server)

    def ours() -> Figures:
        with running(ginkgo("ginkgo_servers.Echo")) as server:
            return growth(server)

    benchmark = Benchmark(
        f"Memory of an idle connection, {count:,} of them",
        [Contestant("gevent", bare), Contestant("ginkgo", ours)],
        [
            Column("each", "KiB/connection"),
            Column("before", "server before MiB"),
            Column("after", "after MiB"),
            Column("opening", "us to open each"),
        ],
        reference="gevent",
        goals=[ratio_goal("ginkgo", "gevent", "each", at_most=1.05)],
    )
    return [compare(benchmark, options.rounds_of(3))]


def _need_files(count: int) -> None:
    """The server inherits the limit of open files, and needs one for each connection."""
    needed = count + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Unmeasured(f"the limit of open files is {hard}, and {needed} are needed (ulimit -n)")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
