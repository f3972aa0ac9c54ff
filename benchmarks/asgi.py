"""An ASGI application that says hello, over connections that are kept alive."""

from __future__ import annotations

import sys

from benchmarks.echo import side_by_side
from benchmarks.harness import Options, Report, ratio_goal
from benchmarks.load import Load
from benchmarks.machine import ginkgo

UVICORN = (
    *(sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "0"),
    *("--no-access-log", "--lifespan", "off", "benchmarks.servers.asyncio_handlers:hello"),
)


def run(options: Options) -> list[Report]:
    """Measures requests a second on 50 connections.

    Both run on uvloop and parse with what uvicorn finds: httptools where it is installed, else h11.
    """
    load = Load("http", 50, seconds=options.pick(1.0, 0.7), warmup=options.pick(0.2, 0.1))
    commands = {"uvicorn": lambda: UVICORN, "ginkgo": lambda: ginkgo("ginkgo_asgi.Hello")}
    goals = [ratio_goal("ginkgo", "uvicorn", "rate", at_least=0.97)]
    title = "ASGI hello, keep-alive, 50 connections"
    return [side_by_side(title, "requests/s", load, commands, goals, options)]
