"""The one API: what can be asked of a running instance, as a table of routes.

    ginkgoctl, curl, the page, Prometheus ──HTTP──> connection.py ──Request──> Api ──> Instance
                                                         <───────────Answer────┘

A route is a line of data: method, path, handler. A handler looks at its `Call` and returns an
`Answer`, or None when the answer comes later, through `call.answer()`, from any thread. Handlers
run in the control thread, which must answer while the application's loop is blocked: they never
wait. What has to be done in the application's loop is posted to it by the `Instance`.

Only GET (and HEAD, which is the same without the body) and POST exist. A GET changes nothing. A
POST carries JSON, which no form of a foreign web page can send unasked.

To add something that can be asked is to write a handler and a line in ROUTES.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

import ginkgo

from .instance import NO_WAY_BACK, STATES, Instance, Report
from .messages import (
    PROTOCOL,
    Answer,
    Rejection,
    Request,
    check_origin,
    error,
    parse_body,
    reject,
    reply,
)

__all__ = ["ROUTES", "Answer", "Api", "Call", "Instance", "Loop", "Request", "Route"]

MAX_WAIT = 86_400.0
"""Seconds that one `wait` may hang on; whoever waits longer asks again."""


class Call:
    """A request on its way through the API, and the way back to whoever asked."""

    __slots__ = ("_reply", "api", "body", "on_gone", "query", "request", "values")

    def __init__(self, api: Api, request: Request, reply: Callable[[Answer], None]) -> None:
        self.api = api
        self.request = request
        self.query: dict[str, str] = {}
        self.values: dict[str, str] = {}  # what stood for the {names} in the route's path
        self.body: dict[str, Any] = {}
        self.on_gone: Callable[[], object] | None = None  # called if the client leaves before
        self._reply = reply

    def answer(self, answer: Answer) -> None:
        """Answer; from any thread. Only the first answer counts."""
        self._reply(answer)

    def seconds(self, name: str, default: float) -> float:
        """Return the number of seconds that the query gives as `name`.

        Raises:
            Rejection: it is not a number between 0 and MAX_WAIT.
        """
        text = self.query.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= MAX_WAIT:  # false for nan too
            reject(400, f"{name}={text!r} is no time", f"It has to be 0 to {MAX_WAIT:.0f} seconds.")
        return value


Handler = Callable[[Call], Answer | None]


class Route(NamedTuple):
    """One thing that can be asked.

    In the path `{name}` stands for one segment, `{name...}` for all that follow.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler


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
        hosts: the Host headers that are let in; None for a unix socket, whose file is the door and
            which no name can be rebound to.
        audit: told one line for each request that changes something.
    """

    def __init__(
        self,
        instance: Instance,
        loop: Loop,
        *,
        routes: Iterable[Route] | None = None,
        hosts: frozenset[str] | None = None,
        audit: Callable[[str], None] | None = None,
    ) -> None:
        self.instance = instance
        self.loop = loop
        self.routes = tuple(ROUTES if routes is None else routes)
        self.hosts = hosts
        self.audit = audit
        self._waiting: dict[Call, tuple[str, Callable[[], None]]] = {}

    def open(self) -> None:
        """Begin to hear of the instance's states."""
        self.instance.on_state(
            lambda state: self.loop.post(partial(self._state_is, state)),
        )

    def handle(self, call: Call) -> Answer | None:
        """Answer a call, or return None if its answer comes later."""
        try:
            check_origin(call.request, self.hosts)  # first: for every method and path there is
            route = self._find(call)
            if route.method == "POST":
                call.body = parse_body(call.request)
                if self.audit is not None:
                    self.audit(f"{route.path} asked for by {call.request.peer}")
            return route.handler(call)
        except Rejection as rejection:
            return rejection.answer

    def close(self) -> None:
        """Answer those who still wait: nothing more will happen here."""
        for call in list(self._waiting):
            self._end_wait(call)

    # -- routing

    def _find(self, call: Call) -> Route:
        try:
            parts = urlsplit(call.request.target)
            segments = [unquote(part, errors="strict") for part in parts.path.split("/")]
            call.query = dict(parse_qsl(parts.query, keep_blank_values=True, errors="strict"))
        except ValueError:  # of urlsplit, and as UnicodeDecodeError of unquote
            reject(400, "The request's target is malformed", "It cannot be decoded.")
        found = [
            (route, values)
            for route in self.routes
            if (values := match(route.path, segments)) is not None
        ]
        if not found:
            reject(404, f"There is no {parts.path}", "No route has this path.", ASK_ROOT)
        method = "GET" if call.request.method == "HEAD" else call.request.method
        for route, values in found:
            if route.method == method:
                call.values = values
                return route
        raise Rejection(not_allowed(call.request.method, parts.path, [r.method for r, _ in found]))

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
        now = self.instance.status().get("state", "")
        return now == state or (state in ("starting", "ready") and now in NO_WAY_BACK)

    def _waited(self, state: str, *, timed_out: bool) -> Answer:
        status = self.instance.status()
        reached = status.get("state") == state
        return reply(
            {
                "schema": "ginkgo.wait/1",
                "reached": reached,
                "timed_out": timed_out and not reached,
                "state": status.get("state"),
                "status": status,
            }
        )


