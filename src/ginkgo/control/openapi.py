"""The API as an OpenAPI 3.1 document, made of the table of routes.

Whatever is in the table is in the document: a route that nobody described is there with its
docstring, and with the answers that every route can give.

Source: the OpenAPI Specification 3.1.1, whose schemas are JSON Schema 2020-12.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import ginkgo

from .call import Call, Route
from .messages import JSON, Answer, reply
from .openapi_data import (
    ANSWERS,
    BODIES,
    QUERIES,
    SCHEMAS,
    STATUSES,
    STREAMS,
    TEXTS,
    Schema,
    of,
)

ERRORS = {
    "400": "The request is malformed.",
    "401": "A token is needed here, and is missing or wrong.",
    "403": "Not from here: a foreign Host or Origin, or an address for reading only.",
    "404": "There is no such thing.",
    "405": "The method is not for this path.",
    "409": "Not now, or not so.",
    "413": "The request is too large.",
    "415": "The body of a POST has to be JSON.",
    "429": "Too many wrong tokens came from this address.",
    "431": "The request's head is too large.",
    "500": "It failed.",
    "503": "The instance stops, or has no room.",
}
"""What every route can answer besides what it is for."""

NAME = re.compile(r"\{(\w+)(?:\.\.\.)?\}")


def document(routes: Iterable[Route], url: str | None = None) -> dict[str, Any]:
    """Return the document for some routes.

    Args:
        url: where the API is; None where that is the unix socket.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = NAME.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = operation(route)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Ginkgo's control plane",
            "version": ginkgo.__version__,
            "summary": "What an instance says about itself, and what can be done with it.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
            },
            "responses": {
                status: {
                    "description": text,
                    "content": {JSON: {"schema": of("Error")}},
                }
                for status, text in ERRORS.items()
            },
        },
        "security": [{"token": []}, {}],
    }
    if url is not None:
        described["servers"] = [{"url": url.rstrip("/")}]
    return described


def operation(route: Route) -> dict[str, Any]:
    """Return what is said about one route."""
    name = f"{route.method} {route.path}"
    summary = (route.handler.__doc__ or name).strip().partition("\n")[0]
    good = {"description": summary, "content": content(name)}
    described: dict[str, Any] = {
        "operationId": identifier(route),
        "summary": summary,
        "parameters": [
            *(parameter(one, "path", {"type": "string", "minLength": 1}) for one in names(route)),
            *(parameter(one, "query", shape, text) for one, shape, text in QUERIES.get(name, ())),
        ],
        "responses": {
            **{str(status): good for status in STATUSES.get(name, (200,))},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in ERRORS},
        },
    }
    if name.startswith("GET /static/"):
        described["responses"]["304"] = {"description": "The client has it already."}
    if name in PROBES:
        described["responses"]["503"] = {"description": "Not so.", "content": content(name)}
    if route.open:
        described["security"] = [{}]
    if route.method == "POST":
        body = BODIES.get(name, {"type": "object"})
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": body}}}
    return described


PROBES = ("GET /livez", "GET /readyz", "GET /healthz")
"""They say no with 503 and their own words."""


def content(name: str) -> dict[str, Any]:
    """Return the shapes of what a route answers."""
    if name in TEXTS:
        return {TEXTS[name]: {"schema": {"type": "string"}}}
    shape: Schema = of(ANSWERS[name]) if name in ANSWERS else {"type": "object"}
    found: dict[str, Any] = {JSON: {"schema": shape}}
    if name in STREAMS:
        found["text/event-stream"] = {"schema": {"type": "string"}}
    return found


def names(route: Route) -> list[str]:
    """Return the names in a route's path."""
    return NAME.findall(route.path)


def identifier(route: Route) -> str:
    """Return a name for the route that is a name in every language.

    Example:
        POST /api/v1/log-level -> post_log_level
    """
    words = re.findall(r"\w+", route.path.removeprefix("/api/v1/"))
    if not words:
        words = ["page" if route.path == "/" else "api"]
    return "_".join([route.method.lower(), *words])


def parameter(name: str, place: str, schema: Schema, text: str = "") -> dict[str, Any]:
    """Return what is said about a parameter."""
    described = {"name": name, "in": place, "required": place == "path", "schema": schema}
    return {**described, "description": text} if text else described


def openapi(call: Call) -> Answer:
    """Describe this API in OpenAPI 3.1."""
    return reply(document(call.api.routes, call.door.url))


ROUTES = (Route("GET", "/api/v1/openapi.json", openapi),)
