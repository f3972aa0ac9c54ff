"""Services as JSON-able data: the tree, what is wrong in it, and one service with all there is.

Called from the control thread, while the tree changes and may be blocked: what is read here is read
as in :mod:`ginkgo.core.seen`, without a lock and without the user's code.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from ..async_.stacks import task_titles
from ..core.failure import Failure
from ..core.seen import field, name_of, named, parent_of, state_of
from ..core.service import Service
from ..logs.hiding import hide
from ..logs.ring import rfc3339
from ..logs.tracebacks import PLUMBING
from .usage import counters_of

UNDER_WAY = ("starting", "stopping")
MESSAGE = 1000  # characters of an error
FRAMES = 50  # of a traceback, the innermost


def branch(service: Service, path: str | None = None) -> dict[str, Any]:
    """A service and those under it."""
    path = name_of(service) if path is None else path
    counted = counters_of(service)
    counters = {} if counted is None else {"counters": counted}  # only servers have some
    return {
        "name": name_of(service),
        "path": path,
        "kind": type(service).__name__,
        "state": state_of(service),
        "since": since(service),
        "why": why(service),
        "restarts": restarts(service),
        "tasks": len(field(service, "_tasks") or ()),
        **counters,
        "children": [branch(child, f"{path}/{name}") for child, name in named(service)],
    }


def since(service: Service) -> str | None:
    """When the state of a service changed last (RFC 3339); None if it never did."""
    seconds = field(service, "_since")
    return None if seconds is None else rfc3339(seconds)


def restarts(service: Service) -> int:
    """How often its supervisor has restarted it."""
    care = field(service, "_care")
    return 0 if care is None else care.restarts


def is_failed(service: Service) -> bool:
    """Whether something is wrong with a service itself: it is down, or its last reload failed."""
    return (
        field(service, "_state") == "failed"
        or field(service, "_is_down")
        or field(service, "reload_error") is not None
    )


def trouble(service: Service, path: str) -> dict[str, Any]:
    """A service that is not as it should be."""
    return {
        "path": path,
        "state": field(service, "_state"),
        "since": trouble_since(service),
        "why": why(service, path),
    }


def trouble_since(service: Service) -> str | None:
    """Since when a service is not as it should be (RFC 3339); its restarts do not count as an end.

    A service that fails, waits, starts and fails again is down since the first of it.
    """
    if field(service, "_is_down"):
        seconds = field(service, "_down_since")
    elif field(service, "_state") == "ready" and field(service, "reload_error") is not None:
        seconds = field(service, "_reload_failed_at")
    else:
        return since(service)
    return None if seconds is None else rfc3339(seconds)


def why(service: Service, path: str | None = None) -> str | None:
    """Why a service is not as it should be, in a line."""
    mend, failure, state = (field(service, each) for each in ("_mend", "failure", "_state"))
    if failure is not None and state == "failed":
        return hide(str(failure)) + (" (waits for its restart)" if mend else "")
    if mend is not None and field(service, "_is_down"):
        return f"is restarted together with {mend.failure.path}"
    error = field(service, "reload_error")
    if error is not None:
        text = hide(field(service, "_reload_text")[:MESSAGE])
        return f"its last reload failed: {type(error).__name__}: {text}"
    if state == "starting":
        own = f"{path}/" if path else ""
        under_way = [f"{own}{name}" for child, name in named(service) if not _is_up(child)]
        return f"waits for {', '.join(under_way)}" if under_way else "its do_start is not done"
    return None


def _is_up(service: Service) -> bool:
    return bool(field(service, "_state") == "ready")


def details(service: Service, path: str) -> dict[str, Any]:
    """One service, as far as the service itself knows."""
    return {
        "path": path,
        "name": name_of(service),
        "kind": type(service).__name__,
        "parent": None if parent_of(service) is None else path.rpartition("/")[0],
        "state": state_of(service),
        "why": why(service, path),
        "since": since(service),
        "restarts": restarts(service),
        "failure": failure_of(service),
        "last_failure": field(service, "_last_failure"),
        "tasks": [{"name": name} for name in task_titles(service)],
        "address": address_of(service),
        "children": [f"{path}/{name}" for _, name in named(service)],
    }


def failure_of(service: Service) -> dict[str, Any] | None:
    """Why a service failed last: the chain, the first cause last, and where in the user's code."""
    failure: Failure | None = field(service, "failure")
    if failure is None:
        return None
    chain = list(failure.chain())
    return {
        "chain": [
            {
                "path": each.path,
                "phase": each.phase,
                "error": type(each.error).__name__,
                "message": hide(each.text[:MESSAGE]),
            }
            for each in chain
        ],
        "traceback": hide(traceback_of(chain[-1])),
    }


def traceback_of(failure: Failure) -> str:
    """The frames of an error from the user's first one on, as Python shows them, and the error.

    No variable's value is among them.
    """
    frames = list(_frames(failure.error))
    ours = [module.partition(".")[0] in PLUMBING for _, _, _, module in frames]
    shown = frames[ours.index(False) :] if False in ours else frames
    lines = ["Traceback (most recent call last):"] if shown else []
    for file, line, function, _ in shown[-FRAMES:]:
        lines.append(f'  File "{file}", line {line}, in {function}')
        source = linecache.getline(file, line).strip()
        if source:
            lines.append(f"    {source}")
    return "\n".join([*lines, f"{type(failure.error).__name__}: {failure.text[:MESSAGE]}"])


def _frames(error: BaseException) -> Iterable[tuple[str, int, str, str]]:
    # By the base class: an exception's own __traceback__ may be a property.
    at: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    while at is not None:
        code = at.tb_frame.f_code
        module = str(at.tb_frame.f_globals.get("__name__", ""))
        yield code.co_filename, at.tb_lineno, code.co_name, module
        at = at.tb_next


def address_of(service: Service) -> str | None:
    """Where a server listens, or a client connects to; None where nothing is known of it."""
    own = object.__getattribute__(service, "__dict__")
    listener = own.get("_listener")
    address = getattr(listener, "address", None) or own.get("_address") or own.get("address")
    if address is None or not type(address).__module__.startswith("ginkgo."):
        return None
    return str(address)
