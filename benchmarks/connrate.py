"""New connections: connect, send, receive, close, and the next."""

from __future__ import annotations

from benchmarks.echo import GEVENT, side_by_side
from benchmarks.harness import Options, Report, ratio_goal
from benchmarks.load import Load


def run(options: Options) -> list[Report]:
    """Measures connections a second, 50 at a time, each with one exchange of 64 bytes."""
    load = Load("connrate", 50, 64, options.pick(0.8, 0.5), options.pick(0.2, 0.1))
    title = "New connections: connect, send, receive, close; 50 at a time"
    goals = [ratio_goal("ginkgo", "gevent", "rate", at_least=0.97)]
    return [side_by_side(title, "connections/s", load, GEVENT, goals, options)]
