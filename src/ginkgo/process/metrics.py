"""The metrics of a running tree, in the shapes of prometheus-client.

They are read in the control thread, without a lock and without the user's code, from what the tree
and its servers count anyway: between two scrapes nothing is done for them.

Names follow Prometheus' rules (https://prometheus.io/docs/practices/naming/). The one label that
could grow is `service`: there are series of its own for the first 500 services of a tree, in its
order, and `ginkgo_services_untold` says how many more there are.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import ginkgo

from ..core import seen
from ..core.service import Service
from ..logs import setup as logs
from ..servers.traffic import BOUNDS, Durations
from . import probes
from .tally import MOST
from .usage import counters_of

if TYPE_CHECKING:
    from prometheus_client import Metric

    from .running import Running


class Told(NamedTuple):
    """One metric: its name as the format has it without a suffix, and what it means."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The name of its series."""
        return self.name + {"counter": "_total", "info": "_info"}.get(self.kind, "")


SERVICE: Final = ("service",)
STATES: Final = ("init", "starting", "ready", "degraded", "stopping", "stopped", "failed")

PROCESS: Final = (
    Told("ginkgo_build", "info", "What runs.", ("version", "python", "backend")),
    Told("ginkgo_start_time_seconds", "gauge", "When the instance started, since the epoch."),
    Told("ginkgo_ready", "gauge", "Whether /readyz says that it is ready."),
    Told("ginkgo_services", "gauge", "Services by their state.", ("state",)),
    Told("ginkgo_services_untold", "gauge", "Services that have no series of their own."),
    Told("ginkgo_metrics_complete", "gauge", "Whether the application's own metrics are of now."),
    Told("ginkgo_loop_lag_seconds", "histogram", "What a callback waited for the loop, by scrape."),
    Told("ginkgo_loop_unanswered_seconds", "gauge", "For how long the loop has not answered."),
    Told("ginkgo_loop_blocked", "counter", "How often the watchdog found the loop blocked."),
    Told("ginkgo_loop_blocked_longest_seconds", "gauge", "The longest time of that."),
    Told("ginkgo_config_generation", "gauge", "Which configuration is in effect, from 1."),
    Told("ginkgo_config_last_reload_successful", "gauge", "Whether the last reload went well."),
    Told(
        "ginkgo_config_last_reload_success_timestamp_seconds",
        "gauge",
        "When a reload last went well, since the epoch.",
    ),
    Told("ginkgo_config_reloads", "counter", "Reloads by what came of them.", ("result",)),
    Told("ginkgo_log_records", "counter", "Records that reached the root logger.", ("level",)),
    Told("ginkgo_log_records_dropped", "counter", "Log lines that could not be written."),
    Told(
        "ginkgo_control_requests",
        "counter",
        "Requests to the control plane by route.",
        ("command", "result"),
    ),
)

OF_SERVICE: Final = (
    Told("ginkgo_service_state", "gauge", "1 for the state it is in.", ("service", "state")),
    Told(
        "ginkgo_service_start_duration_seconds", "gauge", "How long its last start took.", SERVICE
    ),
    Told(
        "ginkgo_service_restarts",
        "counter",
        "Restarts by its supervisor, by what for.",
        ("service", "reason"),
    ),
    Told("ginkgo_tasks", "gauge", "Tasks that it has spawned and that run.", SERVICE),
    Told("ginkgo_task_failures", "counter", "Tasks that raised.", SERVICE),
)

OF_SERVER: Final = (
    ("active", Told("ginkgo_connections_active", "gauge", "Open connections.", SERVICE)),
    ("accepted", Told("ginkgo_connections_accepted", "counter", "Connections so far.", SERVICE)),
    ("lost", Told("ginkgo_connections_lost", "counter", "Those that the peer broke.", SERVICE)),
    ("cut", Told("ginkgo_connections_cut", "counter", "Those that a stop had to cut.", SERVICE)),
    ("errors", Told("ginkgo_handler_errors", "counter", "Handlers that raised.", SERVICE)),
    ("bytes_in", Told("ginkgo_received_bytes", "counter", "Bytes received.", SERVICE)),
    ("bytes_out", Told("ginkgo_sent_bytes", "counter", "Bytes sent.", SERVICE)),
    ("requests", Told("ginkgo_requests", "counter", "Requests that have ended.", SERVICE)),
)

