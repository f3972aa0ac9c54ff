"""The memory of a connection that does nothing."""

from __future__ import annotations

import resource
from collections.abc import Mapping

from benchmarks.echo import GEVENT, PROTOCOLS, STREAMS, THREADS, Command
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

ON_ASYNCIO: Mapping[str, Command] = {
    "asyncio": lambda: python("asyncio_echo.py", "protocol", "asyncio"),
    "ginkgo": lambda: [*ginkgo("ginkgo_asyncio.Protocol"), "--set", "loop=asyncio"],
}


def run(options: Options) -> list[Report]:
    """Measures the growth of a server by 5,000 connections, after one exchange on each."""
    return [
        _side_by_side("gevent", GEVENT, options),
        _side_by_side("protocols on asyncio's own loop", ON_ASYNCIO, options),
        _side_by_side("protocols on uvloop", PROTOCOLS, options),
        _side_by_side("streams on uvloop", STREAMS, options),
        _side_by_side("threads", THREADS, options),
    ]


def _side_by_side(backend: str, commands: Mapping[str, Command], options: Options) -> Report:
    """The first of two servers is the bare one, and the second is ours."""
    count = options.pick(5000, 500)
    bare, ours = commands
    benchmark = Benchmark(
        f"Memory of an idle connection, {count:,} of them, {backend}",
        [_contestant(name, commands[name], count) for name in (bare, ours)],
        [
            Column("each", "KiB/connection"),
            Column("before", "server before MiB"),
            Column("after", "after MiB"),
            Column("opening", "us to open each"),
        ],
        reference=bare,
        goals=[ratio_goal(ours, bare, "each", at_most=1.05)],
    )
    return compare(benchmark, options.rounds_of(3))


def _contestant(name: str, command: Command, count: int) -> Contestant:
    def growth() -> Figures:
        with running(command()) as server:
            return _growth(server, count)

    return Contestant(name, growth)


def _growth(server: Running, count: int) -> Figures:
    _need_files(count)
    load = Load("idle", count, 64, seconds=30.0, warmup=0.0)
    before = memory_kib(server.pid)
    with idle_connections(load, server) as seconds:
        after = memory_kib(server.pid)
    return {
        "each": (after - before) / count,
        "before": before / 1024,
        "after": after / 1024,
        "opening": seconds / count * 1e6,
    }


def _need_files(count: int) -> None:
    """The server inherits the limit of open files, and needs one for each connection."""
    needed = count + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Unmeasured(f"the limit of open files is {hard}, and {needed} are needed (ulimit -n)")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
