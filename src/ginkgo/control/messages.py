"""Requests and answers of the API, and how a body is read.

Every answer is JSON. An error is `{"error": {"what": ..., "why": ..., "do": ...}}`: what happened,
why, and what to do next.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

JSON = "application/json"

PROTOCOL = 1
"""The API's version, in every answer: raised when an older client could misunderstand one."""

HEADERS = (
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
"""What every answer says, unless it says otherwise: nothing but the instance's own page is run."""

ASK_BODIES = "GET /api/v1/openapi.json tells what each request takes."

MAX_DEPTH = 32
"""How deeply a request's JSON may be nested."""


class Peer(NamedTuple):
    """Who asks, as the kernel knows it (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int
    gid: int
    name: str = "?"  # of the program; its own word, where pid, uid and gid are the kernel's

    def __str__(self) -> str:
        return f"uid {self.uid} (pid {self.pid}, {self.name})"


class Remote(NamedTuple):
    """Who asks over TCP."""

    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


class Request(NamedTuple):
    """An HTTP request, read completely."""

    method: str
    target: str
    headers: Mapping[str, str]  # names in lower case; several values of one name joined by ", "
    body: bytes
    peer: Peer | Remote | None = None


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON


class Rejection(Exception):
    """Raised by a check or a handler to answer with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


def reply(content: Mapping[str, Any], status: int = 200) -> Answer:
    """Return `content` as an answer in JSON, with an end of line for people who use curl."""
    # ASCII and no NaN: what is sent can be read by every parser.
    return Answer(status, json.dumps(content, allow_nan=False).encode("ascii") + b"\n")


def error(status: int, what: str, why: str, do: str, /, **more: Any) -> Answer:
    """Return an error: what happened, why, and what to do next.

    A command in `do` has TARGET where its target stands: `ginkgoctl` puts its own there.
    """
    return reply({**more, "error": {"what": what, "why": why, "do": do}}, status)


def stopped() -> Answer:
    """Return the answer of an instance that ends before it has another."""
    do = "`ginkgoctl TARGET status` says whether it runs again."
    return error(503, "The request was not finished", "The instance has stopped.", do)


def reject(status: int, what: str, why: str, do: str) -> NoReturn:
    """Raise the Rejection that answers with this error."""
    raise Rejection(error(status, what, why, do))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return which of the known words was meant, or which there are."""
    names = list(known)
    meant = difflib.get_close_matches(word, names, n=1)
    if meant:
        return f"Did you mean {meant[0]}?"
    return f"There are {', '.join(names)}." if names else "There is none."


def parse_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that a POST carries; an empty body is an empty object.

    Strict where the standard library is lenient: UTF-8 only, no NaN, no key twice, no deep nesting.

    Raises:
        Rejection: 415 for another content type, 400 for anything but such an object.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        # A few bytes that unpack to very many: nothing that comes in is unpacked.
        reject(
            415,
            "The request is compressed",
            "What comes in is not unpacked here.",
            "Send it without a Content-Encoding.",
        )
    if kind != JSON:
        # No form of a foreign page can send this type without asking first (CORS).
        reject(
            415,
            "The request is not JSON",
            f"A POST has to say Content-Type: {JSON}.",
            f"With curl: -H 'Content-Type: {JSON}' -d '{{}}'.",
        )
    if not request.body.strip():
        return {}
    why = f"It has to be an object, nested at most {MAX_DEPTH} deep."
    body: Any = None
    try:
        body = json.loads(
            request.body.decode("utf-8"),
            parse_constant=_no_constant,
            object_pairs_hook=_no_key_twice,
        )
    except RecursionError:
        pass  # the parser's own guard: far deeper than we allow
    except ValueError as problem:  # not JSON, not UTF-8, or a number of more than 4,300 digits
        why = f"It cannot be read: {str(problem)[:200]}."
    if not isinstance(body, dict) or deeper_than(body, MAX_DEPTH):
        reject(400, "The request's JSON is not acceptable", why, ASK_BODIES)
    return body


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON (RFC 8259, 6)")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def deeper_than(value: Any, depth: int) -> bool:
    """Whether JSON is nested more than `depth` deep; level by level, so that nothing recurses."""
    level = [value]
    for _ in range(depth):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return any(isinstance(one, dict | list) for one in level)
