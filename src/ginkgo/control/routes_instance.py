"""What an instance says about itself, and about this API."""

from __future__ import annotations

import os

import ginkgo

from .call import Call, Route
from .instance import STATES
from .messages import PROTOCOL, Answer, reject, reply, suggestion


def hello(call: Call) -> Answer:
    """Say who answers, which protocol it speaks, and what else can be asked."""
    return reply(
        {
            "schema": "ginkgo.hello/1",
            "ginkgo": ginkgo.__version__,
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "routes": [f"{route.method} {route.path}" for route in call.api.routes],
        }
    )


def status(call: Call) -> Answer:
    """Say how the instance is."""
    call.api.sampling.asked()
    content = {"schema": "ginkgo.status/1", **call.api.instance.status()}
    return reply({**content, "control": call.api.url, "actions": call.door.actions})


def tree(call: Call) -> Answer:
    """Show every service."""
    return reply({"schema": "ginkgo.tree/1", **call.api.instance.tree()})


def dump(call: Call) -> Answer:
    """Show what every thread, greenlet and task does."""
    return reply({"schema": "ginkgo.dump/1", **call.api.instance.dump()})


def wait(call: Call) -> Answer | None:
    """Answer when the root is in a state: `?state=ready&timeout=30`."""
    state = call.query.get("state", "ready")
    if state not in STATES:
        why = "It cannot be waited for."
        reject(400, f"There is no state {state!r}", why, suggestion(state, STATES))
    return call.api.wait(call, state, call.seconds("timeout", 30.0))


ROUTES = (
    Route("GET", "/api/v1/", hello),
    Route("GET", "/api/v1/status", status),
    Route("GET", "/api/v1/tree", tree),
    Route("GET", "/api/v1/dump", dump),
    Route("GET", "/api/v1/wait", wait),
)
