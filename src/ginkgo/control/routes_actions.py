"""What can be done with an instance. Every one of these is a POST, and is told in the log.

What is done is done in the application's loop, and the answer comes from there: while that is
blocked it waits, and everybody else is answered.
"""

from __future__ import annotations

import os

from .call import Call, Route
from .instance import Told
from .messages import ASK_BODIES, Answer, error, reject, reply
from .routes_data import LEVELS, no_service

LONGEST = 10 * 365 * 86_400.0
"""Seconds that something may be set for: ten years."""

ASK_SETTINGS = "`ginkgoctl TARGET settings` shows what there is, and its value."
SEE_LOG = "`ginkgoctl TARGET logs --level error` shows what it said."


def stop(call: Call) -> Answer | None:
    """Stop one service, and answer when it has stopped; or ask for the stop of the process.

    The end of the process is the answer to that.
    """
    path = _path(call)
    if path is not None and "/" in path:
        _act(call, "stop", path)
        return None
    if path is not None and path not in call.api.instance.paths()[:1]:
        no_service(call, path)
    call.api.instance.stop(call.by)
    return reply({"schema": "ginkgo.accepted/1", "accepted": True, "pid": os.getpid()}, 202)


def restart(call: Call) -> None:
    """Stop one service and start it again; the answer comes when it is ready."""
    path = _path(call)
    if path is None:
        reject(
            400,
            "The body has no path",
            'It has to be {"path": "App/Db"}.',
            "`ginkgoctl TARGET restart` restarts the process.",
        )
    _act(call, "restart", path)


def reload(call: Call) -> None:
    """Read the configuration again and reload everything; or reload one service as it is."""
    path = _path(call)
    if path is not None:
        _act(call, "reload", path)
        return

    def done(report: Told) -> None:
        call.answer(report_answer(report))

    call.api.instance.reload(call.by, done)


def set_setting(call: Call) -> None:
    """Set a setting for now: `{"name": "rate", "value": "180", "for": 600}`."""
    name, seconds = _text(call, "name"), _seconds(call)
    if "value" not in call.body:
        why = 'It has to be {"name": ..., "value": ...}.'
        reject(400, "The body has no value", why, ASK_SETTINGS)

    def done(told: Told) -> None:
        # Only now: what was refused may be a secret.
        refused = "refused" in told
        what = "was refused"
        if not refused:
            what = f"is {told['value']!r}{_for(seconds)}, it was {told['old']!r}"
        call.audit(f"set: {name[:200]} {what}, asked for")
        call.answer(_changed(told, "ginkgo.set/1", f"{name[:200]} was not set", ASK_SETTINGS))

    call.api.instance.set(name, call.body["value"], seconds, call.by, done)


def log_level(call: Call) -> None:
    """Give a logger a level for now: `{"logger": "app.db", "level": "DEBUG", "for": 600}`."""
    logger, level, seconds = _text(call, "logger", ""), _text(call, "level"), _seconds(call)

    def done(told: Told) -> None:
        refused = "refused" in told
        what = "was refused"
        if not refused:
            what = f"is {told['level']}{_for(seconds)}, it was {told['old']}"
        call.audit(f"log-level: {logger[:200] or 'root'} {what}, asked for")
        do = f"Levels are {', '.join(LEVELS)}."
        call.answer(_changed(told, "ginkgo.log-level/1", "The level was not changed", do))

    call.api.instance.log_level(logger, level, seconds, call.by, done)


def gc(call: Call) -> None:
    """Collect garbage; the answer is how many objects there were."""
    call.api.instance.collect(lambda told: call.answer(reply({"schema": "ginkgo.gc/1", **told})))


# -- one service


def _act(call: Call, kind: str, path: str) -> None:
    def done(told: Told) -> None:
        call.audit(f"{kind} of {path}: {told['outcome']}, as asked for")
        call.answer(_acted(told))

    if not call.api.instance.act(kind, path, call.by, done):
        no_service(call, path)


def _acted(told: Told) -> Answer:
    content = {"schema": "ginkgo.action/1", **told}
    if told.get("outcome") == "done":
        return reply(content)
    what = f"The {told['action']} of {told['path']} failed"
    return error(500, what, f"{told['why']}", SEE_LOG, **content)


# -- what a body says


def _path(call: Call) -> str | None:
    return _text(call, "path") if call.body.get("path") is not None else None


def _text(call: Call, name: str, default: str | None = None) -> str:
    text = call.body.get(name, default)
    if not isinstance(text, str) or (default is None and not text):
        reject(400, f"The body has no {name}", f"{name} has to be a text.", ASK_BODIES)
    return text


def _seconds(call: Call) -> float | None:
    seconds = call.body.get("for")
    if seconds is None:
        return None
    good = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not good or not 0 < seconds <= LONGEST:
        why = "It has to be a number of seconds above 0, or null."
        reject(400, "`for` is no time", why, 'For ten minutes: {"for": 600, ...}.')
    return float(seconds)


def _for(seconds: float | None) -> str:
    return " until it ends" if seconds is None else f" for {seconds:g} s"


def _changed(told: Told, schema: str, what: str, do: str) -> Answer:
    if "refused" in told:
        return error(409, what, told["refused"], told["hint"] or do)
    return reply({"schema": schema, **told})


# -- a reload


def report_answer(report: Told) -> Answer:
    """Return the answer that carries a reload's report."""
    content = {"schema": "ginkgo.reload/1", **report}
    outcome = report.get("outcome")
    if outcome == "done":
        return reply(content)
    if outcome == "refused":
        why = "; ".join(report.get("refused", ())) or "The configuration is wrong."
        return error(
            409,
            "The reload was refused",
            why,
            "Mend it, and `ginkgoctl TARGET reload` again.",
            **content,
        )
    if outcome == "failed":
        why = "; ".join(f"{one['path']}: {one['why']}" for one in report.get("failed", ()))
        return error(500, "The reload failed in a service", why, SEE_LOG, **content)
    return error(
        409,
        "Not reloaded",
        "The instance is busy.",
        "Try again: `ginkgoctl TARGET reload`.",
        **content,
    )


ROUTES = (
    Route("POST", "/api/v1/stop", stop),
    Route("POST", "/api/v1/reload", reload),
    Route("POST", "/api/v1/restart", restart),
    Route("POST", "/api/v1/set", set_setting),
    Route("POST", "/api/v1/log-level", log_level),
    Route("POST", "/api/v1/gc", gc),
)
