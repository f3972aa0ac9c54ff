"""Drives load.c, the load generator, on the load's core."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from benchmarks.compiler import program
from benchmarks.harness import Figures, Unmeasured
from benchmarks.machine import HERE, Running, cores, on_core

SOURCE: Final = HERE / "load.c"
SLACK: Final = 30.0
"""Seconds that a run may take beyond what it was asked for; load.c itself gives up after 15."""


@dataclass(frozen=True)
class Load:
    """What load.c is asked to do.

    Args:
        mode: echo, connrate, http or idle.
        connections: how many at a time.
        size: bytes of a message (not for http).
        seconds: how long to measure; for idle, how long opening them may take.
        warmup: seconds before that which are not counted.
    """

    mode: str
    connections: int
    size: int = 1024
    seconds: float = 3.0
    warmup: float = 0.5

    def command(self, port: int) -> list[str]:
        """The command line of load.c for a server on that port."""
        numbers = (port, self.connections, self.size, self.warmup, self.seconds, 0)
        return [str(program(SOURCE)), self.mode, *map(str, numbers)]


def measure(load: Load, server: Running) -> Figures:
    """Loads a server, and returns a rate and what it cost.

    Returns:
        rate (exchanges a second), p50 and p99 (us), longest (ms; the longest that a connection
        waited for an answer, even if none came), server_us (CPU of the server for each
        exchange), client_cpu (share of the load's core), errors.

    Raises:
        Unmeasured: the load failed, or more than one exchange in a thousand did.
    """
    cpu_before = server.cpu_seconds()
    command = load.command(server.port)
    with on_core(cores()[1]):
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=load.warmup + load.seconds + SLACK,
            check=False,
        )
    if done.returncode != 0:
        raise Unmeasured(done.stderr.strip() or f"load.c ended with status {done.returncode}")
    cpu = server.cpu_seconds() - cpu_before
    told = json.loads(done.stdout)
    if told["errors"] * 1000 > told["total"]:
        raise Unmeasured(
            f"{told['errors']} of {told['total']} exchanges failed, first: {told['first_error']}"
        )
    return {
        "rate": told["count"] / told["seconds"],
        "p50": told["p50_us"],
        "p99": told["p99_us"],
        "longest": told["longest_us"] / 1000,
        "server_us": cpu / told["total"] * 1e6,
        "client_cpu": told["cpu"],
        "errors": told["errors"],
    }


@contextmanager
def idle_connections(load: Load, server: Running) -> Iterator[float]:
    """Holds idle connections, each after one exchange; yields the seconds that opening took.

    Raises:
        Unmeasured: they could not be opened.
    """
    with on_core(cores()[1]):
        holder = subprocess.Popen(
            load.command(server.port),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert holder.stdin and holder.stdout and holder.stderr
    try:
        line = holder.stdout.readline()
        if not line:
            raise Unmeasured(holder.stderr.read().strip() or "load.c ended without a word")
        told = json.loads(line)
        if told["errors"]:
            raise Unmeasured(f"{told['errors']} connections failed, first: {told['first_error']}")
        yield told["seconds"]
    finally:
        holder.stdin.close()
        holder.wait(SLACK)
        holder.stdout.close()
        holder.stderr.close()
