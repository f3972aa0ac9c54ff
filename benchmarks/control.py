"""What it costs to be looked at: echo while an instance is watched, and while it is not."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

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
from benchmarks.machine import Lineup, ginkgo

LIMIT = 10.0
"""Seconds that an answer may take."""

SERVERS = {
    "gevent": lambda: ginkgo("ginkgo_servers.Echo"),
    "protocols on uvloop": lambda: [*ginkgo("ginkgo_asyncio.Protocol"), "--set", "loop=uvloop"],
    "threads": lambda: ginkgo("ginkgo_threading.Echo"),
}


def run(options: Options) -> list[Report]:
    """Measures messages a second on 50 connections, watched and not.

    Watched means: a client that follows the events, as the page does, and each second a scrape of
    the metrics and a look at the status.
    """
    return [_on(backend, command, options) for backend, command in SERVERS.items()]


def _on(backend: str, command: Callable[[], Sequence[str]], options: Options) -> Report:
    load = Load("echo", 50, 1024, options.pick(2.0, 0.5), options.pick(0.3, 0.1))
    port = free_port()
    with Lineup() as servers:

        def off() -> Figures:
            return {**measure(load, servers.get(command())), "looks": 0}

        def watched() -> Figures:
            server = servers.get([*command(), "--set", f"control=127.0.0.1:{port}"])
            with watching(port) as looks:
                figures = measure(load, server)
            return {**figures, "looks": looks()}

        benchmark = Benchmark(
            f"TCP echo while the instance is watched, {backend}",
            [Contestant("control off", off), Contestant("watched", watched)],
            [
                Column("rate", "messages/s"),
                Column("p99", "p99 us"),
                Column("longest", "longest ms"),
                Column("server_us", "server CPU us"),
                Column("looks", "scrapes"),
            ],
            reference="control off",
            goals=[ratio_goal("watched", "control off", "rate", at_least=0.97)],
        )
        return compare(benchmark, options.rounds_of(11))


@contextmanager
def watching(port: int) -> Iterator[Callable[[], int]]:
    """Look at an instance as the page and Prometheus do; yields what counts the scrapes.

    Raises:
        Unmeasured: it does not answer, or not as it should.
    """
    over = threading.Event()
    scrapes: list[int] = []
    failed: list[Exception] = []
    page = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        page.request("GET", "/api/v1/events?stream=1")
        answer = page.getresponse()
        if answer.status != 200:
            raise Unmeasured(f"the events answer with status {answer.status}")
    except OSError as error:
        raise Unmeasured(f"the control address does not answer: {error}") from error

    def scrape() -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
        try:
            while True:
                scrapes.append(_size_of(client, "/metrics"))
                _size_of(client, "/api/v1/status")
                if over.wait(1.0):
                    break
        except (OSError, http.client.HTTPException, Unmeasured) as error:
            failed.append(error)
        finally:
            client.close()

    scraper = threading.Thread(target=scrape)
    scraper.start()
    try:
        yield lambda: len(scrapes)
    finally:
        over.set()
        scraper.join()
        page.close()
    if failed:
        raise Unmeasured(f"a scrape failed: {failed[0]}")


def _size_of(client: http.client.HTTPConnection, path: str) -> int:
    client.request("GET", path)
    answer = client.getresponse()
    size = len(answer.read())
    if answer.status != 200 or not size:
        raise Unmeasured(f"{path} answers with status {answer.status}")
    return size


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
