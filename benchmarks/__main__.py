"""`python -m benchmarks [--quick] [name ...]`: runs them and prints their tables.

Status 0: all was measured. 1: something could not be. 2: no such benchmark.
"""

from __future__ import annotations

import argparse
import importlib
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from benchmarks.harness import Options, Report
from benchmarks.machine import core_note, cores, on_core

NAMES = (
    *("echo", "connrate", "idle", "wsgi", "asgi", "bridge"),
    *("spawn", "tree", "supervision", "control", "setting", "startup", "stop"),
)
"""In the order of a full run."""

DISTRIBUTIONS = (
    *("gevent", "greenlet", "uvloop", "uvicorn", "httptools", "nats-py"),
    *("asphalt", "twisted", "gunicorn"),
)


def main(arguments: list[str]) -> int:
    """Runs the benchmarks that are named, or all."""
    asked = _parser().parse_args(arguments)
    unknown = sorted(set(asked.names) - set(NAMES))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
        return 2
    options = Options(asked.quick, asked.rounds)
    print(_heading(options))
    reports: list[Report] = []
    with on_core(cores()[1]):
        for name in asked.names or NAMES:
            reports += _run(name, options)
    print(_summary(reports))
    measured = all(verdict.value is not None for report in reports for verdict in report.verdicts)
    return 0 if measured else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="only prove that they run")
    parser.add_argument("--rounds", type=int, help="rounds of each, instead of its own number")
    return parser


def _run(name: str, options: Options) -> list[Report]:
    began = time.monotonic()
    reports: list[Report] = importlib.import_module(f"benchmarks.{name}").run(options)
    for report in reports:
        print(report)
    print(f"({name}: {reports[0].rounds} rounds, {time.monotonic() - began:.0f} s)\n", flush=True)
    return reports


def _heading(options: Options) -> str:
    versions = [f"{name} {_version(name)}" for name in DISTRIBUTIONS]
    lines = [
        f"# Benchmarks: CPython {platform.python_version()}, Linux {platform.release()}",
        f"{', '.join(versions)}; {core_note()}",
        "Medians (min..max) of rounds in which the contestants took turns. Compare ratios, never",
        "absolute figures of two runs.",
    ]
    if options.quick:
        lines.append("A quick run: it proves that the benchmarks run, and its figures mean little.")
    return "\n".join(lines) + "\n"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"


def _summary(reports: list[Report]) -> str:
    lines = ["## Goals", ""]
    for report in reports:
        lines += [f"- {report.benchmark.title}: {verdict}" for verdict in report.verdicts]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
