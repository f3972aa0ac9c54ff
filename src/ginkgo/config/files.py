"""Config files: Python that is run, and whose names are then settings.

    daemon = True                      daemon
    class db:                          (a plain class is a group)
        host = "10.0.0.1"              db.host
    _scratch = 3                       (a leading underscore: the file's own business)

A file runs in its own namespace, within a deadline. sys.exit() in it, an exception, a syntax error:
all become a ConfigError with file and line, and leave nothing behind but what the file itself has
done. It may print, import and start threads: it is the user's code, and all that is Ginkgo's runs
before or after it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, MutableMapping
from types import CodeType, ModuleType
from typing import Any, Literal, NamedTuple

from ..core.errors import GinkgoError
from .display import show, words
from .guard import DeadlinePassed, Guard
from .layers import Found, Source
from .names import normalise
from .problems import ConfigProblems, refuse
from .setting import RUN
from .source import WIDEST, Text, absolute, read, tree_of


def load(path: str, deadline: float, secrets: Collection[str] = ()) -> Source:
    """Run the config file at `path` and return what it sets.

    Args:
        deadline: seconds that it may take; 0 for ever.
        secrets: the last parts of the paths of secret settings: not to be shown in an error.

    Raises:
        ConfigError: it cannot be read, is no Python, raised, exited, or took too long.
        KeyboardInterrupt: Ctrl+C was pressed.
    """
    text = read(absolute(path), secrets)
    # With its ".py" no import can mean it, and its loggers are named after the file.
    names = {"__name__": os.path.basename(text.path), "__package__": ""}
    return _run(text, names, deadline, ("file", text.path))


def load_module(name: str, deadline: float, secrets: Collection[str] = ()) -> Source:
    """Run the module called `name`, anew even if it was imported, and return what it sets.

    Raises:
        ConfigError: as `load`; or there is no such module.
        KeyboardInterrupt: Ctrl+C was pressed.
    """
    import importlib.util

    try:
        spec = importlib.util.find_spec(name)
    except Exception as error:
        # The packages that it is in are imported. That one of them is missing is told below.
        if not isinstance(error, ModuleNotFoundError) or not name.startswith(error.name or name):
            raise refuse(f"{type(error).__name__}: {words(error)}", f"module {name}") from error
        spec = None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise refuse("there is no such Python module", f"module {name}")
    text = read(spec.origin, secrets)
    names = {"__name__": name, "__package__": spec.parent or "", "__spec__": spec}
    return _run(text, names, deadline, ("module", name))


def _run(
    text: Text,
    names: dict[str, Any],
    deadline: float,
    source: tuple[Literal["file", "module"], str],
) -> Source:
    tree = tree_of(text)
    code = compile(tree, text.path, "exec", dont_inherit=True)
    module = ModuleType(names["__name__"])
    # The module stands for this run, and keeps what it defined: settings may be among it.
    module.__dict__.update(names, __file__=text.path, **{RUN: module})
    written = Written(module.__dict__, text.path)
    _execute(code, module, written, Ran(text, tree.body), deadline)
    places = {path: f"{text.path}:{line}" for path, line in bindings(tree.body)}
    places |= {name: f"{text.path}:{line}" for name, line in written.lines.items()}
    values, classes = flatten(module.__dict__, places, text.path, module=names["__name__"])
    kind, name = source
    blank = not text.data.strip()
    return Source(kind, name, values, classes, module, text.warnings, blank)


def _execute(
    code: CodeType, module: ModuleType, written: Written, ran: Ran, deadline: float
) -> None:
    """Run the code, and turn whatever comes out of it into a ConfigError."""
    guard = Guard(code, deadline)
    with _importable(module):
        try:
            guard.run(lambda: exec(code, module.__dict__, written))  # noqa: S102 - it is the user's
        except ConfigProblems:
            raise  # of another file that this one loads: it has its own place
        except DeadlinePassed as error:
            place, _, excerpt = ran.where(error)
            raise refuse(
                f"it was still running after {deadline:g} s, and was stopped here{excerpt}",
                place,
                hint="A config file should only set values; slow work belongs in do_start.",
            ) from None
        except SystemExit as error:
            place, _, excerpt = ran.where(error)
            code_given = "" if error.code is None else show(error.code)
            raise refuse(f"it called sys.exit({code_given}){excerpt}", place) from error
        except GinkgoError as error:  # raised on purpose, in words for a person
            place, *_ = ran.where(error)
            raise refuse(str(error), place, hint=error.hint) from error
        except BaseException as error:
            if guard.interrupted or _from_outside(error):
                raise
            place, told, excerpt = ran.where(error)
            raise refuse(f"{told}{excerpt}", place) from error


class _importable:
    """For as long as the file runs it can be found by its name, as a module that is imported can.

    Dataclasses look there for what their annotations mean. Nothing that is imported is hidden.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __enter__(self) -> None:
        sys.modules.setdefault(self._module.__name__, self._module)

    def __exit__(self, *_: object) -> None:
        if sys.modules.get(self._module.__name__) is self._module:
            del sys.modules[self._module.__name__]


def _from_outside(error: BaseException) -> bool:
    """Whether an exception ends the greenlet that loads the file, and is not the file's own."""
    home = type(error).__module__.partition(".")[0]
    return not isinstance(error, Exception) and home in ("greenlet", "gevent", "ginkgo")


# What these say is the name of something, such as a missing variable of the environment.
_TELLS_NAMES = (AttributeError, ImportError, LookupError, NameError, OSError)


