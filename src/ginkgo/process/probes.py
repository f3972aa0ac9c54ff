"""Whether an instance lives, and whether it should get work: what the probes answer.

=======================  ===================================================================
the state is             ready?
=======================  ===================================================================
ready                    yes
degraded                 no: a service that should run is down. Yes, if whoever asks says so
starting                 no
stopping, a lame duck    no: it serves on, and nothing new should be sent to it
stopped, failed          no
=======================  ===================================================================

It lives unless its loop has been blocked for long. Nothing else counts: an instance whose database
is away is mended by no restart of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

BLOCKED: Final = 30.0
"""Seconds of a blocked loop, after which an instance does not live any more."""


class Verdict(NamedTuple):
    """What a probe answers.

    Attributes:
        good: whether all is well.
        said: that in a few words.
        reasons: the services that are not as they should be: the path and state of each, and why.
    """

    good: bool
    said: str
    reasons: tuple[tuple[str, str, str | None], ...] = ()

    def text(self, *, why: bool = True) -> str:
        """The answer's body.

        Args:
            why: tell the reasons in full; without it only which services, and their state.
        """
        lines = [self.said]
        for path, state, reason in self.reasons:
            lines.append(f"{path}: {state}: {reason}" if why and reason else f"{path}: {state}")
        return "".join(f"{line}\n" for line in lines)


class Check(NamedTuple):
    """One thing that a probe looks at.

    Attributes:
        name: what it is.
        failed: the state that is not good, or "failed" for that itself; None where all is well.
        why: what a stranger is not to learn of that.
    """

    name: str
    failed: str | None = None
    why: str | None = None

    @property
    def good(self) -> bool:
        """Whether all is well with it."""
        return self.failed is None

    def text(self, *, why: bool = True) -> str:
        """It in a line."""
        if self.good:
            return f"[+]{self.name} ok"
        reasons = (self.failed if self.failed != "failed" else None, self.why if why else None)
        told = ": ".join(each for each in reasons if each) or "reason withheld"
        return f"[-]{self.name} failed: {told}"


def ready(status: Mapping[str, Any], *, degraded_is_ready: bool = False) -> Verdict:
    """Whether the instance should get work.

    Args:
        status: what the instance says about itself.
        degraded_is_ready: also while a service of it is down.
    """
    state = status.get("state", "unknown")
    stopping = status.get("stopping")
    reasons = tuple(_troubles(status))
    if stopping:
        return Verdict(False, f"not ready: {stopping}", reasons)
    if _is_good(state, degraded_is_ready):
        return Verdict(True, state, reasons)
    return Verdict(False, f"not ready: {state}", reasons)


def ready_checks(
    status: Mapping[str, Any], services: Iterable[str], *, degraded_is_ready: bool = False
) -> Iterator[Check]:
    """Yield what :func:`ready` looks at: whether it stops, the tree's state, and each service.

    Args:
        status: what the instance says about itself.
        services: the paths of those that are told also where all is well, the root first; it is
            only told where something is known of it that the tree's state does not say.
        degraded_is_ready: as in `ready`.
    """
    state = status.get("state", "unknown")
    yield Check("shutdown", status.get("stopping"))
    yield Check("state", None if _is_good(state, degraded_is_ready) else state)
    checks = {path: Check(path) for path in services}
    root = next(iter(checks), None)
    for path, its, why in _troubles(status):
        if its != "ready":  # that one could not reload, and serves with what it had
            checks[path] = Check(path, its, why)
    yield from (check for path, check in checks.items() if path != root or not check.good)


def _is_good(state: str, degraded_is_ready: bool) -> bool:
    return state == "ready" or (state == "degraded" and degraded_is_ready)


def _troubles(status: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """The path of each service that is not as it should be, its state, and why."""
    for each in (*(status.get("not_ready") or ()), *(status.get("failed") or ())):
        yield each["path"], each["state"], each.get("why")


def live(status: Mapping[str, Any], limit: float = BLOCKED) -> Verdict:
    """Whether the instance lives.

    Args:
        status: what the instance says about itself.
        limit: seconds that its loop may be blocked for.
    """
    now = (status.get("blocked") or {}).get("now")
    if not now or now["seconds"] < limit:
        return Verdict(True, "alive")
    said = f"{now['loop']} is blocked for {now['seconds']:.0f} s"
    return Verdict(False, f"{said} by {now['path']}" if now.get("path") else said)


def live_checks(verdict: Verdict) -> Iterator[Check]:
    """Yield what :func:`live` looks at: the loop alone."""
    yield Check("loop", None if verdict.good else verdict.said)


def verbose(probe: str, checks: Iterable[Check], *, good: bool, why: bool = True) -> str:
    """The answer's body where each thing that was looked at is wanted, as Kubernetes tells it.

    Args:
        probe: its name.
        checks: what it has looked at.
        good: what it answers.
        why: tell the reasons in full.

    Source: https://kubernetes.io/docs/reference/using-api/health-checks/
    """
    lines = [check.text(why=why) for check in checks]
    lines.append(f"{probe} check {'passed' if good else 'failed'}")
    return "".join(f"{line}\n" for line in lines)
