"""What the control plane asks of a running tree, and the shape of what it is told.

The process that runs the tree supplies an `Instance`; this package needs nothing else of it. The
same shapes travel as JSON to `ginkgoctl`, so none of their keys is certain to be there: the other
side may be a version older or newer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict

if TYPE_CHECKING:
    from ginkgo.logs.ring import Line

Told = dict[str, Any]

STATES = ("starting", "ready", "degraded", "stopping", "stopped", "failed")
"""What the state of a tree's root can be, as far as it is told."""

NO_WAY_BACK = ("stopping", "stopped", "failed")
"""From these a process does not become ready any more."""


class Trouble(TypedDict):
    """A service that is not as it should be."""

    path: str
    state: str
    since: str | None  # RFC 3339
    why: str | None


class Change(TypedDict):
    """A setting that a reload found changed; values as text, secrets as `****`."""

    name: str
    old: str
    new: str
    origin: str | None


class Report(TypedDict, total=False):
    """What came of a reload.

    outcome: "done"; "refused" (the configuration is wrong, nothing was changed); "failed" (the
    configuration is in effect, and a service's `do_reload` raised); "busy" (not now: the instance
    starts or stops).
    """

    outcome: Literal["done", "refused", "failed", "busy"]
    changed: list[Change]  # in effect now
    needs_restart: list[Change]  # in the file, not in effect
    covered: list[Change]  # in effect when the `ginkgoctl set` that lies on it ends
    refused: list[str]  # why, each with file and line
    failed: list[Trouble]
    at: str  # RFC 3339


class Status(TypedDict, total=False):
    """What an instance says about itself."""

    name: str
    target: str
    pid: int
    state: str  # one of STATES, of the root
    since: str | None  # when that was entered, RFC 3339
    uptime: float  # seconds
    started_at: str  # RFC 3339
    services: int
    not_ready: list[Trouble]  # services under way to ready, or from it
    failed: list[Trouble]
    last_reload: Report | None
    logfile: str | None
    blocked: Blocked | None
    stopping: str | None  # "lame duck" while it serves on and is about to stop, then "stopping"


class Tree(TypedDict, total=False):
    """A service and those under it."""

    name: str
    path: str
    state: str
    why: str | None
    stopping: str | None  # of the root, as in `Status`
    children: list[Tree]


class Blocked(TypedDict, total=False):
    """How loops were blocked: how often, and for how many seconds at most.

    now: what blocks one at this moment (`loop`, `seconds`, and if known `path` and `doing`).
    """

    count: int
    longest: float
    now: dict[str, Any] | None


class Dump(TypedDict, total=False):
    """What every thread, greenlet and asyncio task does.

    stacks: each with `kind` (thread, greenlet, task), `name`, `service` (a path) and `doing` as far
        as they are known, `state` (running, waiting, not begun; none of a thread), and `frames`
        from the outermost to the innermost: `file`, `line`, `function`, `source` (the text of the
        line), `ours` (it belongs to Ginkgo or to what that stands on).
    """

    name: str
    pid: int
    backend: str
    blocked: Blocked | None
    stacks: list[dict[str, Any]]


class Instance(Protocol):
    """The running tree.

    What reads is called from the control thread, while the tree changes: it takes no lock that the
    application can hold, calls none of its code, and returns at once. What acts returns at once
    too: it is done in the application's loop, which calls `done`.

    Attributes:
        logfile: the log's path, or None in the foreground.
    """

    logfile: str | None

    def status(self) -> Status: ...

    def tree(self) -> Tree: ...

    def dump(self) -> Dump: ...

    def metrics(self, *, complete: bool) -> Iterator[Any]:
        """The metrics of now, as families of prometheus-client; called as the three above.

        Each None among them is a place where others may have their turn.

        Args:
            complete: whether the application's own are told with them.
        """

    def ask_loop(self, function: Callable[[], object]) -> bool:
        """Have `function` called in the application's loop; False where that is blocked."""

    def paths(self) -> list[str]:
        """The paths of all services."""

    def service(self, path: str) -> dict[str, Any] | None:
        """Everything about one service; None if there is none of that path."""

    def settings(self) -> list[dict[str, Any]]:
        """Every declared setting, with its value and origin."""

    def events(self) -> list[dict[str, Any]]:
        """The events that are kept, the oldest first."""

    def follow_events(self, follower: Callable[[Told], object]) -> Callable[[], None]:
        """Have `follower` called with each new event, from any thread; returns what ends it."""

    def log(self, most: int) -> list[Line]:
        """The last lines of the log, the oldest first."""

    def follow_log(self, follower: Callable[[Line], object]) -> Callable[[], None]:
        """Have `follower` called with each new line, from any thread; returns what ends it."""

    def sample(self) -> None:
        """Take a sample of what the process uses up."""

    def samples(self) -> dict[str, Any]:
        """The samples of the last minutes, and the seconds between them."""

    # -- what changes something; `by` is who asks for it, for the events

    def reload(self, by: str, done: Callable[[Told], object]) -> None:
        """Ask for a reload; `done` is called with its `Report`, from whatever thread."""

    def act(self, kind: str, path: str, by: str, done: Callable[[Told], object]) -> bool:
        """Stop, reload or restart one service; False if there is none of that path."""

    def set(
        self,
        name: str,
        value: Any,
        seconds: float | None,
        by: str,
        done: Callable[[Told], object],
    ) -> None:
        """Set a setting for now; `done` gets what it is, or why not as `refused` and `hint`."""

    def log_level(
        self,
        logger: str,
        level: str | int,
        seconds: float | None,
        by: str,
        done: Callable[[Told], object],
    ) -> None:
        """Give a logger a level for now; `done` as in `set`."""

    def collect(self, done: Callable[[Told], object]) -> None:
        """Collect garbage; `done` gets how much was `collected`."""

    def stop(self, by: str) -> None:
        """Ask for an orderly stop. Asking twice is asking once; the end of the process answers."""

    def on_state(self, callback: Callable[[str], None]) -> None:
        """Have `callback(state)` called at every change of the root's state, from any thread."""
