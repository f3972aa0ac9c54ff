"""Services that do nothing in one root."""

from benchmarks.scripts.trees import Stopwatch
from ginkgo import Service


class Empty(Service):
    """Starts and stops, and no more."""

    def do_start(self) -> None:
        pass

    def do_stop(self) -> None:
        pass


def cycle(watch: Stopwatch) -> None:
    root = Service()
    watch.build()
    for _ in range(watch.size):
        root.add_service(Empty())
    watch.start()
    root.start()
    watch.started()
    watch.stop()
    root.stop()
    watch.stopped()


cycle(Stopwatch(size=10))  # what is made once is made here
stopwatch = Stopwatch()
for _ in range(stopwatch.trees):
    cycle(stopwatch)
stopwatch.trace()
cycle(stopwatch)
stopwatch.tell()
