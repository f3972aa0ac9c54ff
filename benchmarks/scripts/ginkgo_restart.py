"""Crashes a thousand children of a tree, and waits until all are restarted. Prints JSON.

Arguments: how many children, and in how many rounds.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time

import gevent

from ginkgo import Backoff, Service

CRASHES = 1000


class Child(Service):
    def work(self) -> None:
        raise ConnectionError("told to crash")


def crash(root: Service, children: list[Child], crashes: int) -> None:
    """Crash so many children, none of them twice at a time."""
    while crashes:
        batch = children[: min(crashes, len(children))]
        restarts = [child.restarts + 1 for child in batch]
        for child in batch:
            child.spawn(child.work)
        for child, wanted in zip(batch, restarts, strict=True):
            while child.restarts < wanted:
                gevent.sleep(0)
        crashes -= len(batch)


def main() -> None:
    logging.disable(logging.CRITICAL)
    count, rounds = int(sys.argv[1]), int(sys.argv[2])
    root = Service()
    root.max_restarts, root.backoff = 10_000_000, Backoff(0.0)
    children = [root.add_service(Child()) for _ in range(count)]
    root.start()
    crash(root, children, min(CRASHES, 100))
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        crash(root, children, CRASHES)
        times.append((time.perf_counter() - began) / CRASHES * 1e6)
    restarts = sum(child.restarts for child in children)
    root.stop()
    assert restarts == rounds * CRASHES + min(CRASHES, 100), restarts
    print(json.dumps({"us": statistics.median(times)}))


if __name__ == "__main__":
    main()