ASK_ROOT = "GET /api/v1/ names all routes."


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


# -- the handlers


def hello(call: Call) -> Answer:
    """Say who answers, which protocol it speaks, and what else can be asked."""
    return reply(
        {
            "schema": "ginkgo.hello/1",
            "ginkgo": ginkgo.__version__,
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "routes": [f"{route.method} {route.path}" for route in call.api.routes],
        }
    )


def status(call: Call) -> Answer:
    """Say how the instance is."""
    return reply({"schema": "ginkgo.status/1", **call.api.instance.status()})


def tree(call: Call) -> Answer:
    """Show every service."""
    return reply({"schema": "ginkgo.tree/1", **call.api.instance.tree()})


def dump(call: Call) -> Answer:
    """Show what every thread, greenlet and task does."""
    return reply({"schema": "ginkgo.dump/1", **call.api.instance.dump()})


def stop(call: Call) -> Answer:
    """Ask for the stop and say that it was asked for; its end is the end of this process."""
    call.api.instance.stop()
    return reply({"schema": "ginkgo.accepted/1", "accepted": True, "pid": os.getpid()}, 202)


def reload(call: Call) -> None:
    """Reload; the answer is the report."""

    def done(report: Report) -> None:
        call.answer(report_answer(report))

    call.api.instance.reload(done)


def report_answer(report: Report) -> Answer:
    """Return the answer that carries a reload's report."""
    content = {"schema": "ginkgo.reload/1", **report}
    outcome = report.get("outcome")
    if outcome == "done":
        return reply(content)
    if outcome == "refused":
        why = "; ".join(report.get("refused", ())) or "The configuration is wrong."
        return error(409, "The reload was refused", why, "Mend it, and reload again.", **content)
    if outcome == "failed":
        why = "; ".join(f"{one['path']}: {one['why']}" for one in report.get("failed", ()))
        return error(500, "The reload failed in a service", why, "See the log.", **content)
    return error(409, "Not reloaded", "The instance is busy.", "Try again later.", **content)


def wait(call: Call) -> Answer | None:
    """Answer when the root is in a state: `?state=ready&timeout=30`."""
    state = call.query.get("state", "ready")
    if state not in STATES:
        reject(
            400, f"There is no state {state!r}", f"One of {', '.join(STATES)} can be waited for."
        )
    return call.api.wait(call, state, call.seconds("timeout", 30.0))


ROUTES = (
    Route("GET", "/api/v1/", hello),
    Route("GET", "/api/v1/status", status),
    Route("GET", "/api/v1/tree", tree),
    Route("GET", "/api/v1/dump", dump),
    Route("GET", "/api/v1/wait", wait),
    Route("POST", "/api/v1/stop", stop),
    Route("POST", "/api/v1/reload", reload),
)
