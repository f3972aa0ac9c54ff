"""``ginkgoctl status``, ``reload`` and ``wait``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..control import manager
from ..core.errors import ApplicationFailed, ConfigError, GinkgoError, TemporaryFailure
from ..logs.escape import escape_lines
from .ctl import addressed, locate
from .output import Output, columns, cut, fold, paint
from .texts import headline, memory, percent, reason, since, text, uptime

if TYPE_CHECKING:
    import argparse

    from ..control.client import Client

COLOURS = {0: "green", 3: "red", 4: "red", 150: "yellow", 151: "red"}

LAST_LINES = 5
MOST_LINES = 15
"""Of the log, below the status; and where there are tracebacks among them."""

TROUBLES = 10
"""So many are named in the status; the tree has them all."""


def status(options: argparse.Namespace) -> int:
    """Show how an instance is; the exit status is LSB's."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    timeout = 5.0 if options.timeout is None else options.timeout
    more = More()
    also = None if options.json or options.quiet else more.ask
    picture = manager.status(found, name, timeout, also)
    code = manager.exit_status(picture)
    for key in ("why", "do"):
        if isinstance(picture.get(key), str):
            picture[key] = addressed(options, picture[key])
    lines = (addressed(options, line) for line in describe(picture, code))
    out.result(picture, *lines, *more.describe())
    return code


class More:
    """What people see below an instance's status: its tree, and the end of its log."""

    def __init__(self) -> None:
        self._tree: dict[str, Any] | None = None
        self._lines: list[str] = []

    def ask(self, client: Client) -> None:
        """Ask for it; an older instance may lack some of it, and the status stands without."""
        try:
            self._tree = client.get("/api/v1/tree")
            answer = client.get(f"/api/v1/log?lines={LAST_LINES}")
        except GinkgoError:
            return
        told = [one for one in answer.get("lines") or () if isinstance(one, dict)]
        self._lines = [str(one.get("text")) for one in told]

    def describe(self) -> Iterator[str]:
        """Yield it in lines."""
        if self._tree is not None:
            from .trees import drawn

            yield ""
            yield from drawn(self._tree, why=False)
        if self._lines:
            width = columns()
            yield ""
            parts = [part for line in self._lines for part in escape_lines(line).split("\n")]
            for part in parts[-MOST_LINES:]:
                shown = part if width is None else cut(part.expandtabs(), width)
                yield paint(shown, "dim")


def describe(picture: dict[str, Any], code: int) -> Iterator[str]:
    """Yield a status in lines for people."""
    yield f"{text(picture.get('name'))}: {paint(headline(picture), COLOURS[code])}"
    rows = {
        "why": picture.get("why"),
        "do": picture.get("do"),
        "state": state_since(picture),
        "pid": picture.get("pid"),
        "uptime": uptime(picture.get("uptime")),
        "target": picture.get("target"),
        "backend": picture.get("backend"),
        "services": picture.get("services"),
        "restarts": picture.get("restarts") or None,
        "cpu": percent(picture.get("cpu")),
        "memory": memory(picture.get("memory")),
        "control": picture.get("control"),
        "log": picture.get("logfile"),
        "reload": last_reload(picture.get("last_reload")),
        "blocked": blocked(picture.get("blocked")),
        "for now": for_now(picture.get("for_now")),
    }
    width = columns()
    for label, value in rows.items():
        if value not in (None, ""):
            yield from fold(f"  {label:<10}{text(value)}", width, 12)
    for label, key in (("not ready", "not_ready"), ("failed", "failed")):
        troubles = picture.get(key)
        if isinstance(troubles, list) and troubles:
            yield f"  {label}:"
            for one in troubles[:TROUBLES]:
                yield from fold(f"    {trouble(one)}", width, 6)
            if len(troubles) > TROUBLES:
                yield f"    and {len(troubles) - TROUBLES} more: see `ginkgoctl TARGET tree`"


def state_since(picture: dict[str, Any]) -> str:
    """Return since when an instance is in a state that is not the one to be in."""
    when = since(picture.get("since"))
    wrong = picture.get("state") not in ("ready", "unknown", "stopped")
    return f"{picture.get('state')} {when}" if when and wrong else ""


def trouble(one: Any) -> str:
    """Return a service that is not as it should be, in a line."""
    if not isinstance(one, dict):
        return text(one)
    told = [text(one[key]) for key in ("path", "state") if one.get(key)]
    when = since(one.get("since"))
    if when:
        is_down = one.get("state") in ("failed", "stopped")
        told.append(f"down {when}" if is_down else when)
    return "  ".join([*told, reason(one)]).rstrip()


