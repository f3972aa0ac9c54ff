"""What a restart costs, and what supervision costs while nothing fails."""

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
    """Measures microseconds a restart, at 100 and at 10,000 children, and a service's run."""
    return [_restarts(options), _quiet(options)]


def _restarts(options: Options) -> Report:
    large = options.pick(10_000, 1_000)
    rounds = options.pick("5", "2")

    def contestant(count: int) -> Contestant:
        def measure() -> Figures:
            return figures_of("ginkgo_restart.py", str(count), rounds)

        return Contestant(f"of {count:,} children", measure)

    benchmark = Benchmark(
        "1,000 crashes and restarts",
        [contestant(100), contestant(large)],
        [Column("us", "us/restart")],
        reference="of 100 children",
        goals=[ratio_goal(f"of {large:,} children", "of 100 children", "us", at_most=1.5)],
    )
    return compare(benchmark, options.rounds_of(5))


def _quiet(options: Options) -> Report:
    rounds = options.pick("5", "2")
    benchmark = Benchmark(
        "Start, 20 tasks and stop of a service in which nothing fails",
        [
            Contestant("without", lambda: figures_of("ginkgo_quiet.py", "without", rounds)),
            Contestant("supervised", lambda: figures_of("ginkgo_quiet.py", "with", rounds)),
        ],
        [Column("us", "us/service")],
        reference="without",
        goals=[ratio_goal("supervised", "without", "us", at_most=1.02)],
    )
    return compare(benchmark, options.rounds_of(11))
