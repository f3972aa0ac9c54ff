"""Spawning a task that does nothing, owned by somebody who would end it."""

from __future__ import annotations

from benchmarks.harness import Benchmark, Column, Contestant, Options, Report, compare, ratio_goal
from benchmarks.machine import figures_of


def run(options: Options) -> list[Report]:
    """Measures microseconds a task, 1,000 at a time."""
    batches = str(options.pick(50, 20))
    benchmark = Benchmark(
        "Spawn of a trivial task, 1,000 at a time",
        [
            Contestant("gevent Group", lambda: figures_of("gevent_spawn.py", batches)),
            Contestant("ginkgo", lambda: figures_of("ginkgo_spawn.py", batches)),
        ],
        [Column("us", "us/task")],
        reference="gevent Group",
        goals=[ratio_goal("ginkgo", "gevent Group", "us", at_most=1.15)],
    )
    return [compare(benchmark, options.rounds_of(9))]
