"""Reading a setting as an attribute of a service."""

from __future__ import annotations

from functools import partial

from benchmarks.harness import Benchmark, Column, Contestant, Options, Report, compare, ratio_goal
from benchmarks.machine import figures_of


def run(options: Options) -> list[Report]:
    """Measures nanoseconds a read."""
    reads = str(options.pick(5_000_000, 500_000))
    benchmark = Benchmark(
        "Reading a setting",
        [
            Contestant(name, partial(figures_of, "read_setting.py", name, reads))
            for name in ("attribute", "property", "ginkgo")
        ],
        [Column("ns", "ns/read")],
        reference="property",
        goals=[ratio_goal("ginkgo", "property", "ns", at_most=0.7)],
    )
    return [compare(benchmark, options.rounds_of(7))]
