"""What is needed to start an external program, checked before anything is started."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.errors import ConfigError, GinkgoError, PermissionDenied, TargetNotFound
from .command_guard import MARK
from .privileges import Identity, find_identity

_OURS = {
    *("NOTIFY_SOCKET", "MAINPID"),
    *("WATCHDOG_PID", "WATCHDOG_USEC"),
    *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"),
}
"""What systemd tells this process, and means for no other one."""

_FOR_ANYBODY = ("LANG", "LANGUAGE", "PATH", "TERM", "TZ")
"""What another user's program gets of our environment, with LC_*: none of it loads code."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A program as it is going to be started.

    Attributes:
        argv: its arguments, the name first.
        executable: the absolute path of its file.
        env: its environment, but for the mark.
        cwd: the folder it starts in; None: ours.
        identity: whom it runs as; None: as ourselves.
    """

    argv: tuple[str, ...]
    executable: str
    env: Mapping[str, str]
    cwd: str | None
    identity: Identity | None

    @property
    def who(self) -> dict[str, Any]:
        """The same, as Popen takes it."""
        if self.identity is None:
            return {}
        uid, gid, groups = self.identity[1:]
        return {"user": uid, "group": gid, "extra_groups": list(groups)}

    def environment(self, mark: str) -> dict[str, str]:
        """Its environment."""
        return {**self.env, MARK: mark}


def prepare(
    argv: Any,
    env: Mapping[str, str | None] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    user: str | int | None = None,
    group: str | int | None = None,
) -> Launch:
    """Check what a program is to be started with.

    Raises:
        ConfigError: an argument makes no sense, or there is no such folder.
        TargetNotFound: there is no such program.
        NoSuchUser, PermissionDenied: see :func:`.privileges.find_identity`; or the file may not be
            executed.
    """
    words = parse_argv(argv)
    identity = find_identity(user, group)
    if cwd is not None and not os.path.isabs(cwd):
        raise ConfigError(
            f"cwd = {os.fspath(cwd)!r} is not an absolute path",
            hint="The folder that a daemon itself works in is not the one it was written in.",
        )
    if cwd is not None and not os.path.isdir(cwd):
        raise ConfigError(f"cwd = {os.fspath(cwd)!r}: there is no such folder", hint="Make it.")
    environment = clean_environment(os.environ, identity)
    for name, value in (env or {}).items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = _text(value, f"env[{name!r}]")
    found = find_program(words[0], environment.get("PATH", os.defpath), cwd)
    return Launch(words, found, environment, None if cwd is None else os.fspath(cwd), identity)


def parse_argv(argv: Any) -> tuple[str, ...]:
    """Return a program's arguments as texts.

    Raises:
        ConfigError: they are not a list of texts and paths.
    """
    if isinstance(argv, (str, bytes, os.PathLike)):
        raise ConfigError(
            f"argv is a list, and not the text {argv!r}: no shell takes it apart",
            hint='Write ["redis-server", "--port", "6379"]. For what a shell can do, call one: '
            '["sh", "-c", "..."].',
        )
    if not isinstance(argv, Sequence) or not argv:
        raise ConfigError(
            f"argv = {argv!r} names no program",
            hint='Give a list, the program first: ["redis-server", "--port", "6379"].',
        )
    words = tuple(_text(word, f"argv[{number}]") for number, word in enumerate(argv))
    if not words[0]:
        raise ConfigError(f"argv = {list(words)!r}: the name of the program is empty")
    return words


def _text(value: Any, where: str) -> str:
    try:
        text = os.fsdecode(value)
    except TypeError:
        raise ConfigError(
            f"{where} is {value!r}, and not a text", hint="str() makes one of a number."
        ) from None
    if "\0" in text:
        raise ConfigError(f"{where} has a zero byte in it: {text!r}")
    return text


def clean_environment(ours: Mapping[str, str], identity: Identity | None) -> dict[str, str]:
    """What a program gets of our environment.

    Not what is meant for this process alone: settings (``GINKGO_...``, secrets among them) and what
    systemd told it. A program of another user gets what says nothing but language, place and time.
    """
    if identity is not None and identity.uid != os.geteuid():
        kept = {
            name: value
            for name, value in ours.items()
            if name in _FOR_ANYBODY or name.startswith("LC_")
        }
        return kept | _home_of(identity)
    return {
        name: value
        for name, value in ours.items()
        if not name.startswith("GINKGO_") and name not in _OURS
    }


def _home_of(identity: Identity) -> dict[str, str]:
    import pwd

    try:
        entry = pwd.getpwuid(identity.uid)
    except KeyError:
        return {}
    name = entry.pw_name
    return {"HOME": entry.pw_dir, "LOGNAME": name, "USER": name, "SHELL": entry.pw_shell}


def find_program(name: str, path: str, cwd: str | os.PathLike[str] | None) -> str:
    """Return the absolute path of a program.

    Args:
        name: as in ``argv[0]``; without a slash it is looked for in `path`.
        path: the PATH of its environment.
        cwd: what a relative name with a slash begins at.

    Raises:
        TargetNotFound: there is none.
        PermissionDenied: it may not be executed.
    """
    if "/" not in name:
        found = shutil.which(name, path=path)
        if found is None:
            raise TargetNotFound(
                f"there is no program {name!r} in PATH={path}",
                hint="Install it, or give its absolute path. "
                "env={'PATH': ...} changes where it is looked for.",
            )
        return os.path.abspath(found)
    found = os.path.join(os.getcwd() if cwd is None else os.fspath(cwd), name)
    if not os.path.exists(found):
        raise TargetNotFound(f"there is no program {found}", hint="Check argv and cwd.")
    if os.path.isdir(found) or not os.access(found, os.X_OK):
        raise PermissionDenied(
            f"{found} may not be executed", hint=f"chmod +x {found}, if it is a program."
        )
    return found


def parse_signal(given: Any, where: str) -> int:
    """Return the number of a signal given as ``signal.SIGINT``, 2, ``"SIGINT"`` or ``"INT"``.

    Raises:
        ConfigError: there is no such signal.
    """
    if isinstance(given, str):
        name = given.upper()
        number = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    else:
        number = given
    plain = type(number) in (int, signal.Signals)  # neither SIG_IGN nor True
    if plain and number in signal.valid_signals():
        return int(number)
    raise ConfigError(f"{where} = {given!r} is not a signal", hint='Write "SIGTERM", for example.')


def with_path(path: str, error: GinkgoError) -> GinkgoError:
    """The same error, which says which service it happened to."""
    return type(error)(f"{path}: {error}", hint=error.hint)