ACCEPT_ERRORS: Final = Told(
    "ginkgo_accept_errors", "counter", "Failures to take in.", ("service", "errno")
)

DATAGRAMS: Final = {
    "active": Told("ginkgo_datagrams_active", "gauge", "Datagrams in work.", SERVICE),
    "accepted": Told("ginkgo_datagrams_accepted", "counter", "Datagrams so far.", SERVICE),
    "lost": None,  # a datagram has no connection
    "cut": Told("ginkgo_datagrams_cut", "counter", "Those that a stop had to cut.", SERVICE),
}
"""What counters of a server for datagrams are instead."""

WANT: Final = ("EMFILE", "ENFILE", "ENOMEM")
"""What mostly keeps a server from taking something in."""

DURATIONS: Final = Told(
    "ginkgo_request_duration_seconds", "histogram", "How long requests took.", SERVICE
)

METRICS: Final = (
    *PROCESS,
    *OF_SERVICE,
    *(told for _, told in OF_SERVER),
    ACCEPT_ERRORS,
    *(told for told in DATAGRAMS.values() if told is not None),
    DURATIONS,
)
"""All that there are."""

_BY_NAME: Final = {told.name: told for told in METRICS}


def families(running: Running, *, complete: bool) -> Iterator[Metric | None]:
    """The metrics of now. In the control thread; prometheus-client is there.

    Args:
        running: the tree.
        complete: whether the application's own metrics are told with them.

    Yields:
        None after each service, where others may have their turn; and in the end the families.
    """
    book = Book()
    _of_process(book, running, complete)
    services = list(seen.walk(running.root))
    _of_states(book, services)
    for service, path in islice(services, MOST):
        _of_service(book, service, path, running)
        yield None
    yield from book.families.values()
    for collector in _standard():
        yield from collector.collect()


class Book:
    """Families by their name, each made when it has a first sample."""

    def __init__(self) -> None:
        self.families: dict[str, Any] = {}

    def add(self, name: str, value: Any, *labels: str) -> None:
        """Add a sample of a counter or a gauge."""
        self._family(_BY_NAME[name]).add_metric(labels, value)

    def add_info(self, name: str, **values: str) -> None:
        """Add what is known about the instance."""
        self._family(_BY_NAME[name]).add_metric((), values)

    def add_durations(self, name: str, durations: Durations, *labels: str) -> None:
        """Add a histogram."""
        added, buckets = 0, []
        counts = list(durations.counts)
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], counts, strict=True):
            added += count
            buckets.append((bound, added))
        self._family(_BY_NAME[name]).add_metric(labels, buckets, durations.seconds)

    def _family(self, told: Told) -> Any:
        family = self.families.get(told.name)
        if family is None:
            from prometheus_client import core

            kinds: dict[str, Any] = {
                "counter": core.CounterMetricFamily,
                "gauge": core.GaugeMetricFamily,
                "histogram": core.HistogramMetricFamily,
                "info": core.InfoMetricFamily,
            }
            labels = () if told.kind == "info" else told.labels
            family = kinds[told.kind](told.name, told.help, labels=labels)
            self.families[told.name] = family
        return family


def _of_process(book: Book, running: Running, complete: bool) -> None:
    root = running.root
    state = {"state": seen.state_of(root), "stopping": running.stopping}
    started = time.time() - (time.monotonic() - running.began)
    book.add_info(
        "ginkgo_build",
        version=ginkgo.__version__,
        python=platform.python_version(),
        backend=root.backend_in_use.name,
    )
    book.add("ginkgo_start_time_seconds", started)
    book.add("ginkgo_ready", float(probes.ready(state).good))
    book.add("ginkgo_metrics_complete", float(complete))
    book.add_durations("ginkgo_loop_lag_seconds", running.tally.lag)
    book.add("ginkgo_loop_unanswered_seconds", running.tally.unanswered)
    if running.watchdog is not None:
        blocked = running.watchdog.status()
        book.add("ginkgo_loop_blocked", blocked["count"])
        book.add("ginkgo_loop_blocked_longest_seconds", blocked["longest"])
    _of_reloads(book, running)
    for level, count in running.records.by_level().items():
        book.add("ginkgo_log_records", count, level)
    book.add("ginkgo_log_records_dropped", logs.status().dropped)


