"""From the values of the settings to a Plan.

`logconfig` has four forms. A mistake anywhere raises ConfigError here, while the logging that runs
knows nothing of it; what had been opened is closed again.

    None                         loglevel and logformat, and the log file or the terminal
    {"level": ..., ...}          the arguments of logging.basicConfig
    {"version": 1, ...}          logging.config.dictConfig
    "logging.ini"                logging.config.fileConfig
"""

from __future__ import annotations

import codecs
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from ginkgo.core.errors import ConfigError, GinkgoError
from ginkgo.logs.advanced import explain, from_dict, from_file
from ginkgo.logs.format import Formatter
from ginkgo.logs.handler import LineHandler, Sink
from ginkgo.logs.plan import LoggerPlan, Plan, Sinks, level_number
from ginkgo.logs.tracing import TraceContext

_BASIC_KEYS = {
    *("filename", "filemode", "stream", "handlers"),
    *("format", "datefmt", "style", "level", "force", "encoding", "errors"),
}
# What basicConfig takes where no format is given.
_BASIC_FORMATS = {
    "%": logging.BASIC_FORMAT,
    "{": "{levelname}:{name}:{message}",
    "$": "${levelname}:${name}:${message}",
}


def build(
    logconfig: object,
    loglevel: object,
    sinks: Sinks,
    default_sink: Callable[[], Sink],
    *,
    dry: bool = False,
    logformat: str = "text",
) -> Plan:
    """Return the plan for the values of the settings.

    Args:
        logconfig: as above.
        loglevel: a level for the root logger, or a dict from logger names to levels.
        sinks: where sinks are got from.
        default_sink: opens the log file of a daemon, or the terminal, when it is wanted.
        dry: the file handlers of dictConfig and fileConfig leave their files alone: the plan is
            not going to be used.
        logformat: "text" or "json".

    Raises:
        ConfigError: a value is wrong; nothing is left open but what `sinks` remembers.
        PermissionDenied, CannotCreate: the log file cannot be opened.
    """
    if logconfig is None:
        wanted = levels(loglevel)
        handler = LineHandler(default_sink(), formatter_of(logformat))
        handler.addFilter(TraceContext())
        plan = Plan({name: LoggerPlan(level) for name, level in wanted.items()}, [handler])
        plan.loggers[""] = LoggerPlan(wanted[""], (handler,))
        return plan
    try:
        if isinstance(logconfig, (str, os.PathLike)):
            return from_file(os.fspath(logconfig), dry=dry)
        if isinstance(logconfig, Mapping):
            if "version" in logconfig:
                return from_dict(logconfig, dry=dry)
            return _from_basic(logconfig, sinks, default_sink)
    except GinkgoError:
        raise
    except Exception as error:
        # Whatever a handler's or formatter's class raises: it is named by the configuration.
        raise ConfigError(f"logconfig: {explain(error)}") from error
    raise ConfigError(
        f"logconfig: {type(logconfig).__name__} is not a logging configuration",
        hint="Use a dict for logging.basicConfig, a dict with a version for dictConfig, "
        "or the path of a file for fileConfig.",
    )


def formatter_of(logformat: str) -> logging.Formatter:
    """Return what makes the lines.

    Raises:
        ConfigError: it takes a package that is not installed.
    """
    if logformat != "json":
        return Formatter()
    try:
        from ginkgo.logs.json_format import JsonLines
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "pythonjsonlogger":
            raise
        raise ConfigError(
            "logformat is 'json', and python-json-logger is not installed",
            hint='pip install "ginkgo[json]"',
        ) from error
    return JsonLines()


def levels(loglevel: object) -> dict[str, int]:
    """Return the levels by logger name; the root's is always among them.

    Raises:
        ConfigError: it is no level, nor a dict of levels.
    """
    found = {"": logging.DEBUG}
    if isinstance(loglevel, Mapping):
        for name, value in loglevel.items():
            if not isinstance(name, str):
                raise ConfigError(
                    f"loglevel: {name!r} is not the name of a logger",
                    hint='Use names such as "myapp.db", and "root" for all others.',
                )
            logger = "" if name == "root" else name
            found[logger] = level_number(value, f"loglevel[{name!r}]")
    elif loglevel is not None:
        found[""] = level_number(loglevel, "loglevel")
    return found


def _from_basic(config: Mapping[Any, Any], sinks: Sinks, default_sink: Callable[[], Sink]) -> Plan:
    unknown = sorted(str(key) for key in config if key not in _BASIC_KEYS)
    if unknown:
        raise ConfigError(
            f"logconfig: basicConfig has no argument {', '.join(unknown)}",
            hint=f'Use {", ".join(sorted(_BASIC_KEYS))}; or add "version": 1 for dictConfig.',
        )
    targets = [key for key in ("filename", "stream", "handlers") if config.get(key) is not None]
    if len(targets) > 1:
        raise ConfigError(f"logconfig: {' and '.join(targets)} exclude each other")
    level = config.get("level")
    number = None if level is None else level_number(level, "logconfig['level']")
    formatter = _basic_formatter(config)
    handlers = _basic_handlers(config, formatter, sinks, default_sink)
    return Plan({"": LoggerPlan(number, tuple(handlers))}, handlers)


def _basic_formatter(config: Mapping[Any, Any]) -> Formatter:
    style = config.get("style", "%")
    if style not in _BASIC_FORMATS:
        raise ConfigError(f"logconfig: style {style!r} is none of {', '.join(_BASIC_FORMATS)}")
    return Formatter(config.get("format", _BASIC_FORMATS[style]), config.get("datefmt"), style)


def _basic_handlers(
    config: Mapping[Any, Any],
    formatter: Formatter,
    sinks: Sinks,
    default_sink: Callable[[], Sink],
) -> list[logging.Handler]:
    if config.get("handlers") is not None:
        handlers = list(config["handlers"])
        for handler in handlers:
            if not isinstance(handler, logging.Handler):
                raise ConfigError(f"logconfig: {handler!r} in handlers is not a handler")
        for handler in handlers:
            if handler.formatter is None:
                handler.setFormatter(formatter)
        return handlers
    encoding, errors = config.get("encoding") or "utf-8", config.get("errors", "backslashreplace")
    codecs.lookup(encoding)
    codecs.lookup_error(errors)
    if config.get("filename") is not None:
        mode = config.get("filemode", "a")
        if mode not in ("a", "w"):
            raise ConfigError(f"logconfig: filemode {mode!r} is neither 'a' nor 'w'")
        file = sinks.file(os.fspath(config["filename"]))
        if mode == "w" and file in sinks.fresh:  # at the start, and not again at each reload
            file.truncate()
        sink: Sink = file
    elif config.get("stream") is not None:
        sink = sinks.stream(config["stream"])
    else:
        sink = default_sink()
    handler = LineHandler(sink, formatter, encoding, errors)
    handler.addFilter(TraceContext("0"))  # for a format that names its ids
    return [handler]
