"""Settings and their values as JSON-able data, read from any thread; secrets are masked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from ..config import Snapshot, settings
from ..config.listing import declarations
from ..core.service import Service

_SPOKEN = frozenset(
    {"builtins", "datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid"}
)
"""Modules whose objects may be asked for their text: it is not the user's code that answers."""

DEEPEST = 8


def all_settings(until: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every declared setting with its value and origin, sorted by name.

    Args:
        until: for names that are set for now, the time at which that ends (RFC 3339).
    """
    snapshot = settings.snapshot
    covered = _covered(snapshot)
    return [
        {
            "name": each.path,
            "value": plain(each.value),
            "default": plain(each.default),
            "origin": each.origin,
            "help": each.help,
            "type": each.type,
            "secret": each.secret,
            "restart_required": each.restart_required,
            "monitored": each.monitored,
            "until": until.get(each.path),
            "covered": covered.get(each.path),
            "problem": each.problem or None,
        }
        for each in declarations(snapshot)
    ]


def _covered(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """What the settings that are set for now are without that, where it is any good."""
    set_ = snapshot.layers.temporary
    below = declarations(snapshot.without_temporary()) if set_ else ()
    return {
        each.path: {"value": plain(each.value), "origin": each.origin}
        for each in below
        if each.path in set_ and not each.problem
    }


def settings_of(service: Service, until: Mapping[str, str]) -> list[dict[str, Any]]:
    """The same of those that a service's class, or one that it is made from, declares."""
    snapshot = settings.snapshot
    classes = type(service).__mro__
    paths = set()
    for declared in snapshot.declared():
        for setting in snapshot._registry.at(declared.path, snapshot.layers.runs):
            owner = None if setting.owner is None else setting.owner()
            if any(owner is each for each in classes):
                paths.add(setting.path)
    return [each for each in all_settings(until) if each["name"] in paths] if paths else []


def plain(value: Any, depth: int = DEEPEST) -> Any:
    """A value as JSON has it; what JSON has no word for is named by its type."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind in (list, tuple, set, frozenset) and depth:
        return [plain(each, depth - 1) for each in value]
    if kind is dict and depth:
        return {_key(name): plain(each, depth - 1) for name, each in value.items()}
    if kind is bytes:
        return repr(value)
    if isinstance(value, type) or hasattr(kind, "__code__") or kind.__name__ == "function":
        return f"{value.__module__}.{value.__qualname__}"
    if issubclass(kind, Enum):
        return plain(object.__getattribute__(value, "_value_"), depth - 1) if depth else None
    module = kind.__module__.partition(".")[0]
    return str(value) if module in _SPOKEN else f"<{kind.__name__}>"


def _key(name: Any) -> str:
    return name if type(name) is str else str(plain(name))
