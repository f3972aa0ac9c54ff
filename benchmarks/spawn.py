"""Spawning a task that does nothing, owned by somebody who would end it."""

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
from benchmarks.machine import figures_of


def run(options: Options) -> list[Report]:
    """Measures microseconds a task, 1,000 at a time."""
    return [
        _against("gevent Group", "gevent_spawn.py", "ginkgo_spawn.py", 1.15, options),
        _against("create_task", "asyncio_spawn.py", "ginkgo_asyncio_spawn.py", 1.2, options),
    ]


def _against(bare: str, script: str, our_script: str, at_most: float, options: Options) -> Report:
    batches = str(options.pick(50, 20))

    def contestant(name: str, script: str) -> Contestant:
        def measure() -> Figures:
            return figures_of(script, batches)

        return Contestant(name, measure)

    benchmark = Benchmark(
        f"Spawn of a trivial task, 1,000 at a time, against {bare}",
        [contestant(bare, script), contestant("ginkgo", our_script)],
        [Column("us", "us/task")],
        reference=bare,
        goals=[ratio_goal("ginkgo", bare, "us", at_most=at_most)],
    )
    return compare(benchmark, options.rounds_of(9))
