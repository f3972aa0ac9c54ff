"""What monitoring asks: the metrics, and the probes.

    GET /metrics   text for Prometheus, or OpenMetrics where that is asked for
    GET /livez     200 while the loop is not blocked for long; /healthz is the same, for old charts
    GET /readyz    200 while the instance should get work, else 503; why is in the body

The metrics of Ginkgo are read here, in the control thread, and are told also while the
application's loop is blocked. Those that the application has made itself with prometheus-client are
collected in its own loop, for they may be code of its own; where the loop does not get round to it
in time they are left out, and `ginkgo_metrics_complete` is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..process import probes
from ..process.tally import WAIT
from .call import Call, Route
from .messages import Answer, error

TEXT = "text/plain; charset=utf-8"


def livez(call: Call) -> Answer:
    """Say whether the process lives: `?blocked=30` seconds are the limit of a blocked loop."""
    limit = call.seconds("blocked", probes.BLOCKED)
    return _probed(call, probes.live(call.api.instance.status(), limit))


def readyz(call: Call) -> Answer:
    """Say whether the instance should get work; `?degraded=ok`: also while a service is down."""
    asked = call.query.get("degraded") == "ok"
    return _probed(call, probes.ready(call.api.instance.status(), degraded_is_ready=asked))


def _probed(call: Call, verdict: probes.Verdict) -> Answer:
    # A stranger learns which services have trouble, and not what their errors say.
    body = verdict.text(why=call.trusted).encode("utf-8", "backslashreplace")
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
    scrape = _Scrape(call)
    return scrape.begin()


class _Scrape:
    """One scrape: our metrics, and the application's if its loop gets round to them."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._instance = call.api.instance
        self._cancel: Callable[[], None] = lambda: None
        self._over = False

    def begin(self) -> Answer | None:
        """Ask the application's loop; answer at once where it is blocked."""
        if not self._instance.ask_loop(self._collect):
            return self._answer(None)
        if not self._over:
            self._cancel = self._call.api.loop.after(WAIT, lambda: self._finish(None))
            self._call.on_gone = self._give_up
        return None

    def _collect(self) -> None:
        """In the application's loop."""
        from ..process.metrics import theirs

        found: list[Any] | None = None
        try:
            found = theirs()
        except Exception:  # noqa: BLE001 - a collector of the application's; told by the metrics
            found = None
        self._call.api.loop.post(lambda: self._finish(found))

    def _finish(self, found: list[Any] | None) -> None:
        if not self._over:
            self._give_up()
            self._call.answer(self._answer(found))

    def _give_up(self) -> None:
        self._over = True
        self._cancel()

    def _answer(self, found: list[Any] | None) -> Answer:
        return rendered(
            [*self._instance.metrics(complete=found is not None), *(found or ())],
            self._call.request.headers.get("accept", ""),
        )


class _Collected:
    """Families as the library's encoders want them."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> Iterator[Any]:
        """Each family once: of two with one name the first."""
        seen: set[str] = set()
        for family in self._families:
            if family.name not in seen:
                seen.add(family.name)
                yield family


def rendered(families: list[Any], accept: str) -> Answer:
    """Return families in the format that an Accept header asks for."""
    from prometheus_client.exposition import choose_encoder

    encoder, kind = choose_encoder(accept)
    try:
        body: bytes = encoder(_Collected(families))
    except ValueError as problem:  # OpenMetrics is strict, and the application's may not be
        return error(500, "The metrics cannot be told", f"{problem}.", "Ask for text/plain.")
    return Answer(200, body, content_type=kind)


ROUTES = (
    Route("GET", "/metrics", metrics),
    Route("GET", "/livez", livez, open=True),
    Route("GET", "/readyz", readyz, open=True),
    Route("GET", "/healthz", livez, open=True),
)
