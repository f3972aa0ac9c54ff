"""Which backend a tree runs on, found out before anything of the application is imported.

::

    --backend, --set backend=..., GINKGO_BACKEND, `backend` in the config file      chosen
    `backend` of the class that is the target, or of one that it leads to            chosen
    a hook of such a class is a coroutine function                                   asyncio
    a server of one backend is used: ``from ginkgo.async_.threading import ...``     that one
    nothing of that                                                                  gevent

It has to be known so early, because gevent patches the standard library before anything else is
imported, and asyncio cannot run in a process that is patched. So the source is read instead: from
the target on, along the names that it uses, through the modules of the application (those beside
it, not those that are installed). What cannot be seen in this way is seen when the tree is made,
and is an error that says what to write: see :func:`check`.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..async_ import BACKENDS
from ..core.errors import ConfigError
from ..core.matching import HOOKS, check_backend
from .options import Options
from .places import is_config_file

if TYPE_CHECKING:
    from ..core.service import Service

_ONLY_AST = 0x400  # compile() flag: give the tree only


@dataclass(frozen=True)
class Choice:
    """A backend, and how it came about.

    Attributes:
        backend: its name.
        because: why it is not the default, where nobody has said it.
        outside: it was said outside of the application: that comes before what a class says.
        patch: whether gevent replaces parts of the standard library, where it is gevent.
    """

    backend: str
    because: str = ""
    outside: bool = False
    patch: bool = True


def choose(options: Options, known: dict[str, Any]) -> Choice:
    """Choose the backend of a target.

    Args:
        options: what the command line says.
        known: what its config file says in so many words.

    Raises:
        ConfigError: a class has a backend that there is not.
    """
    given = dict(each.partition("=")[::2] for each in options.assignments)
    said = (
        options.backend
        or given.get("backend")
        or os.environ.get("GINKGO_BACKEND")
        or known.get("backend")
    )
    if said:
        return Choice(_short(str(said)), outside=True)
    return _read_on(options.target, known)


def check(root: Service, choice: Choice) -> None:
    """See whether the tree is what its source has promised.

    Raises:
        ConfigError: it needs another backend than the one that the process is prepared for, or has
            parts for two.
    """
    name = _short(root.backend or choice.backend)
    if "gevent" in (name, choice.backend) and name != choice.backend:
        raise ConfigError(
            f"{root.path}: its backend is {name}, and this process was prepared for "
            f"{choice.backend}",
            hint=f"Say it where it can be read before the application is imported: --backend "
            f"{name}, or backend = {name!r} in the config file.",
        )
    for service in root.walk():
        check_backend(service, name)


# -- reading the source --------------------------------------------------------------------------


def _read_on(target: str, known: dict[str, Any]) -> Choice:
    if is_config_file(target):
        path = os.path.abspath(target)
        source = _Source([os.getcwd(), os.path.dirname(path)])
        service = known.get("service")
        if isinstance(service, str):
            return source.read(service)
        return source.read_from(_Module(path, "", ""), "service")
    return _Source([os.getcwd()]).read(target)


@dataclass
class _Module:
    """The top level of a module, as far as its source shows it."""

    path: str
    name: str
    package: str
    names: dict[str, list[Any]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)

    def read(self) -> None:
        with open(self.path, "rb") as file:
            tree = compile(file.read(), self.path, "exec", _ONLY_AST, dont_inherit=True)
        for node in _statements(tree):
            kind = type(node).__name__
            if kind in ("ClassDef", "FunctionDef", "AsyncFunctionDef"):
                self.names.setdefault(node.name, []).append(node)
            elif kind in ("Assign", "AnnAssign"):
                for target in getattr(node, "targets", None) or [node.target]:
                    if type(target).__name__ == "Name" and node.value is not None:
                        self.names.setdefault(target.id, []).append(node.value)
            elif kind == "Import":
                for each in node.names:
                    bound = each.asname or each.name.partition(".")[0]
                    self.imports[bound] = (each.name if each.asname else bound, "")
            elif kind == "ImportFrom":
                for each in node.names:
                    self.imports[each.asname or each.name] = (self._absolute(node), each.name)

    def _absolute(self, node: Any) -> str:
        if not node.level:
            return str(node.module)
        parts = self.package.split(".")
        parts = parts[: len(parts) - node.level + 1]
        return ".".join([*parts, *([node.module] if node.module else [])])


class _Source:
    def __init__(self, folders: list[str]) -> None:
        self._folders = folders
        self._modules: dict[str, _Module | None] = {}

    def read(self, dotted: str) -> Choice:
        name, _, attribute = dotted.rpartition(".")
        module = self._module(name, anywhere=True) if name else None
        return self.read_from(module, attribute)

    def read_from(self, start: _Module | None, name: str) -> Choice:
        """Look at `name`, at the names that it uses, at those that they use, and so on."""
        if start is not None and not start.names:
            start = self._parsed(start)
        if start is None:
            return Choice("gevent")  # whatever is wrong is told when it is imported
        because = ""
        servers: dict[str, str] = {}
        seen = {(start.path, name)}
        waiting = deque([(start, name)])
        while waiting:
            module, name = waiting.popleft()
            for node in module.names.get(name, ()):
                if type(node).__name__ == "ClassDef":
                    said = _backend_of(node, module.path)
                    if said:
                        return Choice(said)
                    because = because or _coroutine_hook(node)
            origin, attribute = module.imports.get(name, ("", ""))
            if origin.startswith("ginkgo.async_.") and attribute != "ASGIServer":
                servers.setdefault(origin.removeprefix("ginkgo.async_."), attribute)
            for other, used in self._uses(module, name):
                if (other.path, used) not in seen:
                    seen.add((other.path, used))
                    waiting.append((other, used))
        if because:
            return Choice("asyncio", because=f"{because} is a coroutine function")
        if len(servers) == 1:
            ((backend, server),) = servers.items()
            if backend != "gevent":  # that is the default, and needs no word
                return Choice(backend, because=f"{server} is from ginkgo.async_.{backend}")
        return Choice("gevent")

    def _uses(self, module: _Module, name: str) -> Iterator[tuple[_Module, str]]:
        if name in module.imports:
            yield from self._imported(module.imports[name])
        for root in module.names.get(name, ()):
            for node in _nodes(root):
                kind = type(node).__name__
                if kind == "Name" and (node.id in module.names or node.id in module.imports):
                    yield module, node.id
                elif kind == "Constant" and isinstance(node.value, str) and "." in node.value:
                    yield from self._named(node.value)
                elif kind == "Attribute":
                    yield from self._attribute(module, node)

    def _imported(self, what: tuple[str, str]) -> Iterator[tuple[_Module, str]]:
        name, attribute = what
        module = self._module(name)
        if module is not None and attribute:
            yield module, attribute

    def _named(self, text: str) -> Iterator[tuple[_Module, str]]:
        """``service = "module.Class"`` in a config file."""
        if all(part.isidentifier() for part in text.split(".")):
            name, _, attribute = text.rpartition(".")
            yield from self._imported((name, attribute))

    def _attribute(self, module: _Module, node: Any) -> Iterator[tuple[_Module, str]]:
        """``module.Class``, ``package.module.Class``."""
        parts = [node.attr]
        below = node.value
        while type(below).__name__ == "Attribute":
            parts.insert(0, below.attr)
            below = below.value
        if type(below).__name__ == "Name" and below.id in module.imports:
            name, attribute = module.imports[below.id]
            path = ".".join([name, *([attribute] if attribute else []), *parts[:-1]])
            yield from self._imported((path, parts[-1]))

    def _module(self, name: str, anywhere: bool = False) -> _Module | None:
        if name not in self._modules:
            found = _find(name, self._folders)
            if found is not None and not anywhere and not self._is_ours(found.path):
                found = None
            self._modules[name] = found and self._parsed(found)
        return self._modules[name]

    def _is_ours(self, path: str) -> bool:
        return "site-packages" not in path and any(
            path.startswith(os.path.join(folder, "")) for folder in self._folders
        )

    @staticmethod
    def _parsed(module: _Module) -> _Module | None:
        try:
            module.read()
        except (OSError, SyntaxError, ValueError):
            return None  # told when it is imported
        return module


def _find(name: str, folders: list[str]) -> _Module | None:
    """Find a module's file without importing anything, not even its package."""
    from importlib.machinery import PathFinder

    paths: list[str] | None = [*folders, *sys.path]
    spec = None
    parts = name.split(".")
    for number, _ in enumerate(parts, 1):
        if paths is None:
            return None
        spec = PathFinder.find_spec(".".join(parts[:number]), paths)
        if spec is None:
            return None
        found = spec.submodule_search_locations
        paths = list(found) if found is not None else None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    package = name if paths is not None else name.rpartition(".")[0]
    return _Module(spec.origin, name, package)


