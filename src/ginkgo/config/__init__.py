"""Settings: what of an application can be configured, by whom, and what it is set to.

    Setting      declares a setting in a class                               setting.py
    Settings     a configuration (0.6 called it Config)                      settings.py
    settings     the process's own; inside a test's `with` block, the test's  singleton.py

The rest of the room, from the outside in:

    files.py  source.py  guard.py  peek.py     a config file: read, run, watched over
    layers.py                                  where values come from, and which wins
    types.py                                   whether a value is what its setting wants
    snapshot.py  cache.py  groups.py           one configuration, and how it is read
    registry.py  validation.py                 what is declared, and what is wrong
    report.py  listing.py  display.py          what a person gets to see of it
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError
from .monitored import Monitored
from .problems import ConfigProblems, Problem
from .setting import Setting
from .settings import Settings
from .singleton import settings
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .groups import Group
    from .listing import Declaration, format_settings
    from .peek import peek
    from .report import Change, ReloadReport
    from .service import service_of

Config = Settings

# Loaded when first used: most processes never do.
_LATER = {
    "Change": "report",
    "Declaration": "listing",
    "Group": "groups",
    "ReloadReport": "report",
    "format_settings": "listing",
    "peek": "peek",
    "service_of": "service",
}

__all__ = [
    "Change",
    "Config",
    "ConfigError",
    "ConfigProblems",
    "Declaration",
    "Group",
    "Monitored",
    "Problem",
    "ReloadReport",
    "Setting",
    "Settings",
    "Snapshot",
    "format_settings",
    "peek",
    "service_of",
    "settings",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        value = getattr(import_module(f".{_LATER[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
