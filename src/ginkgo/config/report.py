"""What a reload did: what changed, what waits for a restart, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .display import MASK, show
from .problems import Problem

if TYPE_CHECKING:
    from .setting import Setting
    from .snapshot import Snapshot

_DATA = (bool, bytes, dict, float, frozenset, int, list, set, str, tuple, type(None))


class Change(NamedTuple):
    """A setting that has another value than before.

    Attributes:
        path: the setting.
        old: the value before; `****` for a secret.
        new: the value after; `****` for a secret.
        origin: where the new value comes from.
    """

    path: str
    old: Any
    new: Any
    origin: str

    def __str__(self) -> str:
        if MASK in (self.old, self.new):
            return f"{self.path}: changed ({self.origin})"
        return f"{self.path}: {show(self.old)} -> {show(self.new)} ({self.origin})"

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON: values as Python would write them."""
        shown = {"old": self.old, "new": self.new}
        values = {name: MASK if value == MASK else show(value) for name, value in shown.items()}
        return {"path": self.path, **values, "origin": self.origin}


class ReloadReport(NamedTuple):
    """The difference between two configurations, for a person and for JSON. No secret is in it.

    Attributes:
        number: the new configuration's.
        changed: the settings that have a new value.
        needs_restart: the settings that will have one after a restart; until then the old holds.
        covered: the settings that will have one when the `ginkgoctl set` that lies on them ends.
        undeclared: names in a config file that are nobody's setting and have changed.
        warnings: what a person should know.
    """

    number: int
    changed: tuple[Change, ...] = ()
    needs_restart: tuple[Change, ...] = ()
    covered: tuple[Change, ...] = ()
    undeclared: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [str(change) for change in self.changed]
        lines += [f"{change}, after a restart" for change in self.needs_restart]
        lines += [f"{change}, when its `ginkgoctl set` ends" for change in self.covered]
        if self.undeclared:
            lines.append(f"changed, but declared by nobody: {', '.join(self.undeclared)}")
        lines = lines or ["no setting has changed"]
        return "\n".join([*lines, *(f"warning: {told}" for told in self.warnings)])

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "number": self.number,
            "changed": [change.as_dict() for change in self.changed],
            "needs_restart": [change.as_dict() for change in self.needs_restart],
            "covered": [change.as_dict() for change in self.covered],
            "undeclared": list(self.undeclared),
            "warnings": list(self.warnings),
        }


def compare(old: Snapshot, new: Snapshot, warnings: tuple[str, ...]) -> ReloadReport:
    """Return what has changed from `old` to `new`."""
    changed, needs_restart, covered = [], [], []
    old_below, below = old.without_temporary(), new.without_temporary()
    for setting in new.declared():
        path, secret = setting.path, new.secret(setting.path)
        before, after = _worth(old, setting), new.entry(setting)
        if not same(before, after.value):
            changed.append(_change(path, before, after.value, after.origin, secret=secret))
        if path in new.held:
            effective, to_come = new.held[path]
            needs_restart.append(
                _change(path, effective.value, to_come.value, to_come.origin, secret=secret)
            )
        if path in old.layers.temporary and path in new.layers.temporary:
            before, later = _worth(old_below, setting), below.look(setting)
            if not isinstance(later, Problem) and not same(before, later.value):
                covered.append(_change(path, before, later.value, later.origin, secret=secret))
    return ReloadReport(
        new.number,
        tuple(changed),
        tuple(needs_restart),
        tuple(covered),
        tuple(_undeclared(old, new)),
        warnings,
    )


def _worth(snapshot: Snapshot, setting: Setting[Any]) -> Any:
    looked = snapshot.look(setting)
    return None if isinstance(looked, Problem) else looked.value


def _undeclared(old: Snapshot, new: Snapshot) -> Iterator[str]:
    """Yield the names of plain data that nobody declares, and that changed. Their values could be
    anybody's secret, and are not told.
    """
    known = {setting.path for setting in new.declared()}
    for path in sorted((old.layers.names() | new.layers.names()) - known):
        before, after = old.layers.find_undeclared(path), new.layers.find_undeclared(path)
        values = [found.value if found else None for found in (before, after)]
        if all(isinstance(value, _DATA) for value in values) and not same(*values):
            yield path


def _change(path: str, old: object, new: object, origin: str, *, secret: bool) -> Change:
    if not secret:
        return Change(path, old, new, origin)
    return Change(path, None if old is None else MASK, None if new is None else MASK, origin)


def same(one: object, other: object) -> bool:
    """Whether two values are the same setting.

    A function or class of a config file is made anew each time the file runs: it is the same if it
    has the same name.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if callable(one):
        return _name(one) is not None and _name(one) == _name(other)
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - an application's own __eq__ may raise anything
        return False


def _name(value: object) -> tuple[object, str] | None:
    name = getattr(value, "__qualname__", None)
    return None if name is None else (getattr(value, "__module__", None), name)
