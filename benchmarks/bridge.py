"""Requests to NATS by nats-py, 64 at a time: on asyncio itself, and over the bridge."""

from __future__ import annotations

import importlib.util

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
from benchmarks.machine import Lineup, cores, figures_of, python

ASYNCIO = "asyncio"
BRIDGES = {"gevent": "bridge, greenlets", "threading": "bridge, threads"}


def run(options: Options) -> list[Report]:
    """Measures calls a second and the CPU of each; who answers has the other core.

    The bridge's loop is uvloop, so that is shown as well. What the bridge costs is asked against
    asyncio's own loop: that is what a program has which uses the client without Ginkgo.
    """
    batches = str(options.pick(20, 2))

    with Lineup() as servers:

        def contestant(name: str, script: str, *arguments: str) -> Contestant:
            def measure() -> Figures:
                if importlib.util.find_spec("nats") is None:
                    raise Unmeasured("nats-py is not installed: run `make bench`")
                port = str(servers.get(python("nats_echo.py")).port)
                return figures_of(script, port, batches, *arguments, core=cores()[1])

            return Contestant(name, measure)

        benchmark = Benchmark(
            "Requests to NATS by nats-py, 64 at a time",
            [
                contestant(ASYNCIO, "nats_loop.py", "asyncio"),
                contestant("uvloop", "nats_loop.py", "uvloop"),
                *(contestant(BRIDGES[kind], "nats_bridge.py", kind) for kind in BRIDGES),
                contestant("threads, by hand", "nats_threadsafe.py"),
            ],
            [Column("rate", "calls/s"), Column("cpu_us", "CPU us/call", with_range=True)],
            reference=ASYNCIO,
            goals=[
                goal
                for ours in BRIDGES.values()
                for goal in (
                    ratio_goal(ours, ASYNCIO, "rate", at_least=0.9),
                    ratio_goal(ours, ASYNCIO, "cpu_us", at_most=1.1),
                )
            ],
        )
        return [compare(benchmark, options.rounds_of(9))]
