"""The one API: what can be asked of a running instance, as a table of routes.

    ginkgoctl, curl, the page, Prometheus ──HTTP──> connection.py ──Request──> Api ──> Instance
                                                         <───────────Answer────┘

Only GET (and HEAD, which is the same without the body) and POST exist. A GET changes nothing. A
POST carries JSON, which no form of a foreign web page can send unasked.

To add something that can be asked is to write a handler and a line in the ROUTES of the module of
its kind, `routes_*.py`; those are joined here. See `call.py` for what a handler does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote

from . import (
    openapi,
    routes_actions,
    routes_data,
    routes_instance,
    routes_metrics,
    routes_page,
)
from .call import Call, Route
from .door import check_origin
from .guard import unauthorized
from .instance import NO_WAY_BACK, Instance, Status
from .messages import (
    Answer,
    Rejection,
    Request,
    error,
    parse_body,
    reject,
    reply,
    suggestion,
)
from .openapi_data import ANSWERS, BODIES, QUERIES
from .sampling import Sampling
from .streams import Stream

__all__ = ["ROUTES", "Answer", "Api", "Call", "Instance", "Loop", "Request", "Route", "Stream"]

ROUTES: tuple[Route, ...] = (
    *routes_instance.ROUTES,
    *routes_data.ROUTES,
    *routes_actions.ROUTES,
    *routes_metrics.ROUTES,
    *routes_page.ROUTES,
    *openapi.ROUTES,
)


class Loop(Protocol):
    """What the API needs of the thread it lives in."""

    def post(self, function: Callable[[], object]) -> None:
        """Run `function` soon in the control thread; from any thread."""

    def after(self, seconds: float, function: Callable[[], object]) -> Callable[[], None]:
        """Run `function` in the control thread in `seconds`; return what cancels it."""


class Api:
    """The routes, the checks before them, and the requests that wait for a state.

    Args:
        instance: whose API it is.
        loop: the control thread.
        routes: what can be asked.
        audit: told one line for each request that changes something.
    """

    def __init__(
        self,
        instance: Instance,
        loop: Loop,
        *,
        routes: Iterable[Route] | None = None,
        audit: Callable[[str], None] | None = None,
    ) -> None:
        self.instance = instance
        self.loop = loop
        self.routes = tuple(ROUTES if routes is None else routes)
        self.audit = audit
        self.url: str | None = None  # of the TCP address
        self.sampling = Sampling(loop, instance.sample)
        self.counts: dict[tuple[str, str], int] = {}  # requests by route and result
        self.collected: list[Any] = []  # the application's metrics, as they were last seen
        self._waiting: dict[Call, tuple[str, Callable[[], None]]] = {}

    def open(self) -> None:
        """Begin to hear of the instance's states."""
        self.instance.on_state(
            lambda state: self.loop.post(partial(self._state_is, state)),
        )
        if self.url is not None:
            self.loop.post(self.sampling.go_on)

    def handle(self, call: Call) -> Answer | Stream | None:
        """Answer a call, or return None if its answer comes later."""
        try:
            check_origin(call.request, call.door)  # first: for every method and path there is
            guard = call.door.guard
            call.trusted = guard is None or guard.knows(call.request)
            route = self._admitted(call)
            if route.method == "POST":
                call.body = parse_body(call.request)
            check_names(route, call)
            if route.method == "POST" and not route.open and self.audit is not None:
                path = call.body.get("path")
                about = f" {path[:200]}" if isinstance(path, str) else ""
                self.audit(f"{route.path}{about} asked for by {call.by}")
            return route.handler(call)
        except Rejection as rejection:
            if call.route is None:  # it was not even looked for, and is counted all the same
                with suppress(Rejection):
                    self._find(call)
            return rejection.answer

    def _admitted(self, call: Call) -> Route:
        """Return the call's route, if the door lets the client take it."""
        try:
            route = self._find(call)
        except Rejection:
            if call.trusted:
                raise
            route = None  # a stranger is not told what there is
        if not call.trusted and (route is None or not route.open):
            raise unauthorized("It is asked of everybody who comes by TCP.")
        assert route is not None  # noqa: S101 - one of the two has raised
        if route.method == "POST" and not route.open and not call.door.actions:
            reject(
                403,
                "Nothing can be done from here",
                "This address is for reading only.",
                "Use ginkgoctl on its machine, or set control_actions = True and restart.",
            )
        return route

    def close(self) -> None:
        """Answer those who still wait: nothing more will happen here."""
        self.sampling.end()
        for call in list(self._waiting):
            self._end_wait(call)

    def count(self, call: Call, status: int) -> None:
        """Count a request that is answered. In the control thread."""
        command = "unknown" if call.route is None else f"{call.route.method} {call.route.path}"
        key = command, result_of(status)
        self.counts[key] = self.counts.get(key, 0) + 1

    # -- routing

    def _find(self, call: Call) -> Route:
        try:
            path, _, query = call.request.target.partition("?")
            if not path.startswith("/"):  # the absolute form names a host, and Host is checked
                why = "It has to begin with /."
                reject(400, "The request's target is malformed", why, ASK_ROOT)
            segments = [unquote(part, errors="strict") for part in path.split("/")]
            pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=64)
            call.query = dict(pairs)
        except ValueError:  # too many fields, or no UTF-8
            reject(400, "The request's target is malformed", "It cannot be decoded.", ASK_ROOT)
        found = [
            (route, values)
            for route in self.routes
            if (values := match(route.path, segments)) is not None
        ]
        if not found:
            reject(404, f"There is no {path}", "No route has this path.", ASK_ROOT)
        method = "GET" if call.request.method == "HEAD" else call.request.method
        for route, values in found:
            if route.method == method:
                call.route, call.values = route, values
                return route
        raise Rejection(not_allowed(call.request.method, path, [r.method for r, _ in found]))

    # -- waiting for a state

    def wait(self, call: Call, state: str, timeout: float) -> Answer | None:
        """Answer when the root has come to `state`, can no longer come to it, or time is over."""
        if self._settled(state):
            return self._waited(state, timed_out=False)
        cancel = self.loop.after(timeout, lambda: self._end_wait(call, timed_out=True))
        self._waiting[call] = (state, cancel)
        call.on_gone = partial(self._forget, call)
        return None

    def _state_is(self, _state: str) -> None:
        # The state that was posted may be old by now: each wait looks for itself.
        for call, (state, _) in list(self._waiting.items()):
            if self._settled(state):
                self._end_wait(call)

    def _end_wait(self, call: Call, *, timed_out: bool = False) -> None:
        call.answer(self._waited(self._forget(call), timed_out=timed_out))

    def _forget(self, call: Call) -> str:
        state, cancel = self._waiting.pop(call)
        cancel()
        return state

    def _settled(self, state: str) -> bool:
        status = self.instance.status()
        ends = status.get("state") in NO_WAY_BACK or bool(status.get("stopping"))
        return is_in(status, state) or (state in ("starting", "ready") and ends)

    def _waited(self, state: str, *, timed_out: bool) -> Answer:
        status = self.instance.status()
        reached = is_in(status, state)
        return reply(
            {
                "schema": "ginkgo.wait/1",
                "reached": reached,
                "timed_out": timed_out and not reached,
                "state": status.get("state"),
                "status": status,
            }
        )


