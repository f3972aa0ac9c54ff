"""Starts services in which nothing fails, has them spawn tasks, and stops them. Prints JSON.

Arguments: ``with`` or ``without`` what supervision does for them (events, and a look at their
policies), and in how many rounds.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time

import gevent

from ginkgo import Service
from ginkgo.core import lifecycle, state

SERVICES, TASKS = 1000, 20


def work() -> None:
    pass


def play(root: Service) -> None:
    """A start, the tasks, and a stop."""
    root.start()
    for child in root.children:
        for _ in range(TASKS):
            child.spawn(work)
        gevent.sleep(0)
    root.stop()


def main() -> None:
    if sys.argv[1] == "without":
        state.record = lambda *args: None
        lifecycle.check_policies = lambda service: None
    root = Service()
    for _ in range(SERVICES):
        root.add_service(Service())
    play(root)
    gc.collect()
    gc.freeze()
    times = []
    for _ in range(int(sys.argv[2])):
        began = time.perf_counter()
        play(root)
        times.append((time.perf_counter() - began) / SERVICES * 1e6)
    print(json.dumps({"us": statistics.median(times)}))


if __name__ == "__main__":
    main()
