"""A tree that runs, as those who look at it from outside see it.

The control plane asks in its own thread: what it reads here is read without a lock, and what it
asks for is posted to the tree's loop.
"""

from __future__ import annotations

import gc
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import ginkgo

from ..core import seen
from ..core.errors import GinkgoError
from ..core.events import LOG_LEVEL, SET
from ..core.service import Service
from ..logs.before import lines_before
from ..logs.hiding import hide, hide_all
from ..logs.levels import ROOT
from ..logs.records import Records
from ..logs.ring import Line, Ring
from . import deeds
from .acting import act, carry_out
from .for_now import ForNow
from .news import News
from .picture import UNDER_WAY, branch, details, is_failed, restarts, since, trouble, why
from .places import is_config_file
from .poster import Poster
from .stacks import dump
from .tally import Tally
from .usage import Usage, counters_of
from .values import all_settings, settings_of

if TYPE_CHECKING:
    from ..servers.listen import Listener
    from .for_now import Configure
    from .reload import Reloader
    from .watchdog import Watchdog

__all__ = ["LAME_DUCK", "Running", "branch", "is_failed", "restarts", "trouble", "why"]

Done = Callable[[dict[str, Any]], object]

EVENTS = 50  # of one service that are told with it

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
        log_before: whether what that file holds of before is known to be this instance's.
        reloader: what carries a reload out.
        about_to_stop: called before a stop begins.
        configure: carries out a change of the settings, with all that hangs on them.
        ring: the last log lines.
        records: how many log records there were.
        watchdog: what notices a blocked loop, unless that is turned off.
        control_listener: what listens at the control address already, if anything does.
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
    configure: Configure
    ring: Ring = field(default_factory=Ring)
    records: Records = field(default_factory=Records)
    watchdog: Watchdog | None = None
    control_listener: Listener | None = None
    log_before: bool = True
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
        backend = self.root.backend_in_use
        self._poster = Poster(backend)
        self.news = News(self.root)
        self.tally = Tally(self.root, self._poster.post)
        self.usage = Usage(self.root, self._poster.post)
        self.for_now = ForNow(self.root, self.configure)
        self.reloader.listeners.append(self._reloaded)

    def close(self) -> None:
        """The tree has stopped: put nothing back any more, and end what was made for this."""
        self.for_now.close()
        self.news.close()
        self.tally.close()
        self._poster.close()

    def status(self) -> dict[str, Any]:
        """What the instance says about itself, as JSON-able data."""
        services = list(seen.walk(self.root))
        return {
            "name": self.name,
            "target": self.target,
            "pid": os.getpid(),
            "version": ginkgo.__version__,
            "python": platform.python_version(),
            "backend": self.root.backend_in_use.name,
            "config": os.path.abspath(self.target) if is_config_file(self.target) else None,
            "state": seen.state_of(self.root),
            "since": since(self.root),
            "stopping": self.stopping,
            "uptime": time.monotonic() - self.began,
            "started_at": self.started_at,
            "services": len(services),
            "not_ready": [trouble(each, path) for each, path in services if is_under_way(each)],
            "failed": [trouble(each, path) for each, path in services if is_failed(each)],
            "last_reload": hide_all(self.reloader.last),
            "for_now": hide_all(self.for_now.all()),
            "blocked": None if self.watchdog is None else self.watchdog.status(),
            "logfile": self.logfile,
            **self.usage.figures(),
        }

    def tree(self) -> dict[str, Any]:
        """The root and those under it, as JSON-able data."""
        return {**branch(self.root), "stopping": self.stopping}

    def dump(self) -> dict[str, Any]:
        """What every thread, greenlet and task does now, as JSON-able data."""
        return {
            "name": self.name,
            "pid": os.getpid(),
            "backend": self.root.backend_in_use.name,
            "blocked": None if self.watchdog is None else self.watchdog.status(),
            "stacks": dump(self.root),
        }

    def paths(self) -> list[str]:
        """The paths of all services."""
        return [path for _, path in seen.walk(self.root)]

    def service(self, path: str) -> dict[str, Any] | None:
        """Everything about one service, as JSON-able data; None if there is none of that path."""
        service = seen.find(self.root, path)
        if service is None:
            return None
        return {
            **details(service, path),
            "counters": counters_of(service),
            "settings": settings_of(service, self.for_now.until()),
            "events": self.news.of(path, EVENTS),
        }

    def settings(self) -> list[dict[str, Any]]:
        """Every declared setting, with its value and origin."""
        return all_settings(self.for_now.until())

    def events(self) -> list[dict[str, Any]]:
        """The events that are kept, the oldest first."""
        return self.news.kept()

    def follow_events(self, follower: Done) -> Callable[[], None]:
        """Have `follower` called with each new event, from any thread; returns what ends it."""
        return self.news.follow(follower)

    def log(self, most: int) -> list[Line]:
        """The last lines of the log, the oldest first: those that are kept in memory, and before
        them, where they are fewer than `most`, those of its log file."""
        kept = self.ring.lines()
        missing = most - len(kept)
        if missing <= 0 or self.logfile is None or not self.log_before or self.ring.dropped:
            return kept
        first = kept[0] if kept else None
        return [*lines_before(self.logfile, first, missing, self.ring.parse), *kept]

    def follow_log(self, follower: Callable[[Line], object]) -> Callable[[], None]:
        """Have `follower` called with each new line, from any thread; returns what ends it."""
        return self.ring.listen(follower)

    def sample(self) -> None:
        """Take a sample of what the process uses up."""
        self.usage.sample()

    def metrics(self, *, complete: bool) -> Iterator[Any]:
        """The metrics of now, with None in between; prometheus-client is there."""
        from .metrics import families

        return families(self, complete=complete)

    def ask_loop(self, function: Callable[[], object]) -> bool:
        """Have `function` called in the tree's own thread; False where it is blocked."""
        blocked = self.watchdog is not None and self.watchdog.tree_is_blocked
        return self.tally.ask(function, blocked=blocked)

    def samples(self) -> dict[str, Any]:
        """The samples of the last minutes."""
        return self.usage.samples()

    # -- what is asked for is done in the tree's own thread, and so are the calls of `done`; `by`
    # is who asks for it

    def reload(self, by: str, done: Done) -> None:
        """Ask for a reload, from any thread; `done` gets its report in the tree's own."""
        self._poster.post(self.reloader.begin, by, done)

    def stop(self, by: str) -> None:
        """Ask for an orderly stop, from any thread."""
        self.about_to_stop()
        self._poster.post(self._stop, by)

    def _stop(self, by: str) -> None:
        deeds.asked(self.root, "stop", by)
        self.root.stop_soon()

    def act(self, kind: str, path: str, by: str, done: Done) -> bool:
        """Stop, reload or restart one service; False if there is none of that path."""
        service = seen.find(self.root, path)
        if service is not None:
            self._poster.post(act, service, path, kind, by, done)
        return service is not None

    def set(self, name: str, value: Any, seconds: float | None, by: str, done: Done) -> None:
        """Set a setting for now; `done` gets what it is, or ``{"refused": ..., "hint": ...}``."""
        refused = partial(deeds.refused, self.root, SET, name, value, by)
        self._change(partial(self.for_now.set, name, value, seconds, by), done, refused)

    def log_level(
        self, logger: str, level: str | int, seconds: float | None, by: str, done: Done
    ) -> None:
        """Give a logger a level for now; `done` as in :meth:`set`."""
        refused = partial(deeds.refused, self.root, LOG_LEVEL, logger or ROOT, level, by)
        self._change(partial(self.for_now.log_level, logger, level, seconds, by), done, refused)

    def collect(self, done: Done) -> None:
        """Collect garbage."""
        self._change(lambda: {"collected": gc.collect()}, done)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in the tree's own thread, soon; from the control thread."""
        self._poster.post(function, *args)

    def _change(
        self,
        change: Callable[[], dict[str, Any]],
        done: Done,
        refused: Callable[[str], object] = lambda why: None,
    ) -> None:
        def carried_out() -> None:
            try:
                told = change()
            except GinkgoError as error:
                problems = getattr(error, "problems", ())
                why = "; ".join(each.message for each in problems) or str(error)
                told = {"refused": hide(why), "hint": error.hint or ""}
                refused(why)
            done(told)

        self._poster.post(carry_out, self.root, carried_out)

    def on_state(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called with the root's state at every change of it."""
        self._listeners.append(callback)

    def _reloaded(self, report: dict[str, Any] | None) -> None:
        if report is not None:
            self.for_now.look_again()

    def _state_changed(self, root: Service) -> None:
        if root._state in UNDER_WAY:
            self.stopping = "stopping" if root._state == "stopping" else None
        for listener in tuple(self._listeners):
            listener(seen.state_of(root))


def is_under_way(service: Service) -> bool:
    """Whether a service is on its way to ready, or from it."""
    return seen.field(service, "_state") in UNDER_WAY
