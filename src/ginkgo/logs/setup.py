"""The process's logging: configured, reconfigured, reopened and ended here.

A reload must be able to say no, and must not lose a line. So there are two steps: `prepare` builds
everything new and may raise, `Prepared.apply` puts it in the place of the old and cannot. The log
file and the terminal are the same objects before and after (sinks, see `handler`): only the
handlers on them change, so that a line which is on its way through an old one arrives as well.

Only what was installed here is touched: handlers that somebody else added to a logger (an
application, a test's caplog) stay, and a logger that the new configuration does not name any more
gets back the level that it had at first.

Logging is a matter of the whole process, and so is the state of this module.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

from ginkgo.async_ import native
from ginkgo.core.errors import ConfigError, GinkgoError
from ginkgo.logs import levels, stdio
from ginkgo.logs.build import build
from ginkgo.logs.files import LogFile
from ginkgo.logs.handler import Sink
from ginkgo.logs.plan import LoggerPlan, Plan, Sinks
from ginkgo.logs.terminal import BrokenPipe, Terminal, TextSink

logger = logging.getLogger(__name__)

# Never switched off by a configuration: "Stopping." should not depend on it.
_OUR_LOGGERS = "ginkgo"


@dataclass(frozen=True)
class _Before:
    """What a logger was like before it was first touched here."""

    level: int
    propagate: bool
    disabled: bool


@dataclass
class _State:
    """What is installed now."""

    plan: Plan = field(default_factory=Plan)
    sinks: list[Sink] = field(default_factory=list)
    log: LogFile | None = None
    before: dict[str, _Before] = field(default_factory=dict)
    captured: bool = False
    dropped: int = 0  # by sinks that are not in use any more


_state = _State()


@dataclass(frozen=True)
class Status:
    """How the log fares, for `ginkgoctl status` and the metrics.

    Attributes:
        path: of the daemon's log file, if there is one.
        dropped: lines that could not be written since the start.
        problem: what is wrong with the log file now, if anything.
    """

    path: str | None
    dropped: int
    problem: str | None


class Prepared:
    """A new logging configuration, complete and not yet in use: call one of the two."""

    def __init__(self, plan: Plan, sinks: Sinks, log: LogFile | None) -> None:
        self._plan = plan
        self._sinks = sinks
        self._log = log

    def apply(self) -> None:
        """Put it in the place of the old one. Never fails."""
        old, old_sinks = _state.plan, _state.sinks
        levels.lift()
        _install(self._plan)
        levels.lay()
        _state.plan, _state.sinks, _state.log = self._plan, self._sinks.used, self._log
        if _state.captured:
            stdio.capture(self._log)
        for handler in old.handlers:
            if handler not in self._plan.handlers:
                handler.close()
        for sink in old_sinks:
            if sink not in self._sinks.used:
                _state.dropped += sink.dropped
                sink.close()

    def discard(self) -> None:
        """Close what was opened for it; the old one stays as it is."""
        self._plan.discard()
        self._sinks.discard()


def prepare(
    logconfig: object = None,
    logfile: str | os.PathLike[str] | None = None,
    loglevel: object = "debug",
    *,
    daemon: bool,
    stream: Any = None,
    owner: int | None = None,
    broken: BrokenPipe | None = None,
    logformat: str = "text",
) -> Prepared:
    """Build a logging configuration from the values of the settings, and touch nothing.

    Args:
        logconfig: None; a dict of the arguments of `logging.basicConfig`; a dict with a "version"
            for `logging.config.dictConfig`; or the path of a file for `logging.config.fileConfig`.
        logfile: where a daemon's log goes. With a `logconfig` that has its own log file, it is not
            opened; otherwise what the daemon prints ends there all the same.
        loglevel: a level name in any case, or a dict from logger names to levels, in which "root"
            or "" is the root logger. Ignored where there is a `logconfig`, as is `logfile`.
        daemon: log to a file instead of `stream`.
        stream: the terminal; stderr if None.
        owner: the uid that the process is about to become, if it is still root: its files are its
            own.
        broken: told when the reader of `stream` is gone.
        logformat: "text" or "json". Ignored where there is a `logconfig`.

    Raises:
        ConfigError: a value is wrong; it names the setting, and what would be right.
        PermissionDenied, CannotCreate: the log file cannot be opened safely.
    """
    broken = broken or BrokenPipe()
    sinks = Sinks(
        _state.sinks,
        lambda path: LogFile(path, owner=owner),
        lambda stream: _stream_sink(stream, broken),
    )

    def default_sink() -> Sink:
        if daemon and logfile is not None:
            return sinks.file(os.fspath(logfile))
        return sinks.stream(stream if stream is not None else sys.stderr)

    plan = Plan()
    try:
        plan = build(logconfig, loglevel, sinks, default_sink, logformat=logformat)
        log = _daemon_log(plan, sinks, logfile) if daemon else None
    except BaseException:  # raised; nothing of a log that is not taken stays open
        plan.discard()
        sinks.discard()
        raise
    return Prepared(plan, sinks, log)


def configure(
    logconfig: object = None,
    logfile: str | os.PathLike[str] | None = None,
    loglevel: object = "debug",
    *,
    daemon: bool,
    stream: Any = None,
    owner: int | None = None,
    broken: BrokenPipe | None = None,
    logformat: str = "text",
) -> None:
    """Configure logging, or configure it anew; arguments and errors are those of `prepare`.

    Whatever it raises, the logging is as it was before.
    """
    prepare(
        logconfig,
        logfile,
        loglevel,
        daemon=daemon,
        stream=stream,
        owner=owner,
        broken=broken,
        logformat=logformat,
    ).apply()


def unconfigure() -> None:
    """Take away everything that was installed, and leave the loggers as they were before."""
    prepared = Prepared(Plan(), Sinks((), LogFile, TextSink), None)
    _state.captured = False
    prepared.apply()


def capture_output() -> None:
    """Let everything that this daemon prints end in its log, from now on and after each reload."""
    _state.captured = True
    stdio.capture(_state.log)


def reopen() -> None:
    """Open the log files anew (SIGUSR1). What cannot be opened is logged, and its old file kept."""
    for sink in _state.sinks:
        if isinstance(sink, LogFile):
            try:
                sink.reopen()
            except GinkgoError as error:
                logger.error("%s; the file that was open stays in use", error)
    for handler, old in _open_file_handlers():
        handler.acquire()
        try:
            handler.stream = handler._open()
            old.close()
        except OSError as error:
            logger.error("logfile %s: %s", handler.baseFilename, error.strerror)
        finally:
            handler.release()


def give_to(uid: int, gid: int) -> None:
    """Let the log files belong to the user that the process is about to become.

    To be called as root, after `configure` and before the privileges are dropped: afterwards they
    can be reopened without root.

    Raises:
        OSError: this process may not do that.
    """
    for sink in _state.sinks:
        if isinstance(sink, LogFile):
            sink.give_to(uid, gid)
    for _, stream in _open_file_handlers():
        fd = stream.fileno()
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.fchown(fd, uid, gid)


def status() -> Status:
    """Return how the log fares."""
    return Status(
        path=_state.log.path if _state.log is not None else None,
        dropped=_state.dropped + sum(sink.dropped for sink in _state.sinks),
        problem=_state.log.problem if _state.log is not None else None,
    )


def shutdown(timeout: float = 2.0) -> None:
    """Flush everything; the very last thing a process does before it exits.

    Lines are written when they are logged, so for Ginkgo's own handlers this waits only for a
    reader who is slow. Handlers of the application may hold lines back, or hang in a network: they
    are flushed in a thread, and given up after `timeout`. Logging goes on to work for whoever comes
    later.

    Args:
        timeout: seconds for all of it.
    """
    deadline = time.monotonic() + timeout
    for sink in _state.sinks:
        sink.flush(max(0.0, deadline - time.monotonic()))

    def flush() -> None:
        for handler in reversed(_all_handlers()):
            try:
                handler.flush()
            except Exception as error:  # noqa: BLE001 - a handler is anybody's code
                _say(f"{type(handler).__name__} could not be flushed: {error!r}")

    thread = native.start_thread(flush, name="log-flush")
    if not thread.join(max(0.0, deadline - time.monotonic())):
        _say(f"log handlers were not flushed within {timeout:g} s")


# --- the parts ---


def _stream_sink(stream: Any, broken: BrokenPipe) -> Sink:
    try:
        fd = stream.fileno()
    except (AttributeError, OSError, ValueError):
        if not hasattr(stream, "write"):
            raise ConfigError(f"logconfig: {stream!r} is not a text stream") from None
        return TextSink(stream)
    for sink in _state.sinks:
        if isinstance(sink, Terminal) and sink.fd == fd:
            return sink
    return Terminal(fd, broken)


def _daemon_log(plan: Plan, sinks: Sinks, logfile: str | os.PathLike[str] | None) -> LogFile | None:
    """Return the file that a daemon's output ends in: the first log file, whoever opened it."""
    path = next(iter(plan.files()), None) or logfile
    return None if path is None else sinks.file(os.fspath(path))


