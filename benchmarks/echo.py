"""Echo over TCP: what a message costs on a connection that stays open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from benchmarks.compiler import program
from benchmarks.harness import (
    Benchmark,
    Column,
    Contestant,
    Figures,
    Goal,
    Options,
    Report,
    compare,
    ratio_goal,
)
from benchmarks.load import Load, measure
from benchmarks.machine import SERVERS, Lineup, ginkgo, python

Command = Callable[[], Sequence[str]]
"""Gives the command line of a server; raises `Unmeasured` where it cannot be run."""

EPOLL = SERVERS / "epoll_echo.c"

GEVENT: Mapping[str, Command] = {
    "gevent": lambda: python("gevent_echo.py"),
    "ginkgo": lambda: ginkgo("ginkgo_servers.Echo"),
}
PROTOCOLS: Mapping[str, Command] = {
    "uvloop": lambda: python("asyncio_echo.py", "protocol", "uvloop"),
    "ginkgo": lambda: [*ginkgo("ginkgo_asyncio.Protocol"), "--set", "loop=uvloop"],
}
STREAMS: Mapping[str, Command] = {
    "asyncio": lambda: python("asyncio_echo.py", "streams", "uvloop"),
    "ginkgo": lambda: [*ginkgo("ginkgo_asyncio.Streams"), "--set", "loop=uvloop"],
}
THREADS: Mapping[str, Command] = {
    "socketserver": lambda: python("threading_echo.py"),
    "ginkgo": lambda: ginkgo("ginkgo_threading.Echo"),
}
C_EPOLL: Mapping[str, Command] = {"C epoll": lambda: [str(program(EPOLL))]}


def run(options: Options) -> list[Report]:
    """Measures messages a second on 50 connections, on each backend."""
    load = Load("echo", 50, 1024, options.pick(0.8, 0.5), options.pick(0.2, 0.1))

    def on(backend: str, commands: Mapping[str, Command], *goals: Goal) -> Report:
        title = f"TCP echo, 1 KiB, 50 connections, {backend}"
        return side_by_side(title, "messages/s", load, commands, goals, options)

    return [
        on("gevent", GEVENT, ratio_goal("ginkgo", "gevent", "rate", at_least=0.97)),
        on(
            "protocols on uvloop",
            {**PROTOCOLS, **C_EPOLL},
            ratio_goal("ginkgo", "uvloop", "rate", at_least=0.97),
            ratio_goal("ginkgo", "C epoll", "rate", at_least=0.75),
        ),
        on(
            "streams on uvloop",
            STREAMS,
            ratio_goal("ginkgo", "asyncio", "rate", at_least=0.95),
        ),
        on("threads", THREADS, ratio_goal("ginkgo", "socketserver", "rate", at_least=0.95)),
    ]


def side_by_side(
    title: str,
    unit: str,
    load: Load,
    commands: Mapping[str, Command],
    goals: Sequence[Goal],
    options: Options,
) -> Report:
    """The same load on several servers in turns; the first is the one that ratios are taken to."""
    with Lineup() as servers:

        def contestant(name: str, command: Command) -> Contestant:
            def measure_it() -> Figures:
                return measure(load, servers.get(command()))

            return Contestant(name, measure_it)

        benchmark = Benchmark(
            title,
            [contestant(name, command) for name, command in commands.items()],
            [
                Column("rate", unit),
                Column("p50", "p50 us"),
                Column("p99", "p99 us"),
                Column("longest", "longest ms"),
                Column("server_us", "server CPU us"),
                Column("client_cpu", "client CPU"),
                Column("errors", "failed"),
            ],
            reference=next(iter(commands)),
            goals=goals,
        )
        return compare(benchmark, options.rounds_of(21))
