"""Services in one `MultiService`: the far mark, for they own no tasks and have no states."""

from twisted.application.service import MultiService, Service

from benchmarks.scripts.trees import Stopwatch


class Empty(Service):
    """Starts and stops, and no more."""


def cycle(watch: Stopwatch) -> None:
    root = MultiService()  # type: ignore[no-untyped-call]
    watch.build()
    for _ in range(watch.size):
        Empty().setServiceParent(root)  # type: ignore[no-untyped-call]
    watch.start()
    root.startService()  # type: ignore[no-untyped-call]
    watch.started()
    watch.stop()
    root.stopService()  # type: ignore[no-untyped-call]
    watch.stopped()


cycle(Stopwatch(size=10))  # what is made once is made here
stopwatch = Stopwatch()
for _ in range(stopwatch.trees):
    cycle(stopwatch)
stopwatch.trace()
cycle(stopwatch)
stopwatch.tell()
