"""``ginkgoctl events``: what has happened in an instance, and with -f what happens next."""

from __future__ import annotations

import sys
from datetime import datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ..control import manager
from ..control.client import NoSuchThing, query
from ..core.errors import GinkgoError, UsageError
from .ctl import locate
from .output import SIGNS, Output, columns, cut, paint
from .texts import text

if TYPE_CHECKING:
    import argparse

PATH = "/api/v1/events"


def events(options: argparse.Namespace) -> int:
    """Print the last events, and with -f each one as it comes."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    manager.need_running(found, name)
    timeout = 10.0 if options.timeout is None else options.timeout
    wanted = {"limit": options.lines, "path": options.service, "kind": options.kind}
    try:
        with manager.client_of(found, timeout) as client:
            if not options.follow:
                for event in client.get(query(PATH, **wanted)).get("events") or ():
                    show(event, out)
                return 0
            from ..control.stream import Stream

            with Stream(client, query(PATH, stream=1, **wanted)) as stream:
                for message in stream.messages(sys.stdout):
                    show(message.data, out)
    except NoSuchThing as problem:
        raise of_kind(problem, options.kind) from None
    if manager.has_ended(found):
        out.say(f"{name} has ended")
    return 0


def of_kind(problem: NoSuchThing, kind: str) -> GinkgoError:
    """Return what to tell where there is no such thing: a kind is the value of an option."""
    kinds = problem.answer.get("kinds")
    if not isinstance(kinds, list):
        return problem
    from difflib import get_close_matches

    meant = get_close_matches(kind, map(str, kinds), n=1)
    hint = f"there are {', '.join(map(str, kinds))}"
    return UsageError(
        f"argument --kind: there is no kind of event {kind!r}",
        hint=f"did you mean {meant[0]}? T{hint[1:]}" if meant else hint,
    )


def show(event: dict[str, Any], out: Output) -> None:
    """Print one event."""
    out.stream({"schema": "ginkgo.event/1", **event}, line(event))


def line(event: dict[str, Any]) -> str:
    """Return an event as a line for people; one that says who did what is folded, and not cut."""
    begin = f"{at(event.get('time'))}  {text(event.get('path'))}  "
    width = columns()
    told = str(event.get("text") or event.get("kind"))
    what = text(told.replace(f"{event.get('path')}: ", "", 1))
    colour = SIGNS.get(str(event.get("state")), ("", "", "dim"))[2]
    if width is not None and width > 40 and event.get("by"):
        first, *more = wrap(what, width, initial_indent=begin, subsequent_indent=" " * 4)
        return "\n".join(
            [begin + paint(first[len(begin) :], colour), *(paint(each, colour) for each in more)]
        )
    shown = cut(what, None if width is None else max(0, width - len(begin)))
    return begin + paint(shown, colour)


def at(moment: Any) -> str:
    """Return a time (RFC 3339) as the log writes it: local, to the second."""
    try:
        return f"{datetime.fromisoformat(str(moment)).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return text(moment)
