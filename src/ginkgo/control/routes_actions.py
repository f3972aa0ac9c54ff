"""What can be done with an instance. Every one of these is a POST, and is told in the log."""

from __future__ import annotations

import os

from .call import Call, Route
from .instance import Report
from .messages import Answer, error, reply


def stop(call: Call) -> Answer:
    """Ask for the stop and say that it was asked for; its end is the end of this process."""
    call.api.instance.stop()
    return reply({"schema": "ginkgo.accepted/1", "accepted": True, "pid": os.getpid()}, 202)


def reload(call: Call) -> None:
    """Reload; the answer is the report."""

    def done(report: Report) -> None:
        call.answer(report_answer(report))

    call.api.instance.reload(done)


def report_answer(report: Report) -> Answer:
    """Return the answer that carries a reload's report."""
    content = {"schema": "ginkgo.reload/1", **report}
    outcome = report.get("outcome")
    if outcome == "done":
        return reply(content)
    if outcome == "refused":
        why = "; ".join(report.get("refused", ())) or "The configuration is wrong."
        return error(409, "The reload was refused", why, "Mend it, and reload again.", **content)
    if outcome == "failed":
        why = "; ".join(f"{one['path']}: {one['why']}" for one in report.get("failed", ()))
        return error(500, "The reload failed in a service", why, "See the log.", **content)
    return error(409, "Not reloaded", "The instance is busy.", "Try again later.", **content)


ROUTES = (
    Route("POST", "/api/v1/stop", stop),
    Route("POST", "/api/v1/reload", reload),
)
