"""From what a user names on the command line to a service.

A target is a config file (it ends in ``.py``) or the dotted name of a class or factory,
``module.Class``. The module is looked for in the current folder first, then beside the config
file, then among what is installed; never before the standard library, so that a ``logging.py``
which happens to lie there shadows nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..core.errors import (
    ApplicationFailed,
    ConfigError,
    GinkgoError,
    TargetNotFound,
    UsageError,
)
from ..core.service import Service
from .signals import Stopped


def add_import_paths(*folders: str) -> None:
    """Let modules be imported from `folders`: behind the standard library, before the rest."""
    at = next(
        (i for i, path in enumerate(sys.path) if path.endswith(("site-packages", "dist-packages"))),
        len(sys.path),
    )
    for folder in folders:
        if folder not in sys.path:
            sys.path.insert(at, folder)
            at += 1


class NoSuchModule(TargetNotFound):
    """The target that was named on the command line is in no module that there is."""


def load_name(dotted: str, said_by: str = "") -> Callable[[], Any]:
    """Import the module of ``module.Class`` and return the class or factory.

    Args:
        dotted: the target.
        said_by: where it was named, for messages: ``app.conf.py:4``.

    Raises:
        NoSuchModule: there is no such module, and no file to mend that in.
        TargetNotFound: there is no such module, or no such name in it.
        ApplicationFailed: the module is there, and importing it raised.
        GinkgoError: that is what importing it raised.
    """
    where = f"{said_by}: " if said_by else ""
    module_name, _, name = dotted.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in dotted.split(".")):
        raise (TargetNotFound if said_by else NoSuchModule)(
            f"{where}{dotted!r} is not a target",
            hint="A target is module.Class, module.factory, or a config file such as app.conf.py.",
        )
    module = _import(module_name, dotted, where)
    try:
        factory = getattr(module, name)
    except AttributeError:
        names = [each for each, value in vars(module).items() if callable(value)]
        raise TargetNotFound(
            f"{where}{module_name} ({module.__file__}) has no {name!r}",
            hint=_did_you_mean(name, names) or f"Define {name} there, or name what is there.",
        ) from None
    if not callable(factory) and not isinstance(factory, Service):
        raise TargetNotFound(
            f"{where}{dotted} is {factory!r}",
            hint="A target is a Service subclass, or a function that returns a service.",
        )
    return factory if callable(factory) else lambda: factory


def _import(module_name: str, dotted: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == module_name or module_name.startswith(f"{missing}."):
            raise (TargetNotFound if where else NoSuchModule)(
                f"{where}there is no module {missing!r} (looking for {dotted})",
                hint=_did_you_mean(missing, _modules_here())
                or f"It is looked for in {os.getcwd()} and among the installed packages.",
            ) from None
        raise _import_failed(module_name, dotted, where, error) from error
    except SyntaxError as error:
        raise _syntax_error(where, error) from None
    except GinkgoError as error:
        if isinstance(error, UsageError):
            raise _import_failed(module_name, dotted, where, error) from error
        raise  # as it is: what a server needs that is not installed, for example
    except Exception as error:
        raise _import_failed(module_name, dotted, where, error) from error
    except SystemExit as error:
        raise _import_failed(module_name, dotted, where, error) from error


def _import_failed(
    module_name: str, dotted: str, where: str, error: BaseException
) -> ApplicationFailed:
    return ApplicationFailed(
        f"{where}importing {module_name} (for {dotted}) raised {type(error).__name__}: {error}",
        hint="The module was found; the error is in it, or in what it imports.",
    )


def _syntax_error(where: str, error: SyntaxError) -> ApplicationFailed:
    found = _python_2_lines(error.filename or "")
    if found:
        lines = "\n".join(
            f"  {place}\n      {text}\n      {advice}" for place, text, advice in found
        )
        return ApplicationFailed(
            f"{where}{error.filename} is written for Python 2:\n{lines}",
            hint="Change these lines and start it again.",
        )
    text = (error.text or "").rstrip("\n")
    caret = " " * max(0, (error.offset or 1) - 1) + "^"
    return ApplicationFailed(
        f"{where}{error.filename}:{error.lineno}:{error.offset}: {error.msg}\n"
        f"    {text}\n    {caret}",
        hint="Mend that line and start it again.",
    )


def _python_2_lines(filename: str) -> list[tuple[str, str, str]]:
    """The lines of a file that only Python 2 took: where, the line, and what to write instead."""
    from ..config.python2 import python_2_lines

    try:
        with open(filename, encoding="utf-8", errors="replace") as file:
            return [
                (f"{filename}:{number}", line, advice)
                for number, line, advice in python_2_lines(file)
            ]
    except OSError:
        return []


def make_service(factory: Callable[[], Any], target: str) -> Service:
    """Call the factory.

    Raises:
        ApplicationFailed: it raised, or what it returned is not a service.
    """
    try:
        service = factory()
    except GinkgoError as error:
        if isinstance(error, UsageError):
            raise ApplicationFailed(f"making {target}: {error}", hint=error.hint) from error
        raise
    except SystemExit as error:
        if isinstance(error, Stopped):
            raise
        raise exited(f"making {target}", error) from error
    except Exception as error:
        raise ApplicationFailed(
            f"making {target} raised {type(error).__name__}: {error}",
            hint="Nothing had been started yet.",
        ) from error
    if not isinstance(service, Service):
        raise ApplicationFailed(
            f"{target} returned {service!r}, which is not a service",
            hint="Return an instance of a Service subclass.",
        )
    return service


def exited(what: str, error: SystemExit) -> ApplicationFailed:
    """The error for an application that calls sys.exit() while it is being made or started."""
    failed = ApplicationFailed(f"{what} called sys.exit({error.code!r})")
    failed.status = error.code & 0xFF if isinstance(error.code, int) else 1  # type: ignore[misc]
    if error.code is None:
        failed.status = 0  # type: ignore[misc]
    return failed


def service_factory(value: Any, said_by: str) -> tuple[Callable[[], Any], str]:
    """What the setting `service` names: a class path, a class, or a factory.

    Returns:
        The factory and what to call it in messages.
    """
    if isinstance(value, str):
        return load_name(value, said_by), value
    if callable(value):
        return value, getattr(value, "__qualname__", repr(value))
    raise ConfigError(
        f"{said_by}: service is {value!r}",
        hint='It is a class path ("module.Class"), a class, or a function that returns a service.',
    )


def check_exists(path: str) -> None:
    """Raise TargetNotFound when there is no config file at `path`."""
    if os.path.lexists(path):
        return
    folder = os.path.dirname(path) or "."
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".py")]
    except OSError:
        raise TargetNotFound(f"there is no folder {folder!r} (looking for {path})") from None
    raise TargetNotFound(
        f"there is no file {path!r}",
        hint=_did_you_mean(os.path.basename(path), names)
        or "A target is a config file, or module.Class.",
    )


def _modules_here() -> list[str]:
    try:
        entries = os.listdir(os.getcwd())
    except OSError:
        return []
    return [
        entry.removesuffix(".py")
        for entry in entries
        if entry.endswith(".py") or os.path.isfile(os.path.join(entry, "__init__.py"))
    ]


def _did_you_mean(name: str, names: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=3)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def need_target(target: str | None) -> str:
    """The target, or UsageError when none was given."""
    if target is None:
        raise UsageError(
            "which service? No target was given",
            hint="ginkgo module.Class, or ginkgo app.conf.py; ginkgo -h shows the rest.",
        )
    return target
