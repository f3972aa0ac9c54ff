"""A request on its way through the API, and the route that it takes.

A route is a line of data: method, path, handler. A handler looks at its `Call` and returns what to
answer:

    an `Answer`     at once
    a `Stream`      an answer that goes on, for as long as the client stays
    None            later, through `call.answer()`, from any thread

Handlers run in the control thread, which must answer while the application's loop is blocked: they
never wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .door import UNIX, Door
from .messages import Answer, Request, reject
from .streams import Stream

if TYPE_CHECKING:
    from .api import Api

MAX_WAIT = 86_400.0
"""Seconds that one `wait` may hang on; whoever waits longer asks again."""


class Call:
    """A request on its way through the API, and the way back to whoever asked.

    Args:
        api: what it is asked of.
        request: what is asked.
        reply: takes the answer that comes later.
        door: where it came in.
    """

    __slots__ = (
        "_reply",
        "api",
        "body",
        "door",
        "on_gone",
        "query",
        "request",
        "route",
        "trusted",
        "values",
    )

    def __init__(
        self,
        api: Api,
        request: Request,
        reply: Callable[[Answer], None],
        door: Door = UNIX,
    ) -> None:
        self.api = api
        self.request = request
        self.door = door
        self.route: Route | None = None  # once it is found
        self.trusted = False  # whether it may see what is not for everybody; an open route asks
        self.query: dict[str, str] = {}
        self.values: dict[str, str] = {}  # what stood for the {names} in the route's path
        self.body: dict[str, Any] = {}
        self.on_gone: Callable[[], object] | None = None  # called if the client leaves before
        self._reply = reply

    def answer(self, answer: Answer) -> None:
        """Answer; from any thread. Only the first answer counts."""
        self._reply(answer)

    def audit(self, what: str) -> None:
        """Have it written into the log what was done, or asked for, and by whom."""
        if self.api.audit is not None:
            self.api.audit(f"{what} by {self.by}")

    @property
    def by(self) -> str:
        """Who asks: the user, process and program of a unix socket's peer, or the address."""
        return str(self.request.peer)

    @property
    def wants_stream(self) -> bool:
        """Whether the client asks for server-sent events: `?stream=1`, or by its Accept header."""
        accepted = self.request.headers.get("accept", "")
        return self.choice("stream", ("0", "1")) == "1" or "text/event-stream" in accepted

    @property
    def last_event_id(self) -> int | None:
        """The number of the last event that the client has had, which a stream goes on after."""
        text = self.request.headers.get("last-event-id", "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None

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
            why = f"It has to be 0 to {MAX_WAIT:.0f} seconds."
            reject(400, f"{name}={text!r} is no time", why, f"For example: {name}=30.")
        return value

    def choice(self, name: str, words: tuple[str, ...]) -> str | None:
        """Return which of some words the query gives as `name`; None where it gives none.

        Raises:
            Rejection: it is none of them.
        """
        text = self.query.get(name)
        if text is not None and text not in words:
            why = f"It is {' or '.join(words)}."
            reject(400, f"{name}={text!r} means nothing", why, f"Did you mean {name}={words[-1]}?")
        return text

    def count(self, name: str, default: int, most: int) -> int:
        """Return the whole number that the query gives as `name`.

        Raises:
            Rejection: it is not a whole number between 0 and `most`.
        """
        text = self.query.get(name)
        if text is None:
            return default
        short = text.isascii() and text.isdecimal() and len(text) < 19
        if not short or int(text) > most:
            why = f"It has to be 0 to {most}."
            reject(400, f"{name}={text!r} is no such number", why, f"The default is {default}.")
        return int(text)


Handler = Callable[[Call], Answer | Stream | None]


class Route(NamedTuple):
    """One thing that can be asked.

    In the path `{name}` stands for one segment, `{name...}` for all that follow. An `open` route is
    for everybody who reaches the address: no token is asked for, and a POST is no action. It may
    say more to those who are trusted (`call.trusted`).
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    open: bool = False
