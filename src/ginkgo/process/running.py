"""A tree that runs, as those who look at it from outside see it.

The control plane asks in its own thread: what it reads here is read without a lock, and what it
asks for is posted to the tree's loop.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core.service import Service
from .stacks import dump

if TYPE_CHECKING:
    from .reload import Reloader
    from .watchdog import Watchdog

UNDER_WAY = ("starting", "stopping")

LAME_DUCK = "lame duck"
"""It was told to stop, and serves still: see the setting `lameduck`."""


@dataclass
class Running:
    """One process's tree, and what is known about it.

    Attributes:
        name: the instance's name.
        target: what was named on the command line.
        root: the root of the tree.
        folder: the path of the runtime folder.
        folder_fd: the same, open.
        logfile: the log's path, or None in the foreground.
        reloader: what carries a reload out.
        about_to_stop: called before a stop begins.
        watchdog: what notices a blocked loop, unless that is turned off.
        stopping: ``"lame duck"`` from a SIGTERM until the tree begins to stop, then
            ``"stopping"``; None before. Where it is not None, nothing new should be sent here.
    """

    name: str
    target: str
    root: Service
    folder: str
    folder_fd: int
    logfile: str | None
    reloader: Reloader
    about_to_stop: Callable[[], object]
    watchdog: Watchdog | None = None
    stopping: str | None = None
    started_at: str = field(
        default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    began: float = field(default_factory=time.monotonic)
    _listeners: list[Callable[[str], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        watchers = self.root._watchers
        if watchers is None:
            watchers = self.root._watchers = []
        watchers.append(self._state_changed)

    def status(self) -> dict[str, Any]:
        """What the instance says about itself, as JSON-able data."""
        services = list(self.root.walk())
        return {
            "name": self.name,
            "target": self.target,
            "pid": os.getpid(),
            "state": self.root.state.current,
            "stopping": self.stopping,
            "uptime": time.monotonic() - self.began,
            "started_at": self.started_at,
            "services": len(services),
            "not_ready": [trouble(each) for each in services if each._state in UNDER_WAY],
            "failed": [trouble(each) for each in services if is_failed(each)],
            "last_reload": self.reloader.last,
            "blocked": None if self.watchdog is None else self.watchdog.status(),
            "logfile": self.logfile,
        }

    def tree(self) -> dict[str, Any]:
        """The root and those under it, as JSON-able data."""
        return branch(self.root)

    def dump(self) -> dict[str, Any]:
        """What every thread, greenlet and task does now, as JSON-able data."""
        return {
            "name": self.name,
            "pid": os.getpid(),
            "backend": self.root.backend_in_use.name,
            "blocked": None if self.watchdog is None else self.watchdog.status(),
            "stacks": dump(self.root),
        }

    def reload(self, done: Callable[[dict[str, Any]], None]) -> None:
        """Ask for a reload, from any thread; `done` gets its report in the tree's own."""
        self.root.backend_in_use.post(self.reloader.begin, done)

    def stop(self) -> None:
        """Ask for an orderly stop, from any thread."""
        self.about_to_stop()
        self.root.stop_soon()

    def on_state(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called with the root's state at every change of it."""
        self._listeners.append(callback)

    def _state_changed(self, root: Service) -> None:
        if root._state in UNDER_WAY:
            self.stopping = "stopping" if root._state == "stopping" else None
        for listener in tuple(self._listeners):
            listener(root.state.current)


def branch(service: Service) -> dict[str, Any]:
    """A service and those under it."""
    return {
        "name": service.name,
        "path": service.path,
        "state": service.state.current,
        "why": why(service),
        "restarts": service.restarts,
        "children": [branch(child) for child in service.children],
    }


def is_failed(service: Service) -> bool:
    """Whether something is wrong with a service itself: it is down, or its last reload failed."""
    return service._state == "failed" or service._is_down or service.reload_error is not None


def trouble(service: Service) -> dict[str, Any]:
    """A service that is not as it should be."""
    return {"path": service.path, "state": service._state, "why": why(service)}


def why(service: Service) -> str | None:
    """Why a service is not as it should be, in a line."""
    mend = service._mend
    if service.failure is not None and service._state == "failed":
        return str(service.failure) + (" (waits for its restart)" if mend else "")
    if mend is not None and service._is_down:
        return f"is restarted together with {mend.failure.path}"
    if service.reload_error is not None:
        error = service.reload_error
        return f"its last reload failed: {type(error).__name__}: {error}"
    if service._state == "starting":
        under_way = [child.path for child in service.children if child._state != "ready"]
        return f"waits for {', '.join(under_way)}" if under_way else "its do_start is not done"
    return None
