"""What is to be done to the loggers, built completely before anything is touched.

A Plan holds handlers that are ready to use, and what each logger shall get. `build` makes it from
the settings, `setup` installs it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ginkgo.core.errors import ConfigError
from ginkgo.logs.files import LogFile
from ginkgo.logs.handler import LineHandler, Sink

LEVELS = "debug, info, warning, error, critical"


@dataclass(frozen=True)
class LoggerPlan:
    """What one logger gets; None means that it keeps what it has."""

    level: int | None = None
    handlers: tuple[logging.Handler, ...] = ()
    filters: tuple[Any, ...] = ()
    propagate: bool | None = None


@dataclass
class Plan:
    """The whole of a logging configuration, ready to be installed. "" is the root logger."""

    loggers: dict[str, LoggerPlan] = field(default_factory=dict)
    handlers: list[logging.Handler] = field(default_factory=list)
    disable_others: bool = False

    def files(self) -> Iterable[str]:
        """Yield the paths of the log files that handlers write to, the root logger's first."""
        root = self.loggers.get("", LoggerPlan()).handlers
        for handler in (*root, *self.handlers):
            if isinstance(handler, logging.FileHandler):
                yield os.path.realpath(handler.baseFilename)
            elif isinstance(handler, LineHandler) and isinstance(handler.sink, LogFile):
                yield handler.sink.path

    def discard(self) -> None:
        """Close the handlers; for a plan that is not installed, or not any more."""
        for handler in self.handlers:
            handler.close()


class Sinks:
    """Where a plan gets its sinks: what runs already is used again, what is new is remembered.

    Args:
        running: the sinks of the configuration in use.
        open_file: makes the sink of a path.
        open_stream: makes the sink of a text stream.
    """

    def __init__(
        self,
        running: Iterable[Sink],
        open_file: Callable[[str], LogFile],
        open_stream: Callable[[Any], Sink],
    ) -> None:
        self._files = {sink.path: sink for sink in running if isinstance(sink, LogFile)}
        self._open_file = open_file
        self._open_stream = open_stream
        self.used: list[Sink] = []
        self.fresh: list[Sink] = []

    def file(self, path: str) -> LogFile:
        """Return the sink of a file, which is opened unless it is open."""
        path = os.path.abspath(path)
        sink = self._files.get(path)
        if sink is None:
            sink = self._files[path] = self._open_file(path)
            self.fresh.append(sink)
        self._use(sink)
        return sink

    def stream(self, stream: Any) -> Sink:
        """Return a sink for a text stream."""
        sink = self._open_stream(stream)
        self._use(sink)
        return sink

    def _use(self, sink: Sink) -> None:
        if sink not in self.used:
            self.used.append(sink)

    def discard(self) -> None:
        """Close what was opened for a plan that is not used."""
        for sink in self.fresh:
            sink.close()


def level_number(value: object, setting: str) -> int:
    """Return a log level as its number.

    Args:
        value: a name that `logging` knows, in any case, or a number.
        setting: what the error names.

    Raises:
        ConfigError: it is no level.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        known = {name.upper(): number for name, number in logging.getLevelNamesMapping().items()}
        if value.strip().upper() in known:
            return known[value.strip().upper()]
    raise ConfigError(f"{setting}: {value!r} is not a log level", hint=f"Use one of {LEVELS}.")
