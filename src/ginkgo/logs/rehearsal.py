"""Would a logging configuration work? Found out without making, opening or emptying a log file.

The parts are built as `build` builds them for a start, and thrown away; only the files are looked
at instead of opened, those of a logconfig's own file handlers too.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from ginkgo.core.errors import ConfigError
from ginkgo.logs.advanced import read_file
from ginkgo.logs.build import build, formatter_of, levels
from ginkgo.logs.files import LogFile
from ginkgo.logs.handler import Sink
from ginkgo.logs.opening import check_log_file
from ginkgo.logs.plan import Sinks
from ginkgo.logs.terminal import TextSink


def check_level(loglevel: object) -> None:
    """Check a value of `loglevel`.

    Raises:
        ConfigError: it is no level, nor a dict of levels.
    """
    levels(loglevel)


def check_format(logformat: str) -> None:
    """Check a value of `logformat`.

    Raises:
        ConfigError: it takes a package that is not installed.
    """
    formatter_of(logformat)


def check_file(path: str | os.PathLike[str]) -> None:
    """Check a value of `logfile`.

    Raises:
        PermissionDenied, CannotCreate: a daemon could not log there.
    """
    check_log_file(os.path.abspath(path), {os.geteuid()})


def check_readable(logconfig: object) -> None:
    """Check that the file that a `logconfig` may name is there, and an ini file.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(logconfig, (str, os.PathLike)):
        read_file(os.fspath(logconfig))


def check_config(logconfig: object) -> None:
    """Check a value of `logconfig`, by making its handlers.

    Raises:
        ConfigError: a value is wrong.
        PermissionDenied, CannotCreate: a file of it could not be opened.
    """
    if logconfig is None:
        return
    sinks = Sinks((), _look_at, _stream)
    try:
        plan = build(logconfig, None, sinks, lambda: _look_at(os.devnull), dry=True)
        try:
            for handler in plan.handlers:
                if isinstance(handler, logging.FileHandler):
                    check_log_file(os.path.realpath(handler.baseFilename), None)
        finally:
            plan.discard()
    finally:
        sinks.discard()


def _look_at(path: str) -> LogFile:
    """Return a log file that stands for the one at `path`, and goes nowhere."""
    check_file(path)
    return LogFile(os.devnull)


def _stream(stream: Any) -> Sink:
    if not hasattr(stream, "write"):
        raise ConfigError(f"logconfig: {stream!r} is not a text stream")
    return TextSink(stream)
