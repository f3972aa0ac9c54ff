"""What an instance says, in words that are fit for a terminal."""

from __future__ import annotations

from typing import Any

from ..control.instance import NO_WAY_BACK
from ..logs.escape import escape
from .output import duration, size


def text(value: Any) -> str:
    """Return what an instance said, fit for a terminal."""
    return escape(str(value))


def uptime(value: Any) -> str:
    """Return a number of seconds in words, and nothing for anything else."""
    return duration(value) if isinstance(value, int | float) else ""


def clock(moment: Any) -> str:
    """Return a time (RFC 3339) as a clock shows it; one of another day has its date."""
    from datetime import datetime

    try:
        then = datetime.fromisoformat(str(moment)).astimezone()
    except (ValueError, OverflowError):
        return ""
    today = then.date() == datetime.now(then.tzinfo).date()
    return f"{then:%H:%M:%S}" if today else f"{then:%Y-%m-%d %H:%M:%S}"


def since(moment: Any) -> str:
    """Return a time (RFC 3339) as a clock shows it, and how long ago it was; else nothing.

    Example: "since 12:03:11 (4 min 02 s)"; one of another day has its date.
    """
    from datetime import UTC, datetime

    shown = clock(moment)
    if not shown:
        return ""
    passed = datetime.now(UTC) - datetime.fromisoformat(str(moment)).astimezone()
    return f"since {shown} ({duration(max(0.0, passed.total_seconds()))})"


def memory(value: Any) -> str:
    """Return a number of bytes in words, and nothing for anything else."""
    return size(value) if isinstance(value, int | float) else ""


def percent(value: Any) -> str:
    """Return a number with its sign, and nothing for anything else."""
    return f"{value:.1f} %" if isinstance(value, int | float) else ""


def headline(picture: dict[str, Any]) -> str:
    """Return the state of an instance in words."""
    state = text(picture.get("state"))
    if not picture.get("running"):
        return "not running" if state == "stopped" else state
    if state != "unknown":
        if ending(picture):
            return f"{state}, and about to stop ({text(ending(picture))})"
        if state == "degraded":
            return "degraded: it runs, and a service of it is down"
        return (
            "ready, but a service failed" if state == "ready" and picture.get("failed") else state
        )
    letter = picture.get("process_state")
    if letter in ("T", "t"):
        return f"running, not answering (stopped: {letter})"
    return "running, not answering"


def ending(one: dict[str, Any]) -> str:
    """Return how an instance ends, where its state does not tell so: "lame duck"; else nothing."""
    return str(one.get("stopping") or "") if one.get("state") not in NO_WAY_BACK else ""


def reason(one: dict[str, Any]) -> str:
    """Return why a service is not as it should be, without its own path before it."""
    why = one.get("why")
    return "" if why is None else text(str(why).removeprefix(f"{one.get('path')}: "))
