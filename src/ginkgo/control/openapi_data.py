"""What the OpenAPI document says about each route beyond the table: parameters and shapes.

The shapes are those of `ginkgo.control.instance`. Of their keys only those are `required` that any
version gives; further ones may come.
"""

from __future__ import annotations

from typing import Any

from ginkgo.core.events import KINDS

from .instance import STATES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
SOME_TEXT: Schema = {"type": "string", "minLength": 1}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "integer", "minimum": 0, "maximum": 10**15}
LIMIT: Schema = {"type": "integer", "minimum": 0, "maximum": 1000}
FOR: Schema = {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 10 * 365 * 86_400}
LEVEL: Schema = {"type": "string", "enum": ["debug", "info", "warning", "error", "critical"]}
SECONDS: Schema = {"type": "number", "minimum": 0}
A_DAY: Schema = {"type": "number", "minimum": 0, "maximum": 86_400}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
STATE: Schema = {"type": "string"}

KINDS_TOLD = (
    f"{', '.join(KINDS)}, or one of the application's own. A reload of the process has outcome,"
    " changed, needs_restart, covered, refused, failed and by; set and log-level have outcome,"
    " name, by, and old, value and until, or refused; put-back has what, name, old, value and"
    " until; asked has action and by; lame-duck has seconds and by."
)

AFTERWARDS: dict[str, Schema] = {"until": TIME_OR_NULL, "back_to": {}, "back_until": TIME_OR_NULL}


def of(name: str) -> Schema:
    """Return the reference to a shape of SCHEMAS."""
    return {"$ref": f"#/components/schemas/{name}"}


def some(schema: Schema) -> Schema:
    """Return the shape of a list."""
    return {"type": "array", "items": schema}


