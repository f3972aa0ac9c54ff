"""Setting a setting for now: what `ginkgoctl set` does with a process that runs.

It is one more layer, above all others, that no file knows of: a reload leaves it as it is, and it
ends with the process, if it is not taken back before. What is set is checked as any layer is, and
takes effect as a reload does, by one assignment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layers import Found, Layers
from .names import nearest, normalise
from .problems import ConfigProblems, Problem
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .settings import Settings

ORIGIN = "ginkgoctl set"


def put(settings: Settings, path: str, value: Any) -> Snapshot:
    """Set a setting for now, and return the configuration that was in effect before.

    Args:
        settings: the configuration.
        path: the setting's, as :func:`check_name` takes it.
        value: a text is read as the setting's type says, as that of `--set` is; anything else has
            to be of that type.

    Raises:
        ConfigError: there is no such setting, it cannot be set for now, or must not be that.
    """
    path = check_name(settings, path)
    found = Found(value, ORIGIN, text=isinstance(value, str))
    runs = settings.snapshot.layers.runs
    trial = Snapshot(0, Layers(temporary={path: found}), settings.registry)
    looked = [trial.look(setting) for setting in settings.registry.at(path, runs)]
    settings._refuse(list(dict.fromkeys(each for each in looked if isinstance(each, Problem))))
    return _change(settings, path, found)


def take_back(settings: Settings, path: str) -> Snapshot:
    """Let a setting be again what the other layers say; return the configuration before."""
    return _change(settings, normalise(path), None)


def without(settings: Settings, path: str) -> Any:
    """Return what a setting would be if it were not set for now.

    Raises:
        ConfigError: the other layers set it to what it must not be.
    """
    path = normalise(path)
    now = settings.snapshot
    if path not in now.layers.temporary:
        return now.get(path)
    others = {name: each for name, each in now.layers.temporary.items() if name != path}
    layers = now.layers._replace(temporary=others)
    return now.successor(now.number, layers, (path,)).get(path)


def check_name(settings: Settings, path: str) -> str:
    """Return the normalised path of a setting that can be set for now.

    Raises:
        ConfigError: it cannot, and why.
    """
    path = normalise(path)
    known = settings.registry.paths(settings.snapshot.layers.runs)
    if path not in known:
        meant = nearest(path, known)
        told = f"there is no setting {path}" + (f"; did you mean {meant}?" if meant else "")
        raise _refused(path, told, "`ginkgoctl TARGET settings` lists those that there are.")
    if settings.snapshot.secret(path):
        told = f"{path} is secret, and secrets are not sent to a running process"
        raise _refused(path, told, "Set it where it is kept, and reload.")
    if settings.snapshot.needs_restart(path):
        told = f"{path} takes effect only at a restart"
        raise _refused(path, told, "Set it in the config file, and restart.")
    return path


def _refused(path: str, told: str, hint: str) -> ConfigProblems:
    return ConfigProblems([Problem(path, told, ORIGIN)], hint=hint)


def _change(settings: Settings, path: str, found: Found | None) -> Snapshot:
    def changed(now: Snapshot) -> Snapshot:
        temporary = {name: each for name, each in now.layers.temporary.items() if name != path}
        if found is not None:
            temporary[path] = found
        layers = now.layers._replace(temporary=temporary)
        held = {name: each for name, each in now.held.items() if name != path}
        return now.successor(next(settings._numbers), layers, (path,), held)

    return settings._change(changed)
