"""What there is to see of a running tree: services, settings, events, log lines, samples.

Events and log lines can be had as a stream, too: what is kept comes first, then what happens.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

from ginkgo.core.events import KINDS
from ginkgo.logs.ring import Line

from .call import Call, Route
from .messages import Answer, Rejection, error, reject, reply, suggestion
from .streams import Stream

MOST = 1000
"""Events, or lines, in one answer."""

T = TypeVar("T")

LONGEST = 200
"""Characters of a pattern."""

COMPARED = 2000
"""Paths that one which is not there is compared with: others wait meanwhile."""

ASK_TREE = "`ginkgoctl TARGET tree` shows those that there are."


def service(call: Call) -> Answer:
    """Show everything about one service."""
    path = call.values["path"]
    found = call.api.instance.service(path)
    if found is None:
        no_service(call, path)
    return reply({"schema": "ginkgo.service/1", **found})


def no_service(call: Call, path: str) -> NoReturn:
    """Reject a path that no service has."""
    near = meant(path, call.api.instance.paths())
    do = f"Did you mean {' or '.join(near)}?" if near else ASK_TREE
    reject(404, f"There is no service {path}", "Nothing in the tree has this path.", do)


def meant(path: str, paths: list[str]) -> list[str]:
    """Return which paths may be meant: those that end so, or the one that is most like it."""
    end = f"/{path.lower()}"
    ends = [one for one in paths if f"/{one.lower()}".endswith(end)]
    near = ends or difflib.get_close_matches(path, paths[:COMPARED], n=1)
    if near:
        return near[:3]
    names = {one.rpartition("/")[2]: one for one in reversed(paths[:COMPARED])}
    return [names[name] for name in difflib.get_close_matches(path, names, n=1)]


def checked_path(call: Call, name: str) -> str | None:
    """Return the path of a service that the query gives as `name`; None where it gives none.

    A service that was removed is not in the tree any more, and what happened to it is to be found.

    Raises:
        Rejection: neither the tree nor an event, or line of the log, knows it.
    """
    path = call.query.get(name)
    if not path:
        return None
    instance = call.api.instance
    if path not in instance.paths():
        gone = {event["path"] for event in instance.events()}
        if name == "service":
            gone |= {line.service for line in instance.log(MOST) if line.service}
        if not any(_within(one, path) for one in gone):
            no_service(call, path)
    return path


def settings(call: Call) -> Answer:
    """List the settings, each with its value and where that comes from."""
    return reply({"schema": "ginkgo.settings/1", "settings": call.api.instance.settings()})


def samples(call: Call) -> Answer:
    """Give the samples of the last minutes."""
    call.api.sampling.asked()
    return reply({"schema": "ginkgo.samples/1", **call.api.instance.samples()})


# -- events


def events(call: Call) -> Answer | Stream:
    """List the last events, or go on with what happens: `?after=N&path=P&kind=K&limit=100`."""
    most = call.count("limit", 100, MOST)
    after = call.count("after", 0, 10**15)
    path, kind = checked_path(call, "path"), _checked_kind(call)

    def wanted(event: dict[str, Any]) -> bool:
        return (
            event["number"] > after
            and (path is None or _within(event["path"], path))
            and (kind is None or event["kind"] == kind)
        )

    if call.wants_stream:
        if call.last_event_id is not None:
            after = call.last_event_id
        return _follow_events(call, wanted, most)
    kept = call.api.instance.events()
    newest = kept[-1]["number"] if kept else 0
    found = list(filter(wanted, kept))
    # Those after a certain one from there on, so that whoever asks again misses none.
    chosen = found[:most] if "after" in call.query else last(found, most)
    return reply({"schema": "ginkgo.events/1", "events": chosen, "last": newest})


def _checked_kind(call: Call) -> str | None:
    kind = call.query.get("kind")
    if not kind:
        return None
    there = (event["kind"] for event in call.api.instance.events())
    known = list(dict.fromkeys((*KINDS, *there)))
    if kind not in known:
        what, why = f"There is no kind of event {kind!r}", "Nothing of that kind has happened."
        raise Rejection(error(404, what, why, suggestion(kind, known), kinds=known))
    return kind


def _follow_events(call: Call, wanted: Callable[[dict[str, Any]], bool], most: int) -> Stream:
    stream = Stream()
    sent = 0

    def tell(event: dict[str, Any]) -> None:
        nonlocal sent
        if event["number"] > sent:
            sent = event["number"]
            if wanted(event):
                stream.send(event, "event", event["number"])

    # First to follow, then to look: what happens in between is posted to this very thread.
    stream.on_gone = call.api.instance.follow_events(
        lambda event: call.api.loop.post(partial(tell, event))
    )
    kept = call.api.instance.events()
    resumed = call.last_event_id is not None or "after" in call.query
    found = list(filter(wanted, kept))
    for event in found if resumed else last(found, most):
        stream.send(event, "event", event["number"])
    sent = kept[-1]["number"] if kept else 0
    return stream


def _within(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above}/")


# -- the log


def log(call: Call) -> Answer | Stream:
    """Give the last lines of the log, or go on with those that come.

    `?lines=100&level=warning&service=App/Db&grep=timeout`; what is told of a line is what is known:
    lines of before this process was started have what the file says of them.
    """
    most = call.count("lines", 100, MOST)
    wanted = _filter_of(call)
    if call.wants_stream:
        return _follow_log(call, wanted, most)
    kept = call.api.instance.log(most)
    found = list(filter(wanted, kept))
    chosen = last(found, most)
    return reply(
        {
            "schema": "ginkgo.log/1",
            "lines": [line.to_dict() for line in chosen],
            "logfile": call.api.instance.logfile,
        }
    )


def _follow_log(call: Call, wanted: Callable[[Line], bool], most: int) -> Stream:
    stream = Stream()
    sent: set[int] = set()

    def tell(line: Line) -> None:
        if line.number not in sent and wanted(line):
            stream.send(line.to_dict(), "line", line.number)

    stream.on_gone = call.api.instance.follow_log(
        lambda line: call.api.loop.post(partial(tell, line))
    )
    after = call.last_event_id
    kept = call.api.instance.log(most)
    sent.update(line.number for line in kept)
    if after is None:
        found = list(filter(wanted, kept))
        found = last(found, most)
    else:
        found = [line for line in kept if line.number > after and wanted(line)]
    for line in found:
        stream.send(line.to_dict(), "line", line.number or None)
    return stream


def _filter_of(call: Call) -> Callable[[Line], bool]:
    checks: list[Callable[[Line], bool]] = []
    level, pattern = call.query.get("level"), call.query.get("grep")
    path = checked_path(call, "service")
    if level:
        checks.append(_at_least(level))
    if path:
        checks.append(lambda line: line.service is not None and _within(line.service, path))
    if pattern:
        found = _pattern(pattern)
        checks.append(lambda line: found(line.text))
    return lambda line: all(check(line) for check in checks)


def _at_least(level: str) -> Callable[[Line], bool]:
    known = logging.getLevelNamesMapping()
    number = known.get(level.upper())
    if number is None:
        why = "No line of the log has it."
        reject(400, f"There is no log level {level!r}", why, suggestion(level.lower(), LEVELS))
    return lambda line: line.level is None or known.get(line.level, number) >= number


LEVELS = ("debug", "info", "warning", "error", "critical")


def _pattern(text: str) -> Callable[[str], bool]:
    """What looks for a pattern: texts, `.` for any character, `.*` for any number, `|` for or.

    A whole regular expression could take time that grows beyond all bounds with a line's length,
    and this thread is everybody's. The parts between `.*` are looked for one after the other, each
    from where the one before ended, which is linear.
    """
    if len(text) > LONGEST:
        why = f"It has at most {LONGEST} characters."
        reject(400, "grep is too long", why, "Look for a part of it.")
    ways = [
        [re.compile(re.escape(part).replace(r"\.", "."), re.IGNORECASE) for part in way.split(".*")]
        for way in text.split("|")
    ]

    def found(line: str) -> bool:
        return any(_in_order(parts, line) for parts in ways)

    return found


def _in_order(parts: list[re.Pattern[str]], line: str) -> bool:
    at = 0
    for part in parts:
        match = part.search(line, at)
        if match is None:
            return False
        at = match.end()
    return True


def last(found: list[T], most: int) -> list[T]:
    """Return the last ones of a list."""
    return found[len(found) - min(most, len(found)) :]


ROUTES = (
    Route("GET", "/api/v1/services/{path...}", service),
    Route("GET", "/api/v1/settings", settings),
    Route("GET", "/api/v1/events", events),
    Route("GET", "/api/v1/log", log),
    Route("GET", "/api/v1/samples", samples),
)
