"""Acting on a part of an instance: one service, one setting, one logger."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ..control import manager
from ..control.client import Misunderstood, NoSuchThing, NotAnswering, Refused
from ..core.errors import ApplicationFailed, ConfigError, TemporaryFailure
from .ctl import locate
from .output import Output, duration, table
from .texts import clock, text

if TYPE_CHECKING:
    import argparse

    from ..process.instances import Found

PATIENCE = 60.0
"""Seconds for a stop or a start of a service, unless told otherwise."""

DONE = {"stop": "stopped", "restart": "restarted", "reload": "reloaded"}
AS_WANTED = {"stop": ("stopped",), "restart": ("ready",), "reload": ("ready",)}


def on_service(options: argparse.Namespace) -> int:
    """Stop, restart or reload one service of an instance."""
    out = Output(as_json=options.json, quiet=options.quiet)
    action, path = options.action, options.arguments[0]
    began = time.monotonic()
    what = f"the {action} of {path}"
    told, found, name = _post(options, f"/api/v1/{action}", {"path": path}, what)
    if told.get("accepted"):  # it is the root's path: the whole process stops
        from .lifecycle import stop_found

        return stop_found(options, found, name, asked=True)
    took = duration(time.monotonic() - began)
    if told.get("outcome") == "failed":
        raise ApplicationFailed(
            f"the {action} of {path} in {name} failed: {told.get('why')}",
            hint=f"see `ginkgoctl TARGET logs --service {path}`",
        )
    after = "" if told.get("state") in (None, *AS_WANTED[action]) else f"; it is {told['state']}"
    out.result(told, f"{DONE[action]} {text(path)} of {name} in {took}{text(after)}")
    return 0


def set_setting(options: argparse.Namespace) -> int:
    """Set a setting, for a time or until the instance ends."""
    out = Output(as_json=options.json, quiet=options.quiet)
    name, value = options.arguments
    body = {"name": name, "value": value, "for": options.lasting}
    told, _, _ = _post(options, "/api/v1/set", body, f"the setting of {name}")
    out.result(told, changed(told, name, value, options.lasting))
    return 0


def set_level(options: argparse.Namespace) -> int:
    """Set the level of a logger, for a time or until the instance ends."""
    out = Output(as_json=options.json, quiet=options.quiet)
    logger, level = options.arguments
    body = {"logger": logger, "level": level.upper(), "for": options.lasting}
    told, _, _ = _post(options, "/api/v1/log-level", body, f"the level of {logger or 'root'}")
    name = told.get("logger") or "root"  # which stands for the one without a name
    out.result(told, changed(told, f"the level of {name}", level.upper(), options.lasting))
    return 0


def changed(told: dict[str, Any], name: str, value: str, lasting: float | None) -> str:
    """Return what was changed, for how long, and what it goes back to, in a line."""
    new = shown(told.get("value", told.get("level", value)))
    what = f"{shown(told['old'])} -> {new}" if "old" in told else new
    until = "until it ends" if lasting is None else f"for {duration(lasting)}"
    return f"{text(name)}: {what}, {until}{afterwards(told)}"


def afterwards(told: dict[str, Any]) -> str:
    """Return what a change goes back to and when, and until when it is that; else nothing."""
    if told.get("back_to") is None or not told.get("until"):
        return ""
    line = f"; back to {shown(told['back_to'])} at {clock(told['until'])}"
    return f"{line}, until {clock(told['back_until'])}" if told.get("back_until") else line


def settings(options: argparse.Namespace) -> int:
    """Show the settings that are in effect, and where each comes from."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    manager.need_running(found, name)
    with manager.client_of(found, 10.0 if options.timeout is None else options.timeout) as client:
        told = client.get("/api/v1/settings")
    known = [one for one in told.get("settings") or () if isinstance(one, dict)]
    rows = [[text(one.get("name")), shown(one.get("value")), origin(one)] for one in known]
    out.result(told, *table(("NAME", "VALUE", "FROM"), rows))
    return 0


def origin(setting: dict[str, Any]) -> str:
    """Return where a setting's value comes from, until when, and what it covers till then."""
    line = text(setting.get("origin") or "default")
    until, below = setting.get("until"), setting.get("covered")
    if until:
        line += f" until {text(until)}"
    if isinstance(below, dict):
        line += f", covers {shown(below.get('value'))} from {text(below.get('origin'))}"
    return line


def shown(value: Any) -> str:
    """Return a setting's value, fit for a terminal."""
    return text(value if isinstance(value, str) else json.dumps(value))


def _post(
    options: argparse.Namespace,
    path: str,
    body: dict[str, Any],
    what: str,
) -> tuple[dict[str, Any], Found, str]:
    """Have something done; returns the answer, the instance, and what to call it.

    Args:
        what: it is, for an error that it took too long.
    """
    found, name = locate(options)
    manager.need_running(found, name)
    timeout = PATIENCE if options.timeout is None else options.timeout
    with manager.client_of(found, timeout) as client:
        client.get("/api/v1/", timeout=min(timeout, 2.0))  # is anybody there at all?
        try:
            return client.post(path, body), found, name
        except NotAnswering:
            raise TemporaryFailure(
                f"{what} in {name} is asked for, and not done after {timeout:g} s",
                hint="its loop may be blocked: see `ginkgoctl TARGET dump`; "
                "--timeout gives it longer",
            ) from None
        except Refused as refusal:
            if "outcome" in refusal.answer:
                return refusal.answer, found, name
            if isinstance(refusal, Misunderstood | NoSuchThing):
                raise
            raise ConfigError(str(refusal), hint=refusal.hint) from None
