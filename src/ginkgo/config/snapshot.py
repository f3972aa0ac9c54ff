"""Snapshot: one configuration, whole and unchanging.

A reader that holds a snapshot sees values that belong together, whatever is reloaded meanwhile::

    now = settings.snapshot
    connect(now.get("db.host"), now.get("db.port"))
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from .display import bare, show
from .layers import Found, Layers
from .names import SERVICE, groups_above, nearest, normalise
from .problems import ConfigProblems, Problem

if TYPE_CHECKING:
    from .groups import Group
    from .registry import Registry
    from .setting import Setting

DEFAULT = "default"

UNSET: Any = object()


class Entry(NamedTuple):
    """What a setting is worth.

    Attributes:
        value: the value, of the right type.
        origin: where it comes from: `file:line`, `environment GINKGO_X`, `--set`, `set()`,
            `default`.
    """

    value: Any
    origin: str


class Held(NamedTuple):
    """A setting that takes a new value only at a restart: the one in effect, and the new one."""

    effective: Entry
    new: Entry


class Snapshot:
    """All values of one configuration.

    Attributes:
        number: which configuration of its `Settings` this is; it grows by one with each.
        layers: what it is made of.
        held: the settings whose new value waits for a restart, by path.
        base: the layers that were in effect when this was prepared, or None.
    """

    __slots__ = ("__weakref__", "_entries", "_registry", "base", "held", "layers", "number")

    def __init__(
        self,
        number: int,
        layers: Layers,
        registry: Registry,
        held: Mapping[str, Held] = MappingProxyType({}),
        base: Layers | None = None,
    ) -> None:
        self.number = number
        self.layers = layers
        self.held = held
        self.base = base
        self._registry = registry
        # Filled when first asked for: a class may declare settings after the file was loaded.
        self._entries: dict[weakref.ref[Setting[Any]], Entry] = {}

    def __repr__(self) -> str:
        return f"<Snapshot {self.number}>"

    def get(self, path: str, default: Any = UNSET) -> Any:
        """Return the value of `path`.

        Args:
            path: a setting's path, or any name in a config file.
            default: what to return when nothing sets it; left out: the setting's own default, and
                None when nobody has declared it.

        Raises:
            ConfigError: something sets it to what it must not be.
        """
        path = normalise(path)
        declared = self._registry.at(path, self.layers.runs)
        if not declared:
            found = self.layers.find_undeclared(path)
            return found.value if found else None if default is UNSET else default
        entry = self.entry(declared[0])
        if entry.origin == DEFAULT and default is not UNSET:
            return default
        return entry.value

    def origin(self, path: str) -> str:
        """Return where the value of `path` comes from; `default` when nothing sets it."""
        path = normalise(path)
        declared = self._registry.at(path, self.layers.runs)
        if declared:
            return self.entry(declared[0]).origin
        found = self.layers.find_undeclared(path)
        return found.origin if found else DEFAULT

    def group(self, path: str = "") -> Group | None:
        """Return the group `path` as it is in this snapshot; None if the path is a value's."""
        from .groups import group

        return group(lambda: self, path)

    def paths(self) -> set[str]:
        """Return every path that is set or declared."""
        declared = set(self._registry.paths(self.layers.runs)) - {SERVICE}
        return self.layers.names() | declared

    def given(self) -> dict[str, Any]:
        """Return all that is set to something usable, by path; defaults are not in it."""
        given = {}
        for path in sorted(self.layers.names() | set(self._registry.paths(self.layers.runs))):
            try:
                if self.origin(path) != DEFAULT:
                    given[path] = self.get(path)
            except ConfigProblems:
                continue  # told by check()
        return given

    def secret(self, path: str) -> bool:
        """Whether the value of `path` must not be shown."""
        return self._registry.secret(path)

    def declared(self) -> list[Setting[Any]]:
        """Return the newest declaration of every setting, sorted by path."""
        runs = self.layers.runs
        return [self._registry.at(path, runs)[0] for path in self._registry.paths(runs)]

    def entry(self, setting: Setting[Any]) -> Entry:
        """Return what `setting` is worth.

        Raises:
            ConfigError: something sets it to what it must not be.
        """
        entry = self.look(setting)
        if isinstance(entry, Problem):
            raise ConfigProblems([entry])
        return entry

    def look(self, setting: Setting[Any]) -> Entry | Problem:
        """Return what `setting` is worth, or what is wrong with what sets it."""
        known = self._entries.get(setting.ref)
        if known is not None:
            return known
        held = self.held.get(setting.path)
        resolved = held.effective if held else self._resolve(setting)
        if isinstance(resolved, Problem):
            return resolved
        return self._entries.setdefault(setting.ref, resolved)

    def successor(
        self,
        number: int,
        layers: Layers,
        changed: Collection[str],
        held: Mapping[str, Held] = MappingProxyType({}),
        base: Layers | None = None,
    ) -> Snapshot:
        """Return a snapshot in which only some settings may be worth something else.

        The others are not looked at again: the file that a secret came from may be gone.

        Args:
            changed: the paths that have to be looked at, with all that is below them.
        """
        new = Snapshot(number, layers, self._registry, held, base)
        for ref, entry in list(self._entries.items()):
            setting = ref()
            if setting is None or setting.path in changed:
                continue
            if not any(group in changed for group in groups_above(setting.path)):
                new._entries[ref] = entry
        return new

    def without_temporary(self) -> Snapshot:
        """Return what holds when all that is set for now has ended."""
        temporary = self.layers.temporary
        if not temporary:
            return self
        layers = self.layers._replace(temporary={})
        return self.successor(self.number, layers, temporary, self.held)

    def needs_restart(self, path: str) -> bool:
        """Whether a new value of `path` takes effect only at a restart."""
        declared = self._registry.at(path, self.layers.runs)
        return any(setting.restart_required for setting in declared)

    def _resolve(self, setting: Setting[Any]) -> Entry | Problem:
        """Return what the layers give `setting`, or what is wrong with that."""
        from .types import Mismatch, Unreadable, accept, parse

        path, secret = setting.path, self.secret(setting.path)
        found = self.layers.find(path, secret=secret)
        if isinstance(found, Problem):
            return found
        try:
            wanted = setting.wanted
        except Unreadable as error:
            return Problem(path, f"the type of {path} cannot be found out: {error}", setting.place)
        if found is None and setting.default is None:
            return Entry(None, DEFAULT)
        origin = found.origin if found else DEFAULT
        found = found or Found(setting.default, setting.place)
        try:
            value = (parse if found.text else accept)(found.value, wanted)
        except Mismatch as error:
            told = error.explain(path, found.value, secret=secret, text=found.text)
            told = f"the default of {told}" if origin == DEFAULT else told
            return Problem(path, told, found.origin)
        if value is not None and setting.choices is not None and value not in setting.choices:
            return Problem(path, _no_choice(setting, value, secret=secret), found.origin)
        return Entry(value, origin)


def _no_choice(setting: Setting[Any], value: object, *, secret: bool) -> str:
    choices = [bare(choice) for choice in setting.choices or ()]
    told = f"{setting.path} must be one of {', '.join(choices)}, not {show(value, secret=secret)}"
    meant = None if secret or not isinstance(value, str) else nearest(value, choices)
    return f"{told}; did you mean {meant}?" if meant else told
