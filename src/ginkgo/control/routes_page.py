"""The page for browsers, and the way in to it.

    GET  /               page/index.html
    GET  /static/NAME    every other file that was in page/ when this was first asked
    POST /login          {"token": ...} for a cookie, which the page's script gets from its fragment
    POST /logout         the cookie is good for nothing any more

The files are a fixed table, read once: what a client sends is looked up in it, and reaches no file
system. They hold no secret, so that they need no token.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache

from .call import Call, Route
from .messages import Answer, reject, reply

FOLDER = os.path.join(os.path.dirname(__file__), "page")

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served, by the end of its name, and as what."""


@cache
def files() -> dict[str, Answer]:
    """Return the page's files as answers, by name. Read once, at the start of a server."""
    found = {}
    for entry in sorted(os.scandir(FOLDER), key=lambda one: one.name):
        kind = TYPES.get(os.path.splitext(entry.name)[1])
        if kind is None or not entry.is_file():
            continue
        with open(entry.path, "rb") as file:
            body = file.read()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        # Kept by browsers, and asked for each time whether it is still the same.
        headers = (("ETag", tag), ("Cache-Control", "no-cache"))
        found[entry.name] = Answer(200, body, headers, kind)
    return found


def index(call: Call) -> Answer:
    """Show the page."""
    return served(call, "index.html")


def static(call: Call) -> Answer:
    """Return one of the page's files."""
    return served(call, call.values["name"])


def served(call: Call, name: str) -> Answer:
    """Return a file, or that the client has it already (RFC 9110, 13.1.2)."""
    answer = files().get(name)
    if answer is None:
        reject(404, f"There is no {name!r} here", "It is no file of the page.", "The page is at /.")
    tags = call.request.headers.get("if-none-match", "").split(",")
    if dict(answer.headers)["ETag"] in (tag.strip().removeprefix("W/") for tag in tags):
        return answer._replace(status=304, body=b"")
    return answer


def login(call: Call) -> Answer:
    """Take the token, once, for a cookie."""
    answer = reply({"schema": "ginkgo.login/1", "actions": call.door.actions})
    guard = call.door.guard
    if guard is None:
        return answer  # whoever is here is in
    token = call.body.get("token")
    if not isinstance(token, str):
        why = 'A login is {"token": "..."}.'
        reject(400, "There is no token in it", why, "The token is the setting control_token.")
    guard.check(token, call.request)
    call.audit("a login with the token came")
    return answer._replace(headers=(("Set-Cookie", guard.login()),))


def logout(call: Call) -> Answer:
    """End what a login began."""
    answer = reply({"schema": "ginkgo.logout/1"})
    guard = call.door.guard
    if guard is None:
        return answer
    return answer._replace(headers=(("Set-Cookie", guard.logout(call.request)),))


ROUTES = (
    Route("GET", "/", index, open=True),
    Route("GET", "/static/{name}", static, open=True),
    Route("POST", "/login", login, open=True),
    Route("POST", "/logout", logout, open=True),
)