def _of_reloads(book: Book, running: Running) -> None:
    reloader = running.reloader
    counts = dict(reloader.counts)
    book.add("ginkgo_config_generation", 1 + counts["done"] + counts["failed"])
    for result, count in counts.items():
        book.add("ginkgo_config_reloads", count, result)
    last = reloader.last
    book.add("ginkgo_config_last_reload_successful", float(not last or last["outcome"] == "done"))
    if reloader.succeeded_at is not None:
        at = reloader.succeeded_at
        book.add("ginkgo_config_last_reload_success_timestamp_seconds", at)


def _of_states(book: Book, services: Iterable[tuple[Service, str]]) -> None:
    count = dict.fromkeys(STATES, 0)
    total = 0
    for service, _ in services:
        count[seen.state_of(service)] += 1
        total += 1
    for state, number in count.items():
        book.add("ginkgo_services", number, state)
    book.add("ginkgo_services_untold", max(0, total - MOST))


def _of_service(book: Book, service: Service, path: str, running: Running) -> None:
    now = seen.state_of(service)
    for state in STATES:
        book.add("ginkgo_service_state", float(state == now), path, state)
    seconds = seen.field(service, "_start_seconds")
    if seconds is not None:
        book.add("ginkgo_service_start_duration_seconds", seconds, path)
    for reason, count in restarts_of(service).items():
        book.add("ginkgo_service_restarts", count, path, reason)
    book.add("ginkgo_tasks", len(seen.field(service, "_tasks") or ()), path)
    book.add("ginkgo_task_failures", running.tally.task_failures.get(path, 0), path)
    counters = counters_of(service)
    if counters is None:
        return
    instead: dict[str, Told | None] = DATAGRAMS if is_for_datagrams(service) else {}
    for key, usual in OF_SERVER:
        told = instead.get(key, usual)
        if told is not None and key in counters:
            book.add(told.name, counters[key], path)
    errors = object.__getattribute__(service, "__dict__").get("_accept_errnos")
    if errors is not None:
        for name, count in {**dict.fromkeys(WANT, 0), **errors.copy()}.items():
            book.add(ACCEPT_ERRORS.name, count, path, name)
    durations = getattr(service, "_durations", None)
    if isinstance(durations, Durations):
        book.add_durations(DURATIONS.name, durations, path)


def restarts_of(service: Service) -> dict[str, int]:
    """The restarts of a service by their reasons, with 0 for those that it may have.

    A series that begins with its first restart would not show that as an increase.
    """
    kinds = type(service).__mro__
    may_be = {
        "start": True,
        "task": True,
        "check": any("check" in kind.__dict__ for kind in kinds[: kinds.index(Service)]),
        "child": bool(seen.children_of(service)),
    }
    care = seen.field(service, "_care")
    counted = {} if care is None else care.reasons.copy()
    return {**{reason: 0 for reason, is_so in may_be.items() if is_so}, **counted}


def is_for_datagrams(service: Service) -> bool:
    """Whether a server takes datagrams in, and not connections."""
    return getattr(type(service), "_noun", None) == "datagram"


def theirs() -> list[Metric]:
    """The application's metrics: those of the library's default registry.

    In the tree's own thread: what the application has registered may be code of its own.
    """
    from prometheus_client import REGISTRY

    return list(REGISTRY.collect())


@cache
def _standard() -> tuple[Any, ...]:
    """What tells of the process and of Python; these read files, and take no lock."""
    from prometheus_client import PlatformCollector, ProcessCollector

    return ProcessCollector(registry=None), PlatformCollector(registry=None)