def last_reload(report: Any) -> str:
    """Return what is worth telling about the last reload: that it was not done."""
    if not isinstance(report, dict) or report.get("outcome") in (None, "done"):
        return ""
    # What is wrong and where; the lines of the file that it concerns are for who reloads.
    why = "; ".join(one.partition("\n")[0] for one in reasons(report))
    return f"{report['outcome']} at {report.get('at')}: {why}"


def blocked(report: Any) -> str:
    """Return how the loop was blocked, if it was."""
    if not isinstance(report, dict) or not report.get("count"):
        return ""
    count, longest = report["count"], report.get("longest")
    times = "once" if count == 1 else f"{count} times"
    past = f"{times}, for up to {uptime(longest)}"
    now = report.get("now")
    if not isinstance(now, dict):
        return past
    who = ": ".join(str(now[key]) for key in ("path", "doing") if now.get(key)) or "something"
    return f"now, for {uptime(now.get('seconds'))}, by {who}; {past}"


def for_now(changes: Any) -> str:
    """Return what somebody has changed by `set` and `log-level`, and until when."""
    told = [one for one in changes or () if isinstance(one, dict)]
    return "; ".join(held(one) for one in told if "until" in one)


def held(change: dict[str, Any]) -> str:
    """Return one such change, and what comes after it."""
    line = f"{change.get('what')} {change.get('name')}"
    if change.get("value") is not None:
        line += f" {change['value']}"
    if not change["until"]:
        return line
    line += f" until {change['until']}"
    after = change.get("back_to")
    if after is None:
        return line
    until = f" until {change['back_until']}" if change.get("back_until") else ""
    return f"{line}, then {after}{until}"


def reasons(report: dict[str, Any]) -> list[str]:
    """Return why a reload did not go well; a syntax error has more lines than one."""
    refused = [escape_lines(str(one)) for one in report.get("refused") or ()]
    failed = [trouble(one) for one in report.get("failed") or ()]
    return [*refused, *failed]


def joined(why: list[str]) -> str:
    """Return one reason as it is, and several below each other."""
    return why[0] if len(why) == 1 else "".join(f"\n  {one}" for one in why)


# -- reload


def reload(options: argparse.Namespace) -> int:
    """Reload an instance and tell what came of it."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    timeout = manager.RELOAD_TIMEOUT if options.timeout is None else options.timeout
    report = manager.reload(found, name, timeout, out.say)
    outcome = report.get("outcome")
    out.result(report, *changes(report, name))
    why = joined(reasons(report))
    if outcome == "refused":
        raise ConfigError(
            f"the reload of {name} was refused, nothing has changed: {why}",
            hint="mend the configuration, and `ginkgoctl TARGET reload` again",
        )
    if outcome == "failed":
        raise ApplicationFailed(
            f"{name} has the new configuration, but a service could not reload: {why}",
            hint="see `ginkgoctl TARGET log`, and restart it if need be",
        )
    if outcome == "busy":
        raise TemporaryFailure(f"{name} was not reloaded: {why}", hint="try again")
    return 0


def changes(report: dict[str, Any], name: str) -> Iterator[str]:
    """Yield what a reload changed, in lines for people."""
    if report.get("outcome") not in ("done", "failed"):
        return
    labels = {
        "changed": "changed",
        "needs_restart": "needs a restart",
        "covered": "when its `ginkgoctl set` ends",
    }
    any_change = any(report.get(key) for key in labels)
    yield f"reloaded {name}" + ("" if any_change else ": nothing changed")
    for key, label in labels.items():
        for one in report.get(key) or ():
            origin = f" ({text(one['origin'])})" if one.get("origin") else ""
            old, new = text(one.get("old")), text(one.get("new"))
            yield f"  {label}: {text(one.get('name'))}: {old} -> {new}{origin}"


# -- wait


def wait(options: argparse.Namespace) -> int:
    """Wait until an instance is ready, or has ended."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    if options.wanted == "stopped":
        answer = manager.wait_stopped(found, name, options.timeout)
        out.result(answer, f"{name} is not running")
    else:
        answer = manager.wait_ready(found, name, options.timeout)
        out.result(answer, f"{name} is ready (pid {text(answer.get('pid'))})")
    return 0
