"""A WSGI application that says hello, over connections that are kept alive."""

from __future__ import annotations

import importlib.util
import sys

from benchmarks.client import kept_alive
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
from benchmarks.load import Load, measure
from benchmarks.machine import Lineup, Running, ginkgo, python

GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "--worker-class", "gevent", "--workers", "1"),
    *("--bind", "127.0.0.1:0", "benchmarks.servers.handlers:hello"),
)


def run(options: Options) -> list[Report]:
    """Measures requests a second on 50 connections."""
    load = Load("http", 50, seconds=options.pick(1.5, 0.7), warmup=options.pick(0.3, 0.1))

    def measure_at(server: Running) -> Figures:
        kept_alive(server.port).close()  # gunicorn tells its port before its worker is up
        return measure(load, server)

    with Lineup() as servers:

        def gunicorn() -> Figures:
            if importlib.util.find_spec("gunicorn") is None:
                raise Unmeasured("gunicorn is not installed: run `make bench`")
            return measure_at(servers.get(GUNICORN))

        benchmark = Benchmark(
            "WSGI hello, keep-alive, 50 connections",
            [
                Contestant("pywsgi", lambda: measure_at(servers.get(python("gevent_wsgi.py")))),
                Contestant("gunicorn", gunicorn),
                Contestant("ginkgo", lambda: measure_at(servers.get(ginkgo("ginkgo_wsgi.Hello")))),
            ],
            [
                Column("rate", "requests/s"),
                Column("p50", "p50 us"),
                Column("p99", "p99 us"),
                Column("longest", "longest ms"),
                Column("server_us", "server CPU us"),
                Column("client_cpu", "client CPU"),
                Column("errors", "failed"),
            ],
            reference="pywsgi",
            goals=[
                ratio_goal("ginkgo", "pywsgi", "rate", at_least=1.0),
                ratio_goal("ginkgo", "gunicorn", "rate", at_least=1.2),
            ],
        )
        return [compare(benchmark, options.rounds_of(11))]
