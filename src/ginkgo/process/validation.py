"""What a start would refuse, found before anything is started, and all of it at once.

::

    settings.check()     types, choices, names             config knows no more than that
    here                 what the values mean              users, folders, levels, seconds

Every check leaves the world as it is: no file is made, opened for writing or emptied.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

from ..config import Snapshot, settings
from ..config.names import environment_name
from ..config.problems import ConfigProblems, Problem
from ..core.errors import CannotCreate, ConfigError, GinkgoError, PermissionDenied
from ..logs import rehearsal
from ..logs.settings import LogSettings
from . import control_address, privileges
from .choosing import Choice
from .places import candidates, instance_name
from .settings import ProcessSettings

TIMEOUTS = ("start_timeout", "stop_timeout", "shutdown_timeout")

MAY_STILL_COME = ("rundir", "pidfile", "logfile")
"""What these name, a service's constructor or the start itself may make; so a start goes on."""


class Fault(NamedTuple):
    """A setting whose value cannot be used.

    Attributes:
        setting: its path.
        error: what a start would raise, with the exit status that it would have.
    """

    setting: str
    error: GinkgoError

    @property
    def problem(self) -> Problem:
        """The same with its place, as `ginkgo.config` tells what is wrong."""
        return self.problem_in(settings.snapshot)

    def problem_in(self, snapshot: Snapshot) -> Problem:
        """The same with the place that it has in a configuration."""
        origin = snapshot.origin(self.setting)
        return Problem(self.setting, str(self.error), "" if origin == "default" else origin)


def check(
    process: ProcessSettings,
    log: LogSettings,
    target: str,
    choice: Choice,
    *,
    strict: bool = False,
) -> None:
    """Look at everything, for ``ginkgo check``.

    Args:
        choice: the backend that this process is prepared for.
        strict: a name that is nearly a setting's is an error.

    Raises:
        ConfigError: all that is wrong, each with file and line.
    """
    daemon = settings.origin("logfile") != "default" or _daemon(process)
    found = [*faults(process, log, target, choice, daemon=daemon), *_logconfig(log)]
    problems = [*_wrong_values(strict), *(each.problem for each in found)]
    if problems:
        raise ConfigProblems(problems, hint=_hints(found) if len(problems) == len(found) else None)


def check_start(
    process: ProcessSettings,
    log: LogSettings,
    target: str,
    choice: Choice,
    *,
    daemon: bool,
    strict: bool,
) -> None:
    """Look at what a start can know before it begins.

    Raises:
        ConfigError: all that is wrong, each with file and line.
        GinkgoError: the one thing that is wrong, where a start has another exit status for it.
    """
    wrong = _wrong_values(strict)
    found = list(faults(process, log, target, choice, daemon=daemon or _daemon(process)))
    if not wrong and all(each.setting in MAY_STILL_COME for each in found):
        return
    if not wrong and len(found) == 1:
        error = found[0].error
        raise type(error)(str(found[0].problem), hint=error.hint) from error
    problems = [*wrong, *(each.problem for each in found)]
    raise ConfigProblems(problems, hint=None if wrong else _hints(found))


def check_reload(process: ProcessSettings, log: LogSettings) -> None:
    """Look at what a reload changes; the rest needs a restart.

    Raises:
        ConfigError: all that is wrong, each with file and line.
    """
    found = [*_timeouts(process), *_level(log)]
    if found:
        raise ConfigProblems([each.problem for each in found], hint=_hints(found))


def check_below(process: ProcessSettings, log: LogSettings, *, daemon: bool) -> None:
    """Look at what a reload brings in below what is set for now, and what that then uncovers.

    Args:
        daemon: whether its log file is used.

    Raises:
        ConfigError: all that is wrong, each with file and line.
    """
    snapshot = settings.snapshot
    below = snapshot.without_temporary()
    if below is snapshot:
        return
    process, log = _as_in(below, process), _as_in(below, log)
    found = [*_timeouts(process), *_level(log)]
    if "logconfig" in snapshot.layers.temporary:
        found += _caught("logconfig", lambda: rehearsal.check_readable(log.logconfig))
        found += _logconfig(log)
    if daemon and "logfile" in snapshot.layers.temporary:
        found += _caught("logfile", lambda: _check_logfile(log))
    if found:
        raise ConfigProblems([each.problem_in(below) for each in found], hint=_hints(found))


def placed(error: GinkgoError) -> GinkgoError:
    """Return an error of the logging with the place of the setting that it begins with."""
    for setting in ("logconfig", "loglevel", "logfile", "logformat"):
        if str(error).startswith(setting):
            return ConfigProblems([Fault(setting, error).problem], hint=error.hint)
    return error


def faults(
    process: ProcessSettings, log: LogSettings, target: str, choice: Choice, *, daemon: bool
) -> Iterator[Fault]:
    """Yield what is wrong with the settings of the process and its log, the cheap checks.

    A value of a wrong type is none of these: `settings.check()` tells it.
    """
    yield from _prepared(process, choice)
    yield from _identity(process)
    yield from _caught("umask", lambda: _umask(process.umask))
    yield from _caught("rundir", lambda: privileges.check_rundir(process.rundir))
    yield from _caught("pidfile", lambda: _check_pidfile(process.pidfile, target))
    yield from _timeouts(process)
    yield from _level(log)
    yield from _control(process)
    yield from _caught("logconfig", lambda: rehearsal.check_readable(log.logconfig))
    if daemon:
        yield from _caught("logfile", lambda: _check_logfile(log))


T = TypeVar("T")


