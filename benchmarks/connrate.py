"""New connections: connect, send, receive, close, and the next."""

from __future__ import annotations

from benchmarks.echo import against_gevent
from benchmarks.harness import Options, Report
from benchmarks.load import Load


def run(options: Options) -> list[Report]:
    """Measures connections a second, 50 at a time, each with one exchange of 64 bytes."""
    load = Load("connrate", 50, 64, options.pick(0.8, 0.5), options.pick(0.2, 0.1))
    title = "New connections: connect, send, receive, close; 50 at a time"
    return [against_gevent(title, "connections/s", load, options)]
