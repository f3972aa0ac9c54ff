"""Which settings have been declared, by whom, and where two declarations contradict each other.

    process's registry                 every Setting(...) made outside a `with` block
        ^ parent
    a test's registry                  what was declared inside its block: forgotten with it

Declarations are held weakly: a setting is declared for as long as the class that declares it
exists. A config file that declares settings itself is run anew at each reload; its declarations
count only while the configuration made by that run is in force.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from .display import show
from .problems import Problem

if TYPE_CHECKING:
    from .setting import Setting


class Registry:
    """The declarations that one configuration knows.

    Args:
        parent: the registry that is looked into as well, or None.
    """

    def __init__(self, parent: Registry | None = None) -> None:
        self._parent = parent
        self._declared: dict[str, list[weakref.ref[Setting[Any]]]] = {}

    def add(self, setting: Setting[Any]) -> None:
        """Take note of a declaration."""
        refs = self._declared.get(setting.path, [])
        alive = [ref for ref in refs if ref() is not None]
        # A new list, put in place at once: other threads may be reading the old one.
        self._declared[setting.path] = [*alive, setting.ref]

    def paths(self, runs: Collection[object] = ()) -> list[str]:
        """Return the paths of all declared settings, sorted."""
        found = {path for path in self._every_path() if self.at(path, runs)}
        return sorted(found)

    def at(self, path: str, runs: Collection[object] = ()) -> list[Setting[Any]]:
        """Return the declarations of `path`, the newest first, one for each place in the code.

        Args:
            path: the normalised path.
            runs: the runs of config files that are in force; what other runs declared is left out.
        """
        sites: dict[object, Setting[Any]] = {}
        for setting in self._newest_first(path):
            if setting.run is None or setting.run in runs:
                sites.setdefault(setting.site, setting)
        return list(sites.values())

    def secret(self, path: str) -> bool:
        """Whether any declaration of `path`, however old, calls it secret."""
        return any(setting.secret for setting in self._newest_first(path))

    def conflicts(self, path: str, runs: Collection[object]) -> Iterator[Problem]:
        """Yield a problem for each declaration of `path` that contradicts the newest one."""
        declared = self.at(path, runs)
        if not declared:
            return  # its class has just been collected
        first, *others = declared
        secret = self.secret(path)
        for other in others:
            difference = _difference(other, first, secret=secret)
            if difference:
                here, there = difference
                yield Problem(
                    path,
                    f"{path} is declared twice, and not alike: "
                    f"{other.place} has {here}, {first.place} has {there}",
                    "",
                )

    def _newest_first(self, path: str) -> Iterator[Setting[Any]]:
        for ref in reversed(self._declared.get(path, ())):
            setting = ref()
            if setting is not None:
                yield setting
        if self._parent is not None:
            yield from self._parent._newest_first(path)

    def _every_path(self) -> set[str]:
        own = set(self._declared)
        return own if self._parent is None else own | self._parent._every_path()


def _difference(one: Setting[Any], other: Setting[Any], *, secret: bool) -> tuple[str, str] | None:
    """Return what sets the two apart, in words for each, or None."""
    if type(one.default) is not type(other.default) or one.default != other.default:
        return (
            f"the default {show(one.default, secret=secret)}",
            f"the default {show(other.default, secret=secret)}",
        )
    from .types import Unreadable, type_name

    try:
        types = (one.wanted, other.wanted)
    except Unreadable:  # told by whoever resolves the setting
        return None
    if types[0] != types[1]:
        return f"the type {type_name(types[0])}", f"the type {type_name(types[1])}"
    if one.choices != other.choices:
        return f"the choices {show(one.choices)}", f"the choices {show(other.choices)}"
    return None
