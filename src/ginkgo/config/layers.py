"""Where values come from, and which of them wins.

    ginkgoctl set                         for now: what an operator does with a running process
    settings.set(..., force=True)         the application's last word
    --set NAME=VALUE                      text
    GINKGO_NAME_FILE, credentials         text in a file; for secret settings only
    GINKGO_NAME                           text
    settings.set(...)                     until a file that sets the same is loaded or reloaded
    config files, load()                  of these, the later wins
    the setting's default

Nothing here is ever changed: a new configuration is a new `Layers`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from .names import ENVIRONMENT_PREFIX, environment_name, groups_above
from .problems import Problem

CREDENTIALS = "CREDENTIALS_DIRECTORY"

# A secret is a password or a key; a certificate chain fits too.
LARGEST_SECRET = 64 * 1024


class Found(NamedTuple):
    """A value in a layer.

    Attributes:
        value: a Python value, or the text that stands for one.
        origin: the place, for a person.
        text: whether `value` has still to be parsed.
    """

    value: Any
    origin: str
    text: bool = False


class Source(NamedTuple):
    """Values that were given together.

    Attributes:
        kind: what gave them; `file` and `module` are run again at a reload.
        name: the absolute path or the module's name; "" for `load`.
        values: what was given, by normalised path.
        classes: classes of a config file that were taken for groups, by path: if a setting turns
            out to have just that path, the class is its value.
        run: stands for this one run of the file or module, and keeps its names; or None.
        warnings: what a person should know about the file.
        blank: the file had nothing in it but white space.
    """

    kind: Literal["file", "module", "load"]
    name: str
    values: Mapping[str, Found]
    classes: Mapping[str, Found] = MappingProxyType({})
    run: object = None
    warnings: tuple[str, ...] = ()
    blank: bool = False

    def find(self, path: str, *, declared: bool) -> Found | None:
        """Return what this source gives `path`, or None.

        Args:
            declared: the path is a declared setting's; then a dict, and a class, gives it too.
        """
        if not declared:
            return self.values.get(path)
        return self.classes.get(path) or _find(self.values, path)


def _find(values: Mapping[str, Found], path: str) -> Found | None:
    """Return the value of a declared setting: `db = {"host": ...}` gives `db.host`, too."""
    if path in values or not values:
        return values.get(path)
    for group in groups_above(path):
        if group in values:
            return _item(values[group], path.removeprefix(f"{group}.").split("."))
    return None


def _item(found: Found, keys: list[str]) -> Found | None:
    value = found.value
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        items = {str(name).lower(): item for name, item in value.items()}
        if key not in items:
            return None
        value = items[key]
    return Found(value, found.origin)


class Layers(NamedTuple):
    """Everything that one configuration is made of, but the defaults.

    Attributes:
        sources: in the order in which they count: the later wins.
        plain: what was set without force.
        environ: the environment variables that may matter.
        options: what the command line gives, by normalised path.
        forced: what was set by force.
        temporary: what was set from outside, for now.
    """

    sources: tuple[Source, ...] = ()
    plain: Mapping[str, Found] = MappingProxyType({})
    environ: Mapping[str, str] = MappingProxyType({})
    options: Mapping[str, Found] = MappingProxyType({})
    forced: Mapping[str, Found] = MappingProxyType({})
    temporary: Mapping[str, Found] = MappingProxyType({})

    @property
    def runs(self) -> tuple[object, ...]:
        """What stands for the runs of config files that made this."""
        return tuple(source.run for source in self.sources if source.run is not None)

    def find(self, path: str, *, secret: bool) -> Found | Problem | None:
        """Return what the uppermost layer gives a declared setting; None: nothing sets it."""
        if path in self.temporary:
            return self.temporary[path]
        forced = _find(self.forced, path)
        if forced is not None:
            return forced
        if path in self.options:
            return self.options[path]
        if secret and (kept := self._secret(path)) is not None:
            return kept
        name = environment_name(path)
        if name in self.environ:
            return Found(self.environ[name], f"environment {name}", text=True)
        return _find(self.plain, path) or self._in_sources(path, declared=True)

    def find_undeclared(self, path: str) -> Found | None:
        """Return what sets a name that nobody has declared; the environment is not asked."""
        if path in self.forced:
            return self.forced[path]
        if path in self.options:
            return self.options[path]._replace(text=False)
        return self.plain.get(path) or self._in_sources(path, declared=False)

    def names(self) -> set[str]:
        """Return every path that something other than the environment sets."""
        given = {path for source in self.sources for path in source.values}
        return given | set(self.plain) | set(self.options) | set(self.forced)

    def undeclared(self, known: set[str]) -> Iterator[tuple[str, Found]]:
        """Yield the names in files that are no setting's, and no group's of settings."""
        groups = {group for path in known for group in groups_above(path)} - known

        def strangers(path: str, found: Found) -> Iterator[tuple[str, Found]]:
            if path in groups and isinstance(found.value, Mapping):
                for name, value in found.value.items():
                    yield from strangers(f"{path}.{str(name).lower()}", Found(value, found.origin))
            elif path not in known and path not in groups:
                yield path, found

        for source in self.sources:
            for path, found in source.values.items():
                yield from strangers(path, found)

    def loaded(self, sources: tuple[Source, ...], fresh: Iterable[Source]) -> Layers:
        """Return these layers with other sources.

        Args:
            fresh: those that were loaded just now: they take back what was set without force.
        """
        taken = tuple(fresh)
        plain = {
            path: found
            for path, found in self.plain.items()
            if not any(source.find(path, declared=True) for source in taken)
        }
        return self._replace(sources=sources, plain=plain)

    def _in_sources(self, path: str, *, declared: bool) -> Found | None:
        for source in reversed(self.sources):
            found: Found | None = source.find(path, declared=declared)
            if found is not None:
                return found
        return None

    def _secret(self, path: str) -> Found | Problem | None:
        """Return what a file that only this service may read says, or None without such a file."""
        name = environment_name(path)
        file = self.environ.get(f"{name}_FILE")
        if file is not None:
            origin = f"environment {name}_FILE"
            if name in self.environ:
                return Problem(path, f"{name} is set as well; keep one of the two", origin)
            return _read_secret(path, file, origin)
        folder = self.environ.get(CREDENTIALS)
        if folder and "/" not in path:
            file = os.path.join(folder, path)
            if os.path.exists(file):
                return _read_secret(path, file, f"credential {file}")
        return None


def _read_secret(path: str, file: str, origin: str) -> Found | Problem:
    """Return the text in `file`, without the line end that editors add.

    See systemd.exec(5), "Credentials", and Docker's convention of `NAME_FILE`.
    """
    if file not in origin:
        origin = f"{origin} ({file})"
    try:
        # Not blocking: a named pipe would be waited for, again at each reload.
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as stream:
            regular = stat.S_ISREG(os.fstat(fd).st_mode)
            data = stream.read(LARGEST_SECRET + 1) if regular else b""
        text = data.decode()
    except OSError as error:
        return Problem(path, f"{path} cannot be read: {error.strerror}", origin)
    except UnicodeDecodeError:
        return Problem(path, f"{path} is not UTF-8 text", origin)
    if not regular:
        return Problem(path, f"{path} is not a regular file", origin)
    if len(data) > LARGEST_SECRET:
        return Problem(path, f"{path} is larger than {LARGEST_SECRET // 1024} KiB", origin)
    return Found(text.removesuffix("\n").removesuffix("\r"), origin, text=True)


def relevant(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that may set something."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(ENVIRONMENT_PREFIX) or name == CREDENTIALS
    }