class Ran(NamedTuple):
    """A file that was run, to tell where in it something went wrong.

    Attributes:
        text: its text.
        body: the statements of its syntax tree.
    """

    text: Text
    body: list[Any]

    def where(self, error: BaseException) -> tuple[str, str, str]:
        """Return the place that an exception came from, what it says, and the line in question.

        Of a statement that may hold a secret the line is not told, nor what is wrong with a value.
        """
        line, deepest = 0, ""
        at = error.__traceback__
        while at is not None:
            file = at.tb_frame.f_code.co_filename
            if file == self.text.path:
                line, deepest = at.tb_lineno, ""
            elif line and not _of_python(file):
                deepest = f"\n    raised in {file}:{at.tb_lineno}"
            at = at.tb_next
        name, said = type(error).__name__, words(error)
        told = f"{name}: {said}" if said else f"it raised {name}"
        if not line:
            return self.text.path, told, ""
        place = f"{self.text.path}:{line}"
        if self._hides(line):
            if not isinstance(error, _TELLS_NAMES):
                told = f"{name} (no more is told: the line may hold a secret)"
            return place, told, deepest
        return place, told, f"\n    {self.text.line(line).strip()[:WIDEST]}{deepest}"

    def _hides(self, line: int) -> bool:
        first = _first_line(self.body, line)
        return any(self.text.hides(self.text.line(number)) for number in range(first, line + 1))


def _first_line(body: list[Any], line: int) -> int:
    """Return the first line of the innermost statement that has `line` in it."""
    for statement in body:
        if statement.lineno <= line <= statement.end_lineno:
            inner = _inner(statement)
            return _first_line(inner, line) if inner else int(statement.lineno)
    return line


def _of_python(file: str) -> bool:
    """Whether a source file is Python's own or Ginkgo's: nothing a person would look into."""
    own = (os.path.dirname(os.__file__), os.path.dirname(__file__), "<")
    return file.startswith(own) and "site-packages" not in file


class Written(MutableMapping[str, Any]):
    """The names that a file sets, with the line that did: what it runs in as its locals.

    They are put into its globals at once, so that its functions see them. The lines are those that
    ran: of `if` and `else`, the branch that was taken.
    """

    def __init__(self, names: dict[str, Any], path: str) -> None:
        self._names = names
        self._path = path
        self.lines: dict[str, int] = {}

    def __setitem__(self, name: str, value: object) -> None:
        self._names[name] = value
        frame = sys._getframe(1)
        while frame.f_code.co_filename != self._path:
            if frame.f_back is None:
                return
            frame = frame.f_back
        self.lines[name] = frame.f_lineno

    def __getitem__(self, name: str) -> Any:
        return self._names[name]

    def __delitem__(self, name: str) -> None:
        del self._names[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _inner(statement: Any) -> list[Any]:
    """Return the statements in a compound statement, in their order."""
    inner: list[Any] = []
    for block in ("body", "handlers", "orelse", "finalbody", "cases"):
        for each in getattr(statement, block, ()):
            # A case of a match has no line of its own, only its statements have.
            inner += each.body if block == "cases" else [each]
    return inner


def bindings(body: list[Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield each name that the statements set, with its line; later ones after.

    What is set in a class has the class's name before it: `db.host`.
    """
    for statement in body:
        what = type(statement).__name__
        if what in ("Assign", "AnnAssign", "AugAssign"):
            targets = statement.targets if what == "Assign" else [statement.target]
            for target in targets:
                if type(target).__name__ == "Name":
                    yield prefix + target.id, target.lineno
        elif what in ("FunctionDef", "AsyncFunctionDef", "ClassDef"):
            yield prefix + statement.name, statement.lineno
            if what == "ClassDef":
                yield from bindings(statement.body, f"{prefix}{statement.name}.")
        else:
            yield from bindings(_inner(statement), prefix)


def flatten(
    given: MutableMapping[str, Any],
    places: dict[str, str],
    origin: str,
    *,
    module: str | None = None,
) -> tuple[dict[str, Found], dict[str, Found]]:
    """Return the values in `given` by path, and the classes that were taken for groups.

    Args:
        given: names and values; names with a leading underscore are left out, and so are modules.
        places: where each name was set, as it was written, as far as it is known.
        origin: where it was set, else.
        module: the module that a class has to be of to be a group; None: any.
    """
    values: dict[str, Found] = {}
    classes: dict[str, Found] = {}

    def walk(names: list[tuple[Any, Any]], prefix: str) -> None:
        for name, value in names:
            if str(name).startswith("_") or isinstance(value, ModuleType):
                continue
            written = f"{prefix}{name}"
            path = normalise(written)
            found = Found(value, places.get(written, origin))
            group = _is_group(value, module)
            if group:
                walk(list(vars(value).items()), f"{written}.")
            # `from ginkgo import Service` does not set `service`, nor does `class Message`
            # set `message`: of classes and functions the name counts as it is written.
            if path == written.lstrip(".") or not callable(value):
                (classes if group else values)[path] = found

    walk(list(given.items()), "")
    return values, classes


def _is_group(value: object, module: str | None) -> bool:
    """Whether a value is a class that only holds names.

    It has no base and no metaclass, is not imported, and declares no settings of its own.
    """
    if type(value) is not type or value.__bases__ != (object,):
        return False
    if "__ginkgo_settings__" in vars(value):
        return False
    return module is None or value.__module__ == module
