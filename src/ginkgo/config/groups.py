"""Group: the settings below one name, to be read together.

class db:                      settings.group("db").host         "10.0.0.1"
    host = "10.0.0.1"          settings.group("db")["port"]      5432
    port = 5432                dict(settings.group("db").items())
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any

from .display import MASK, show
from .names import normalise

if TYPE_CHECKING:
    from .snapshot import Snapshot


def group(snapshot: Callable[[], Snapshot], path: str) -> Group | None:
    """Return the group `path`, or None if there is a value of that name instead."""
    path = normalise(path)
    return Group(snapshot, path) if not path or _is_group(snapshot(), path) else None


class Group(Mapping[str, Any]):
    """A read-only view of the settings below one name. Ask `settings.group()` for one.

    A name that nothing sets and nobody declares is None, as an attribute and as an item. A name
    below which there are others is a group again. Each access looks at the configuration of that
    moment; `items()` and `values()` look once, so that what they return belongs together. For
    several accesses that must belong together, take the group of a snapshot:
    `settings.snapshot.group("db")`.
    """

    def __init__(self, snapshot: Callable[[], Snapshot], path: str) -> None:
        self._snapshot = snapshot
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._value(self._snapshot(), name)

    def __getitem__(self, name: str) -> Any:
        return self._value(self._snapshot(), name)

    def __contains__(self, name: object) -> bool:
        return name in self._names(self._snapshot())

    def __iter__(self) -> Iterator[str]:
        return iter(self._names(self._snapshot()))

    def __len__(self) -> int:
        return len(self._names(self._snapshot()))

    def items(self) -> ItemsView[str, Any]:
        """Return all names and values, of one and the same configuration."""
        return self._dict().items()

    def values(self) -> ValuesView[Any]:
        """Return all values, of one and the same configuration."""
        return self._dict().values()

    def __repr__(self) -> str:
        snapshot = self._snapshot()
        shown = {
            name: MASK if snapshot.secret(self._below(name)) and value is not None else show(value)
            for name, value in self._dict(snapshot).items()
        }
        inside = ", ".join(f"{name}={value}" for name, value in shown.items())
        return f"Group[{self._path}: {inside}]"

    def _dict(self, snapshot: Snapshot | None = None) -> dict[str, Any]:
        now = snapshot or self._snapshot()
        return {name: self._value(now, name) for name in self._names(now)}

    def _below(self, name: str) -> str:
        return normalise(f"{self._path}.{name}")

    def _names(self, snapshot: Snapshot) -> list[str]:
        start = f"{self._path}." if self._path else ""
        below = (path.removeprefix(start) for path in snapshot.paths() if path.startswith(start))
        return sorted({path.partition(".")[0] for path in below})

    def _value(self, snapshot: Snapshot, name: str) -> Any:
        path = self._below(name)
        if not _is_group(snapshot, path):
            return snapshot.get(path)
        if any(other.startswith(f"{path}.") for other in snapshot.paths()):
            # The same kind of view: a live group's are live, a snapshot's keep to their snapshot.
            return Group(self._snapshot, path)
        return None


def _is_group(snapshot: Snapshot, path: str) -> bool:
    """Whether `path` is no value, or a dict in whose items there are declared settings."""
    declared = [setting.path for setting in snapshot.declared()]
    if path in declared:
        return False
    return path not in snapshot.paths() or any(each.startswith(f"{path}.") for each in declared)