def _as_in(snapshot: Snapshot, owner: T) -> T:
    """Return what reads like `owner`, with its settings as they are in a configuration.

    Each is called as its setting's path.
    """

    class _AsIn:
        def __getattr__(self, name: str) -> Any:
            found = vars(type(owner)).get(name)
            return found.__get__(self) if isinstance(found, property) else snapshot.get(name)

    return cast("T", _AsIn())


def _caught(setting: str, check: Callable[[], object]) -> Iterator[Fault]:
    try:
        check()
    except ConfigProblems:
        return  # reading the setting said so: its value has a wrong type
    except GinkgoError as error:
        yield Fault(setting, error)


def _wrong_values(strict: bool) -> list[Problem]:
    try:
        settings.check(strict=strict)
    except ConfigProblems as error:
        return list(error.problems)
    return []


def _hints(found: Iterable[Fault]) -> str | None:
    return "\n".join(dict.fromkeys(each.error.hint for each in found if each.error.hint)) or None


def _daemon(process: ProcessSettings) -> bool:
    try:
        return process.daemon
    except ConfigError:
        return False


def _prepared(process: ProcessSettings, choice: Choice) -> Iterator[Fault]:
    """What had to be known before the file was run, and was not."""

    def look(name: str, used: object, prepared: str, option: str) -> None:
        value = getattr(process, name)
        if settings.origin(name) == "default" or value == used:
            return
        said = f"{name} = {value!r}"
        raise ConfigError(
            f"{name} is {value!r}, which is known only when the file has run, and before that "
            f"this process was prepared for {prepared}",
            hint=f"Write {said} in a line of its own, not under an `if`; or say "
            f"{option}{environment_name(name)}={value}.",
        )

    backend, patch = choice.backend, choice.patch
    yield from _caught(
        "backend",
        lambda: look("backend", backend, backend, f"--backend {process.backend} or "),
    )
    if backend == "gevent":
        prepared = f"monkey_patch = {patch}"
        yield from _caught("monkey_patch", lambda: look("monkey_patch", patch, prepared, ""))


def _identity(process: ProcessSettings) -> Iterator[Fault]:
    for fault in _caught("user", lambda: privileges.find_identity(process.user, process.group)):
        blamed = "group" if "setting `group`" in (fault.error.hint or "") else "user"
        yield fault._replace(setting=blamed)


def _umask(value: int | str | None) -> None:
    if value is not None:
        privileges.read_umask(value)


def _check_pidfile(path: str | None, target: str) -> None:
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    if folder in candidates(instance_name(target)):
        return  # the start makes it
    if not os.path.isdir(folder):
        raise CannotCreate(
            f"pidfile {path}: there is no folder {folder}",
            hint="make it, or set `pidfile` to another path",
        )
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionDenied(
            f"pidfile {path}: uid {os.geteuid()} may not write to {folder}",
            hint="let that user write there, or set `pidfile` to another path",
        )


def _check_logfile(log: LogSettings) -> None:
    if log.logconfig is None:
        rehearsal.check_file(log.logfile)


def _timeouts(process: ProcessSettings) -> Iterator[Fault]:
    def look(name: str) -> None:
        value: Any = getattr(process, name)
        if value <= 0:
            raise ConfigError(
                f"{name} is {value:g}, and has to be more than 0",
                hint="Timeouts are numbers of seconds.",
            )

    for name in TIMEOUTS:
        yield from _caught(name, lambda name=name: look(name))  # type: ignore[misc]

    def look_at_blocked_after() -> None:
        value = process.blocked_after
        if value is not None and value < 0:
            raise ConfigError(
                f"blocked_after is {value:g}, and has to be 0 or more",
                hint="It is a number of seconds; 0 turns it off.",
            )

    yield from _caught("blocked_after", look_at_blocked_after)
    yield from _caught("lameduck", lambda: _lameduck(process))


def _lameduck(process: ProcessSettings) -> None:
    seconds, limit = process.lame_duck_seconds, process.shutdown_timeout
    if seconds < 0:
        raise ConfigError(
            f"lameduck is {seconds:g}, and has to be 0 or more",
            hint="It is a number of seconds; 0 turns it off.",
        )
    if process.lameduck is not None and seconds >= limit > 0:
        raise ConfigError(
            f"lameduck is {seconds:g}, which leaves nothing of shutdown_timeout ({limit:g}) for "
            "the stop itself",
            hint="Make shutdown_timeout longer: it counts from the signal.",
        )


def _control(process: ProcessSettings) -> Iterator[Fault]:
    yield from _caught("control", lambda: control_address.check_address(process))
    yield from _caught("control_token", lambda: control_address.check_token(process))
    yield from _caught("control_hosts", lambda: control_address.check_hosts(process))
    yield from _caught("control_certfile", lambda: control_address.check_certificate(process))
    yield from _caught("control_keyfile", lambda: control_address.check_key(process))


def _level(log: LogSettings) -> Iterator[Fault]:
    def look() -> None:
        if log.logconfig is None:  # else it is ignored
            rehearsal.check_level(log.loglevel)

    def look_at_format() -> None:
        if log.logconfig is None:
            rehearsal.check_format(log.logformat)

    yield from _caught("loglevel", look)
    yield from _caught("logformat", look_at_format)


def _logconfig(log: LogSettings) -> Iterator[Fault]:
    """The rest of a logconfig, which takes making its handlers; what cannot be read is told."""

    def look() -> None:
        config = log.logconfig
        try:
            rehearsal.check_readable(config)
        except GinkgoError:
            return
        rehearsal.check_config(config)

    yield from _caught("logconfig", look)
