"""The one name that a config file has to set: which service it is a configuration of.

service = "hello.HelloWorld"          a class, or a factory, by its dotted name
service = HelloWorld                  a class
def service(): ...                    a factory, in the file itself
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .display import kind, show
from .names import SERVICE, nearest
from .problems import ConfigProblems, Problem

if TYPE_CHECKING:
    from .settings import Settings

_HINT = 'Add a line such as: service = "module.ClassName"'


def service_of(settings: Settings) -> str | Callable[[], Any]:
    """Return what the configuration calls its service: a dotted name, a class or a factory.

    Raises:
        ConfigError: it does not say, or says something else.
    """
    snapshot = settings.snapshot
    value = snapshot.get(SERVICE)
    if value is None:
        raise ConfigProblems([_missing(settings)], hint=_HINT)
    origin = snapshot.origin(SERVICE)
    if isinstance(value, str):
        module, _, name = value.rpartition(".")
        if not (module and name.isidentifier()):
            told = f"service must be a dotted name such as 'module.ClassName', not {show(value)}"
            raise ConfigProblems([Problem(SERVICE, told, origin)])
        return value
    if callable(value):
        made: Callable[[], Any] = value
        return made
    told = f"service must be a dotted name, a class or a factory, not {show(value)} ({kind(value)})"
    raise ConfigProblems([Problem(SERVICE, told, origin)], hint=_HINT)


def _missing(settings: Settings) -> Problem:
    layers = settings.snapshot.layers
    files = [source.name for source in layers.sources if source.kind in ("file", "module")]
    place = files[-1] if files else ""
    for path in sorted(layers.names()):
        if nearest(path, [SERVICE]):
            origin = settings.origin(path)
            return Problem(SERVICE, f"{path} is no setting; did you mean {SERVICE}?", origin)
    return Problem(SERVICE, "it does not say which service to run", place)