def _install(plan: Plan) -> None:
    """Make the loggers what the plan says, and all others what they were."""
    ours = {id(handler) for handler in _state.plan.handlers}
    old_filters = {id(f) for p in _state.plan.loggers.values() for f in p.filters}
    disabled = _others(plan) if plan.disable_others else set()
    before = _state.before
    for name in {*before, *plan.loggers, *disabled}:
        target = logging.getLogger(name)
        first = before.setdefault(name, _Before(target.level, target.propagate, target.disabled))
        wanted = plan.loggers.get(name, LoggerPlan())
        # One assignment: a thread that walks through the old list goes on to do so.
        others = [h for h in target.handlers if id(h) not in ours and h not in wanted.handlers]
        target.handlers = [*wanted.handlers, *others]
        kept = [f for f in target.filters if id(f) not in old_filters]
        target.filters = [*kept, *wanted.filters]
        target.propagate = first.propagate if wanted.propagate is None else wanted.propagate
        target.disabled = name in disabled or (name not in plan.loggers and first.disabled)
        target.setLevel(first.level if wanted.level is None else wanted.level)
        if name not in plan.loggers and name not in disabled:
            del before[name]


def _others(plan: Plan) -> set[str]:
    """Return the loggers that exist and are neither named, nor below one that is, nor ours."""
    named = [name for name in (*plan.loggers, _OUR_LOGGERS) if name]
    return {
        name
        for name, entry in logging.root.manager.loggerDict.items()
        if isinstance(entry, logging.Logger)
        and not any(name == parent or name.startswith(parent + ".") for parent in named)
    }


def _open_file_handlers() -> list[tuple[logging.FileHandler, TextIO]]:
    """Return a logconfig's file handlers with their files; not those that would empty them."""
    return [
        (handler, handler.stream)
        for handler in _state.plan.handlers
        if isinstance(handler, logging.FileHandler)
        and handler.stream is not None
        and "w" not in handler.mode
    ]


def _all_handlers() -> list[logging.Handler]:
    """Return every handler that a logger has, ours and others, each once."""
    loggers: list[Any] = [logging.root, *logging.root.manager.loggerDict.values()]
    found = {id(h): h for entry in loggers for h in getattr(entry, "handlers", ())}
    return list(found.values())


def _say(text: str) -> None:
    try:
        print(f"ginkgo: {text}", file=sys.stderr)
    except (OSError, ValueError):
        pass  # nobody is left who could be told