def result_of(status: int) -> str:
    """What a status means: `ok`, `refused` (it is not to be had, or not now) or `error`."""
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    no = status < HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.SERVICE_UNAVAILABLE
    return "refused" if no else "error"


def is_in(status: Status, state: str) -> bool:
    """Whether an instance is in a state. A lame duck serves on, and is not ready for anything."""
    return status.get("state") == state and not (state == "ready" and status.get("stopping"))


ASK_ROOT = "GET /api/v1/ names all routes."


def check_names(route: Route, call: Call) -> None:
    """Refuse a name that means nothing to the route: a misspelt filter would be none at all.

    A `path` that is not read would even make the stop of one service that of the process.

    Raises:
        Rejection: 400, and which name was meant.
    """
    name = f"{route.method} {route.path}"
    if name in BODIES:
        for given in sorted(call.body.keys() - BODIES[name]["properties"].keys()):
            refuse_name(given, list(BODIES[name]["properties"]), f"{name} takes no such key.")
    if name in BODIES or name in QUERIES or name in ANSWERS:
        known = [one for one, _, _ in QUERIES.get(name, ())]
        for given in sorted(call.query.keys() - set(known)):
            if given in BODIES.get(name, {}).get("properties", ()):
                what, why = f"{given!r} stands in the query", "It belongs into the body."
                reject(400, what, why, f'Send it as JSON: {{"{given}": ...}}.')
            refuse_name(given, known, f"{name} takes no such parameter.")


def refuse_name(given: str, known: list[str], why: str) -> NoReturn:
    """Reject a name that nobody knows."""
    do = suggestion(given, known) if known else "Leave it out: it takes none."
    reject(400, f"Nothing is called {given[:100]!r} here", why, do)


def match(pattern: str, segments: list[str]) -> dict[str, str] | None:
    """Return what stands for the names in `pattern`, or None if the path is another one.

    Example:
        match("/api/v1/service/{path...}", ["", "api", "v1", "service", "App", "Db"])
        == {"path": "App/Db"}
    """
    values: dict[str, str] = {}
    wanted = pattern.split("/")
    for place, part in enumerate(wanted):
        if part.endswith("...}"):
            rest = segments[place:]
            return {**values, part[1:-4]: "/".join(rest)} if any(rest) else None
        if place >= len(segments):
            return None
        if part.startswith("{"):
            if not segments[place]:
                return None
            values[part[1:-1]] = segments[place]
        elif part != segments[place]:
            return None
    return values if len(wanted) == len(segments) else None


def not_allowed(method: str, path: str, allowed: list[str]) -> Answer:
    """Return the 405 that RFC 9110, 15.5.6 wants: with what is allowed."""
    names = [*allowed, "HEAD"] if "GET" in allowed else allowed
    answer = error(
        405,
        f"{method} is not for {path}",
        f"It takes {' and '.join(names)}.",
        "Reading is GET, acting is POST.",
    )
    return answer._replace(headers=(("Allow", ", ".join(names)),))
