"""Starting and stopping a tree of services that do nothing."""

from __future__ import annotations

from benchmarks.harness import (
    Benchmark,
    Column,
    Contestant,
    Figures,
    Goal,
    Options,
    Report,
    Samples,
    compare,
    figure_goal,
    median_of,
    ratio_goal,
)
from benchmarks.machine import figures_of

GROWTH = 1.3
"""A service among 10,000 may cost so many times what it costs among 100."""


def run(options: Options) -> list[Report]:
    """Measures microseconds and KiB a service, in a tree of one root and its children."""
    large = options.pick(10_000, 1_000)

    def contestant(name: str) -> Contestant:
        def measure() -> Figures:
            small_tree = figures_of(f"{name}_tree.py", "100", options.pick("50", "10"))
            large_tree = figures_of(f"{name}_tree.py", str(large), "3")
            return {
                "us": large_tree["us"],
                "us_at_100": small_tree["us"],
                "kib": max(large_tree["resident"], large_tree["heap"]),
                "resident": large_tree["resident"],
                "heap": large_tree["heap"],
                "start": large_tree["start_us"],
                "stop": large_tree["stop_us"],
            }

        return Contestant(name, measure)

    benchmark = Benchmark(
        f"Start and stop of {large:,} services",
        [contestant("asphalt"), contestant("twisted"), contestant("ginkgo")],
        [
            Column("us", "us/service"),
            Column("start", "of it start"),
            Column("stop", "of it stop"),
            Column("us_at_100", "us/service at 100", with_range=True),
            Column("resident", "resident KiB/service"),
            Column("heap", "heap KiB/service"),
        ],
        reference="asphalt",
        goals=[
            ratio_goal("ginkgo", "asphalt", "us", at_most=1.2),
            Goal(f"ginkgo, at {large:,} / at 100", _growth, GROWTH),
            figure_goal("ginkgo", "kib", "KiB a service, the larger", at_most=1.5),
        ],
    )
    return [compare(benchmark, options.rounds_of(5))]


def _growth(samples: Samples) -> float:
    return median_of(samples, "ginkgo", "us") / median_of(samples, "ginkgo", "us_at_100")
