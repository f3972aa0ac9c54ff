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

from collections.abc import Mapping
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


def ready(status: Mapping[str, Any], *, degraded_is_ready: bool = False) -> Verdict:
    """Whether the instance should get work.

    Args:
        status: what the instance says about itself.
        degraded_is_ready: also while a service of it is down.
    """
    state = status.get("state", "unknown")
    stopping = status.get("stopping")
    troubles = [*(status.get("not_ready") or ()), *(status.get("failed") or ())]
    reasons = tuple((each["path"], each["state"], each.get("why")) for each in troubles)
    if stopping:
        return Verdict(False, f"not ready: {stopping}", reasons)
    if state == "ready" or (state == "degraded" and degraded_is_ready):
        return Verdict(True, state, reasons)
    return Verdict(False, f"not ready: {state}", reasons)


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
