"""What monitoring asks: the metrics, and the probes.

    GET /metrics   text for Prometheus, or OpenMetrics where that is asked for
    GET /livez     200 while the loop is not blocked for long; /healthz is the same, for old charts
    GET /readyz    200 while the instance should get work, else 503; why is in the body
                   each with `?verbose`: a line for each thing that was looked at

The metrics of Ginkgo are read here, in the control thread, and are told also while the
application's loop is blocked. Those that the application has made itself with prometheus-client are
collected in its own loop, for they may be code of its own; where the loop does not get round to it
in time they are told as they were when it last did, and `ginkgo_metrics_complete` is 0.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from ..process import probes
from .call import Call, Route
from .messages import Answer, error

logger = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"

PATIENCE = 0.08
"""Seconds that a scrape waits for the application's loop: all answers are there in 100 ms."""

SLICE = 0.005
"""Seconds of work until others have their turn."""

END = b"# EOF\n"
"""What ends a text of OpenMetrics, and only that."""


def livez(call: Call) -> Answer:
    """Say whether the process lives: `?blocked=30` seconds are the limit of a blocked loop."""
    limit = call.seconds("blocked", probes.BLOCKED)
    verdict = probes.live(call.api.instance.status(), limit)
    return _probed(call, verdict, probes.live_checks(verdict))


def readyz(call: Call) -> Answer:
    """Say whether the instance should get work; `?degraded=ok`: also while a service is down."""
    asked = call.choice("degraded", ("ok",)) == "ok"
    instance = call.api.instance
    status = instance.status()
    verdict = probes.ready(status, degraded_is_ready=asked)
    services = instance.paths() if call.trusted and "verbose" in call.query else ()
    return _probed(call, verdict, probes.ready_checks(status, services, degraded_is_ready=asked))


def _probed(call: Call, verdict: probes.Verdict, checks: Iterable[probes.Check]) -> Answer:
    # A stranger learns which services have trouble, and not what their errors say.
    why = call.trusted
    if "verbose" in call.query:  # whatever it says, as in Kubernetes
        name = call.route.path.strip("/") if call.route is not None else ""
        text = probes.verbose(name, checks, good=verdict.good, why=why)
    else:
        text = verdict.text(why=why)
    body = text.encode("utf-8", "backslashreplace")
    return Answer(200 if verdict.good else 503, body, content_type=TEXT)


def metrics(call: Call) -> Answer | None:
    """Tell the metrics, in the format that the client asks for."""
    try:
        import prometheus_client  # noqa: F401 - at the first scrape: it takes a while
    except ImportError:
        return error(
            501,
            "There are no metrics",
            "They need prometheus-client, which is not installed.",
            'pip install "ginkgo[metrics]"',
        )
    _Scrape(call).begin()
    return None


class _Scrape:
    """One scrape: our metrics, and the application's if its loop gets round to them.

    The tree may be large: after each slice the others have their turn.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._loop = call.api.loop
        self._cancel: Callable[[], None] = lambda: None
        self._steps: Iterator[Answer | None] | None = None
        call.on_gone = self._end

    def begin(self) -> None:
        """Ask the application's loop; go on at once where it is blocked."""
        if self._call.api.instance.ask_loop(self._collect):
            self._cancel = self._loop.after(PATIENCE, self._late)
        else:
            self._late()

    def _late(self) -> None:
        self._tell(self._call.api.collected, complete=False)

    def _collect(self) -> None:
        """In the application's loop."""
        from ..process.metrics import theirs

        found: list[Any] = []
        complete = True
        try:
            found = theirs()
        except Exception:  # users' code: told, and the rest of the scrape goes out without theirs
            logger.exception("/metrics: a collector of the application's raised")
            complete = False
        self._loop.post(lambda: self._collected(found, complete))

    def _collected(self, found: list[Any], complete: bool) -> None:
        if complete:
            self._call.api.collected = found  # also where it is too late for this scrape
        self._tell(found, complete)

    def _tell(self, found: list[Any], complete: bool) -> None:
        if self._steps is None:
            self._cancel()
            own = self._call.api.instance.metrics(complete=complete)
            self._steps = told(
                chain(own, requests(self._call.api.counts)),
                found,
                self._call.request.headers.get("accept", ""),
            )
            self._go_on()

    def _go_on(self) -> None:
        answer = next(self._steps or iter(()), None)
        if answer is not None:
            self._call.answer(answer)
        elif self._steps is not None:
            self._loop.post(self._go_on)

    def _end(self) -> None:
        self._cancel()
        self._steps = iter(())


def requests(counts: dict[tuple[str, str], int]) -> Iterator[Any]:
    """The metrics of the control plane itself."""
    from ..process.metrics import Book

    book = Book()
    for (command, result), count in counts.items():
        book.add("ginkgo_control_requests", count, command, result)
    yield from book.families.values()


def told(own: Iterable[Any], others: Iterable[Any], accept: str) -> Iterator[Answer | None]:
    """Write families in the format that an Accept header asks for.

    Of two families with one name the first is told.

    Args:
        own: those of ours, with None in between.
        others: those of the application's.
        accept: the header.

    Yields:
        None where others may have their turn; the answer in the end.
    """
    from prometheus_client.exposition import choose_encoder

    encoder, kind = choose_encoder(accept)
    families: dict[str, Any] = {}
    began = time.monotonic()
    for family in chain(own, others):
        if family is not None:
            families.setdefault(family.name, family)
        elif time.monotonic() - began > SLICE:
            yield None
            began = time.monotonic()
    body = bytearray()
    for family in families.values():
        try:
            body += encoder(_One(family)).removesuffix(END)
        except ValueError as problem:  # OpenMetrics is strict, and the application's may not be
            why = f"{family.name} cannot be told: {problem}."
            yield error(500, "The metrics cannot be told", why, "Ask for text/plain.")
            return
        if time.monotonic() - began > SLICE:
            yield None
            began = time.monotonic()
    if kind.startswith("application/openmetrics-text"):
        body += END
    yield Answer(200, bytes(body), content_type=kind)


class _One(NamedTuple):
    """One family, as the library's encoders want it."""

    family: Any

    def collect(self) -> Iterator[Any]:
        """Give it."""
        yield self.family


ROUTES = (
    Route("GET", "/metrics", metrics),
    Route("GET", "/livez", livez, open=True),
    Route("GET", "/readyz", readyz, open=True),
    Route("GET", "/healthz", livez, open=True),
)
