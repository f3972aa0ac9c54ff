"""What operators do to a process, as events of its tree: what changed, since when, and by whom.

::

    reload     rate is 180, it was 100; by uid 0 (pid 12, ginkgoctl)
    set        rate is 180 for 600 s, it was 100; by 127.0.0.1:40312
    set        refused: rate must be a whole number, not ****; by 127.0.0.1:40312
    asked      stop; by SIGTERM

All of it is called in the tree's own thread. No secret is in it.
"""

from __future__ import annotations

from typing import Any

from ..config.display import MASK, show
from ..config.hidden import SHORTEST
from ..core.events import ASKED, LAME_DUCK, MESSAGE, PUT_BACK, RELOAD, record
from ..core.service import Service
from ..logs.hiding import hide, hide_all

NAME = 200
"""Characters of a name that nobody knows."""


def asked(service: Service, action: str, by: str) -> None:
    """Somebody has asked for something.

    Args:
        service: of which; the root, where it is about the whole process.
        action: `stop`, `restart` or `reload`.
        by: who or what: the name of a signal, or who is at the other end of a connection.
    """
    record(service, ASKED, None, {"action": action, "by": by}, f"{action} asked for; by {by}")


def lame_duck(root: Service, seconds: float, by: str) -> None:
    """It was told to stop, and serves for so many seconds still."""
    words = f"lame duck: it stops in {seconds:g} s, and serves until then; by {by}"
    record(root, LAME_DUCK, None, {"seconds": seconds, "by": by}, words)


def changed(
    root: Service,
    kind: str,
    told: dict[str, Any],
    seconds: float | None,
    by: str,
) -> None:
    """A setting, or the level of a logger, was changed for now.

    Args:
        kind: of event: `set` or `log-level`.
        told: `name`, `old`, `value`, `until`.
        seconds: that it holds; None for good.
    """
    told = hide_all(told)
    how_long = "" if seconds is None else f" for {seconds:g} s"
    words = f"{kind}: {told['name']} is {told['value']}{how_long}, it was {told['old']}; by {by}"
    record(root, kind, None, {"outcome": "done", **told, "by": by}, words)


def refused(root: Service, kind: str, name: str, given: Any, by: str, why: str) -> None:
    """Such a change was asked for, and not made.

    Args:
        kind: of event: `set` or `log-level`.
        name: of the setting or logger, as it was given.
        given: the value; it may be a secret that belongs elsewhere, and is not told.
        by: who has asked for it.
        why: it was not made.
    """
    name, why = hide(name[:NAME]), hide(why)
    for shown in (show(given), given if isinstance(given, str) else ""):
        if len(shown) >= SHORTEST:
            why = why.replace(shown, MASK)
    details = {"outcome": "refused", "name": name, "refused": [why[:MESSAGE]], "by": by}
    record(root, kind, None, details, f"{kind} of {name} refused: {why[:MESSAGE]}; by {by}")


def put_back(root: Service, told: dict[str, Any]) -> None:
    """The time of such a change is over.

    Args:
        told: `what` (the kind of event that it began with), `name`, `old`, `value`, `until`.
    """
    told = hide_all(told)
    until = f" until {told['until']}" if told["until"] else ""
    words = (
        f"{PUT_BACK}: {told['name']} is {told['value']} again{until}, it was {told['old']}:"
        " its time is over"
    )
    record(root, PUT_BACK, None, told, words)


def reloaded(root: Service, report: dict[str, Any], by: str) -> None:
    """A reload of the whole process is over."""
    keys = ("outcome", "changed", "needs_restart", "covered", "refused", "failed")
    details = {key: report[key] for key in keys}
    what = RELOAD if report["outcome"] == "done" else f"{RELOAD} {report['outcome']}"
    record(root, RELOAD, None, {**details, "by": by}, f"{what}: {summary(report)}; by {by}")


def summary(report: dict[str, Any]) -> str:
    """The report of a reload in a line."""
    parts = [hide(str(why)).partition("\n")[0] for why in report["refused"]]
    parts += [f"{each['path']}: {each['why']}" for each in report["failed"]]
    parts += [
        f"{each['name']} is {each['new']}, it was {each['old']}" for each in report["changed"]
    ]
    for key, when in (("needs_restart", "needs a restart"), ("covered", "when its set ends")):
        later = [f"{each['name']} ({each['old']} -> {each['new']})" for each in report[key]]
        if later:
            parts.append(f"{when}: {', '.join(later)}")
    return "; ".join(parts) or "nothing changed"
