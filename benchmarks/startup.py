"""How long one waits for a command, and for the first connection that a new server serves."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence

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
from benchmarks.machine import (
    console_script,
    ginkgo,
    python,
    running,
    scratch_environment,
    seconds_of,
    target,
)

BARE = (sys.executable, "-c", "pass")


def run(options: Options) -> list[Report]:
    """Measures the first accept of a hello server, `ginkgo --version` and `ginkgoctl status`."""
    return [
        compare(_first_accept(), options.rounds_of(11)),
        compare(_commands(), options.rounds_of(15)),
    ]


def _first_accept() -> Benchmark:
    return Benchmark(
        "Hello server: from its start to the first byte that a client gets",
        [
            Contestant("gevent script", lambda: _greeted(python("gevent_greeter.py"))),
            Contestant("ginkgo", lambda: _greeted(ginkgo("ginkgo_servers.Greeter"))),
        ],
        [Column("ms", "ms"), Column("cpu", "CPU by then, ms")],
        reference="gevent script",
        goals=[ratio_goal("ginkgo", "gevent script", "ms", at_most=1.25)],
    )


def _greeted(argv: Sequence[str]) -> Figures:
    with running(argv) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            greeting = client.recv(100)
            took = time.perf_counter() - server.began
        if greeting != b"Hello World\n":
            raise Unmeasured(f"the server said {greeting!r}")
        return {"ms": took * 1e3, "cpu": server.cpu_seconds() * 1e3}


def _commands() -> Benchmark:
    return Benchmark(
        "Commands, from start to end",
        [
            Contestant("python -c pass", _bare),
            Contestant("ginkgo --version", _version),
            Contestant("ginkgoctl status", _status),
        ],
        [Column("ms", "ms")],
        reference="python -c pass",
        goals=[
            ratio_goal("ginkgo --version", "python -c pass", "ms", at_most=2.5),
            ratio_goal("ginkgoctl status", "python -c pass", "ms", at_most=6.0),
        ],
    )


def _bare() -> Figures:
    with scratch_environment() as env:
        return {"ms": seconds_of(BARE, env) * 1e3}


def _version() -> Figures:
    with scratch_environment() as env:
        return {"ms": seconds_of([console_script("ginkgo"), "--version"], env) * 1e3}


def _status() -> Figures:
    """Of an instance that runs and is ready: it has to be asked, which is the slower answer."""
    with running(ginkgo("ginkgo_servers.Greeter")) as server:
        command = [console_script("ginkgoctl"), target("ginkgo_servers.Greeter"), "status"]
        return {"ms": seconds_of(command, server.env) * 1e3}
