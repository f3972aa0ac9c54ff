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
    figure_goal,
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
    """Measures the first accept of a hello server, `ginkgo --version` and `ginkgoctl`."""
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
            Contestant("ginkgoctl status of 1,000 services", _status_of_many),
            Contestant("completion at a TAB", _completion),
        ],
        [Column("ms", "ms")],
        reference="python -c pass",
        goals=[
            ratio_goal("ginkgo --version", "python -c pass", "ms", at_most=2.5),
            ratio_goal("ginkgoctl status", "python -c pass", "ms", at_most=6.0),
            ratio_goal("completion at a TAB", "python -c pass", "ms", at_most=6.0),
            figure_goal(
                "ginkgoctl status of 1,000 services", "ms", "the whole command", at_most=300.0
            ),
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
    return _asked("ginkgo_servers.Greeter", "status")


def _status_of_many() -> Figures:
    """With its whole tree, as a person sees it."""
    return _asked("ginkgo_servers.Crowd", "status")


def _asked(service: str, action: str) -> Figures:
    with running(ginkgo(service)) as server:
        command = [console_script("ginkgoctl"), target(service), action]
        return {"ms": seconds_of(command, server.env) * 1e3}


def _completion() -> Figures:
    """Of services: the instance has to be found and asked."""
    service = "ginkgo_servers.Greeter"
    with running(ginkgo(service)) as server:
        words = ["__complete", "bash", "restart", target(service), ""]
        return {"ms": seconds_of([console_script("ginkgoctl"), *words], server.env) * 1e3}
