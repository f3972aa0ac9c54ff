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
from benchmarks.machine import Running, ginkgo, python, running

GUNICORN = (
    *(sys.executable, "-m", "gunicorn", "--worker-class", "gevent", "--workers", "1"),
    *("--bind", "127.0.0.1:0", "benchmarks.servers.handlers:hello"),
)


def run(options: Options) -> list[Report]:
    """Measures requests a second on 50 connections."""
    load = Load("http", 50, seconds=options.pick(2.0, 0.7), warmup=options.pick(0.3, 0.1))

    def loaded(server: Running) -> Figures:
        kept_alive(server.port).close()  # gunicorn tells its port before its worker is up
        return measure(load, server)

    def bare() -> Figures:
        with running(python("gevent_wsgi.py")) as server:
            return loaded(server)

    def gunicorn() -> Figures:
        if importlib.util.find_spec("gunicorn") is None:
            raise Unmeasured("gunicorn is not installed: run `make bench`")
        with running(GUNICORN) as server:
            return loaded(server)

    def ours() -> Figures:
        with running(ginkgo("ginkgo_wsgi.Hello")) as server:
            return loaded(server)

    benchmark = Benchmark(
        "WSGI hello, keep-alive, 50 connections",
        [Contestant("pywsgi", bare), Contestant("gunicorn", gunicorn), Contestant("ginkgo", ours)],
        [
            Column("rate", "requests/s"),
            Column("p50", "p50 us"),
            Column("p99", "p99 us"),
            Column("longest", "longest ms"),
            Column("server_us", "server CPU us"),
            Column("client_cpu", "client CPU"),
            Column("errors", "errors"),
        ],
        reference="pywsgi",
        goals=[
            ratio_goal("ginkgo", "pywsgi", "rate", at_least=1.0),
            ratio_goal("ginkgo", "gunicorn", "rate", at_least=1.2),
        ],
    )
    return [compare(benchmark, options.rounds_of(11))]