def _statements(node: Any) -> Iterator[Any]:
    """The statements of a module's top level, those in an `if` or `try` too."""
    for part in ("body", "orelse", "finalbody"):
        for child in getattr(node, part, ()):
            yield child
            if type(child).__name__ in ("If", "Try", "With"):
                yield from _statements(child)
    for handler in getattr(node, "handlers", ()):
        yield from _statements(handler)


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for name in node._fields:
        value = getattr(node, name, None)
        for child in value if isinstance(value, list) else [value]:
            if hasattr(child, "_fields"):
                yield from _nodes(child)


def _short(name: str) -> str:
    return name.removeprefix("ginkgo.async_.")


def _backend_of(node: Any, path: str) -> str:
    for statement in node.body:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        value = getattr(getattr(statement, "value", None), "value", None)
        if any(getattr(each, "id", "") == "backend" for each in targets) and isinstance(value, str):
            if _short(value) not in BACKENDS:
                raise ConfigError(
                    f"{path}:{statement.lineno}: {node.name}.backend must be one of "
                    f"{', '.join(BACKENDS)}, not {value!r}"
                )
            return _short(value)
    return ""


def _coroutine_hook(node: Any) -> str:
    for statement in node.body:
        if type(statement).__name__ == "AsyncFunctionDef" and statement.name in HOOKS:
            return f"{node.name}.{statement.name}"
    return ""
