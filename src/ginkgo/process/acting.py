"""Acting on one service of a tree that runs, for somebody who asks from another thread.

What is asked for is done in the tree's own thread, as if the application had called it; whoever
asked is told there how it went. A tree that is blocked does it when it goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from ..core import lifecycle
from ..core.backend import Operation
from ..core.failure import text_of
from ..core.service import Service
from ..logs.hiding import hide
from . import deeds

logger = logging.getLogger(__name__)

Done = Callable[[dict[str, Any]], object]


def carry_out(root: Service, function: Callable[[], object]) -> None:
    """Call a function that may wait, in the tree's world. Called in the tree's own thread."""
    operation = Operation(root.backend_in_use, root, "change")
    operation.backend.background(operation, _call(function))


async def _call(function: Callable[[], object]) -> None:
    function()


def act(service: Service, path: str, kind: str, by: str, done: Done) -> None:
    """Stop, reload or restart a service. Called in the tree's own thread; returns at once.

    Args:
        service: which.
        path: of the service, for the report.
        kind: ``stop``, ``reload`` or ``restart``.
        by: who asks for it.
        done: gets the report: the outcome (``done`` or ``failed``), the state, and why it failed.
    """
    deeds.asked(service, kind, by)
    operation = Operation(service.backend_to_ask, service, kind)
    operation.backend.background(operation, _work(operation, service, path, kind, done))


async def _work(operation: Operation, service: Service, path: str, kind: str, done: Done) -> None:
    began = time.monotonic()
    state, why = service.state.current, None
    if kind == "reload" and service._state != "ready":
        done(_report(kind, path, "failed", state, f"{path} is {state}, and has nothing to reload"))
        return
    try:
        await _what(operation, service, kind)
    except (SystemExit, KeyboardInterrupt) as ending:
        service.end_with(ending)
        why = f"{type(ending).__name__}: the process stops"
    except BaseException as error:  # noqa: BLE001 - logged where it was raised; reported here
        operation.tell(error)
        why = f"{type(error).__name__}: {text_of(error)}"
    outcome = "done" if why is None else "failed"
    report = _report(kind, path, outcome, service.state.current, why)
    done(report | {"seconds": round(time.monotonic() - began, 3)})


def _what(operation: Operation, service: Service, kind: str) -> Coroutine[Any, Any, Any]:
    if kind == "stop":
        return service._stop(operation)
    if kind == "restart":
        return lifecycle.restart(operation, service)
    return lifecycle.reload(operation, service)


def _report(kind: str, path: str, outcome: str, state: str, why: str | None) -> dict[str, Any]:
    return {
        "action": kind,
        "path": path,
        "outcome": outcome,
        "state": state,
        "why": None if why is None else hide(why),
        "seconds": 0.0,
    }