def body(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the shape of what a POST takes: these, and nothing else."""
    return {**record(required, **properties), "additionalProperties": False}


def record(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the shape of an object."""
    shape: Schema = {"type": "object", "properties": properties}
    return {**shape, "required": list(required)} if required else shape


def answer(schema: str, /, required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the shape of an answer, which says of itself what it is."""
    return record(("schema", *required), schema={"const": schema}, **properties)


SCHEMAS: dict[str, Schema] = {
    "Error": record(
        ("error",),
        error=record(("what", "why", "do"), what=TEXT, why=TEXT, do=TEXT),
    ),
    "Trouble": record(
        ("path", "state"), path=TEXT, state=STATE, since=TIME_OR_NULL, why=TEXT_OR_NULL
    ),
    "ForNow": record(
        ("what", "name", "until"),
        what={"enum": ["set", "log-level"]},
        name=TEXT,
        value={},
        **AFTERWARDS,
    ),
    "Hello": answer(
        "ginkgo.hello/1",
        ("ginkgo", "protocol", "pid", "routes"),
        ginkgo=TEXT,
        protocol=COUNT,
        pid=COUNT,
        routes=some(TEXT),
    ),
    "Status": answer(
        "ginkgo.status/1",
        ("name", "pid", "state", "control", "actions"),
        name=TEXT,
        target=TEXT,
        pid=COUNT,
        state=STATE,
        since=TIME_OR_NULL,
        uptime=SECONDS,
        started_at=TIME,
        services=COUNT,
        not_ready=some(of("Trouble")),
        failed=some(of("Trouble")),
        last_reload={"type": ["object", "null"]},
        logfile=TEXT_OR_NULL,
        for_now=some(of("ForNow")),
        blocked={"type": ["object", "null"]},
        control=TEXT_OR_NULL,
        actions={"type": "boolean"},
    ),
    "Node": record(
        ("name", "path", "state", "children"),
        name=TEXT,
        path=TEXT,
        state=STATE,
        why=TEXT_OR_NULL,
        restarts=COUNT,
        tasks=COUNT,
        since=TIME_OR_NULL,
        kind=TEXT,
        children=some(of("Node")),
    ),
    "Tree": {"allOf": [of("Node"), answer("ginkgo.tree/1", stopping=TEXT_OR_NULL)]},
    "Dump": answer("ginkgo.dump/1", ("stacks",), stacks=some({"type": "object"})),
    "Wait": answer(
        "ginkgo.wait/1",
        ("reached", "timed_out", "state", "status"),
        reached={"type": "boolean"},
        timed_out={"type": "boolean"},
        state=STATE,
        status={"type": "object"},
    ),
    "Accepted": answer("ginkgo.accepted/1", ("accepted",), accepted={"const": True}),
    "Reload": answer("ginkgo.reload/1", ("outcome",), outcome=TEXT),
    "Action": answer(
        "ginkgo.action/1", ("action", "path", "outcome"), action=TEXT, path=TEXT, outcome=TEXT
    ),
    "Stop": {"anyOf": [of("Accepted"), of("Action")]},
    "ReloadOrAction": {"anyOf": [of("Reload"), of("Action")]},
    "Set": answer("ginkgo.set/1", ("value", "old"), value={}, old={}, **AFTERWARDS),
    "LogLevel": answer("ginkgo.log-level/1", ("level", "old"), level=TEXT, old=TEXT, **AFTERWARDS),
    "Gc": answer("ginkgo.gc/1", ("collected",), collected=COUNT),
    "Login": answer("ginkgo.login/1", ("actions",), actions={"type": "boolean"}),
    "Logout": answer("ginkgo.logout/1"),
    "Event": record(
        ("number", "kind", "path", "text"),
        number=COUNT,
        time={"type": ["string", "number"]},
        kind={"type": "string", "description": KINDS_TOLD},
        path=TEXT_OR_NULL,
        state=TEXT_OR_NULL,
        by={"type": "string", "description": "who or what has asked for it"},
        cause=some({"type": "object"}),
        text=TEXT,
    ),
    "Events": answer("ginkgo.events/1", ("events", "last"), events=some(of("Event")), last=COUNT),
    "Setting": record(
        ("name", "value", "default", "origin", "secret"),
        name=TEXT,
        value={},
        default={},
        origin=TEXT,
        help=TEXT,
        type=TEXT,
        secret={"type": "boolean"},
        restart_required={"type": "boolean"},
        monitored={"type": "boolean"},
        until=TIME_OR_NULL,
        covered={"type": ["object", "null"]},
    ),
    "Settings": answer("ginkgo.settings/1", ("settings",), settings=some(of("Setting"))),
    "Service": answer(
        "ginkgo.service/1",
        ("path", "name", "state", "settings", "children", "events"),
        path=TEXT,
        name=TEXT,
        kind=TEXT,
        state=STATE,
        why=TEXT_OR_NULL,
        since=TIME_OR_NULL,
        restarts=COUNT,
        failure={"type": ["object", "null"]},
        tasks=some({"type": "object"}),
        counters={"type": ["object", "null"]},
        address=TEXT_OR_NULL,
        settings=some(of("Setting")),
        children=some(TEXT),
        events=some(of("Event")),
    ),
    "Log": answer(
        "ginkgo.log/1",
        ("lines", "logfile"),
        lines=some(record(("text",), text=TEXT, time=TIME, level=TEXT, logger=TEXT, service=TEXT)),
        logfile=TEXT_OR_NULL,
    ),
    "Samples": answer(
        "ginkgo.samples/1", ("every", "samples"), every=SECONDS, samples=some({"type": "object"})
    ),
}
"""The shapes, by name."""

ANSWERS: dict[str, str] = {
    "GET /api/v1/": "Hello",
    "GET /api/v1/status": "Status",
    "GET /api/v1/tree": "Tree",
    "GET /api/v1/dump": "Dump",
    "GET /api/v1/wait": "Wait",
    "GET /api/v1/events": "Events",
    "GET /api/v1/settings": "Settings",
    "GET /api/v1/services/{path...}": "Service",
    "GET /api/v1/log": "Log",
    "GET /api/v1/samples": "Samples",
    "POST /api/v1/stop": "Stop",
    "POST /api/v1/reload": "ReloadOrAction",
    "POST /api/v1/restart": "Action",
    "POST /api/v1/set": "Set",
    "POST /api/v1/log-level": "LogLevel",
    "POST /api/v1/gc": "Gc",
    "POST /login": "Login",
    "POST /logout": "Logout",
}
"""What is answered, by route; an object where nothing stands here."""

STATUSES: dict[str, tuple[int, ...]] = {"POST /api/v1/stop": (202, 200)}
"""With which statuses, where those are not 200: a process that stops cannot tell that it has."""

STREAM = ("stream", {"type": "string", "enum": ["0", "1"]}, "1 for server-sent events")

BLOCKED = ("blocked", A_DAY, "seconds that its loop may be blocked for")

VERBOSE = ("verbose", TEXT, "with any value or none: a line for each thing that is looked at")

QUERIES: dict[str, tuple[tuple[str, Schema, str], ...]] = {
    "GET /livez": (BLOCKED, VERBOSE),
    "GET /healthz": (BLOCKED, VERBOSE),
    "GET /readyz": (
        ("degraded", {"type": "string", "enum": ["ok"]}, "ok: ready, though a service is down"),
        VERBOSE,
    ),
    "GET /api/v1/wait": (
        ("state", {"type": "string", "enum": list(STATES)}, "the root's state to wait for"),
        ("timeout", A_DAY, "seconds to wait"),
    ),
    "GET /api/v1/events": (
        ("after", NUMBER, "the number of the last event that is known"),
        ("path", TEXT, "of a service, and those under it"),
        ("kind", TEXT, f"of event: {', '.join(KINDS)}, or one of the application's own"),
        ("limit", LIMIT, "events at most"),
        STREAM,
    ),
    "GET /api/v1/log": (
        ("lines", LIMIT, "lines at most"),
        ("level", LEVEL, "the lowest level"),
        ("service", TEXT, "the path of a service, and those under it"),
        ("grep", {"type": "string", "maxLength": 200}, "a text in it; .* and | as in a pattern"),
        STREAM,
    ),
}
"""What may be asked for in the query: name, shape, meaning."""

BODIES: dict[str, Schema] = {
    "POST /api/v1/stop": body(path=SOME_TEXT),
    "POST /api/v1/reload": body(path=SOME_TEXT),
    "POST /api/v1/restart": body(("path",), path=SOME_TEXT),
    "POST /api/v1/set": body(("name", "value"), name=SOME_TEXT, value={}, **{"for": FOR}),
    "POST /api/v1/log-level": body(("logger", "level"), logger=TEXT, level=LEVEL, **{"for": FOR}),
    "POST /api/v1/gc": body(),
    "POST /login": body(("token",), token=TEXT),
    "POST /logout": body(),
}
"""What a POST takes."""

TEXTS: dict[str, str] = {
    "GET /": "text/html",
    "GET /static/{name}": "*/*",
    "GET /metrics": "text/plain",
    "GET /livez": "text/plain",
    "GET /readyz": "text/plain",
    "GET /healthz": "text/plain",
}
"""Routes whose answer is no JSON, and what it is."""

STREAMS = ("GET /api/v1/events", "GET /api/v1/log")
"""Routes that can answer with server-sent events."""
