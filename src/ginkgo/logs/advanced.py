"""The two big forms of `logconfig`: the dict of dictConfig, and the file of fileConfig.

`logging.config.dictConfig()` and `fileConfig()` are not called: they tear the old logging down
first and stop in the midst of the new one when something is wrong, and they close handlers of
others. Their own parts make the formatters, filters and handlers here, with the standard library's
meaning of every key, and nothing is installed.

Two things differ. A formatter without a class of its own escapes (see `format.Formatter`). And
loggers that exist already are disabled only when `disable_existing_loggers` says so: the standard
library's default, made for a single call at the start, would silence the application at every
reload.
"""

from __future__ import annotations

import configparser
import logging
import logging.config
import logging.handlers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ginkgo.core.errors import ConfigError, GinkgoError
from ginkgo.logs.format import Formatter
from ginkgo.logs.plan import LoggerPlan, Plan, level_number

_OUR_FORMATTER = f"{Formatter.__module__}.{Formatter.__qualname__}"


class _Builder(logging.config.DictConfigurator):
    """Makes the parts of a dictConfig, and installs none of them."""

    dry = False  # leave the files alone

    def configure_formatter(self, config: Any) -> Any:
        """Make a formatter; without a class of its own it escapes, see `format.Formatter`."""
        if "()" not in config and not config.get("class"):
            config["class"] = _OUR_FORMATTER
        return super().configure_formatter(config)

    def configure_handler(self, config: Any) -> Any:
        """Make a handler; its level is taken in any case, like everywhere else."""
        if config.get("level") is not None:
            config["level"] = level_number(config["level"], "logconfig: level of a handler")
        if self.dry and isinstance(config.get("class"), str):
            made = self.resolve(config["class"])
            if isinstance(made, type) and issubclass(made, logging.FileHandler):
                config["delay"] = True
        return super().configure_handler(config)

    def build(self) -> Plan:
        """Return the plan; the order and the messages are those of the standard library."""
        made: list[logging.Handler] = []
        try:
            self._build_all("formatter", self.configure_formatter)
            self._build_all("filter", self.configure_filter)
            self._build_handlers(made)
            return self._plan(made)
        except BaseException:  # raised; the files of the handlers that were made are closed
            Plan(handlers=made).discard()
            raise

    def _build_all(self, kind: str, make: Callable[[Any], Any]) -> None:
        parts = self.config.get(kind + "s", {})
        for name in parts:
            try:
                parts[name] = make(parts[name])
            except Exception as error:
                raise ValueError(f"{kind} {name!r} cannot be made") from error

    def _build_handlers(self, made: list[logging.Handler]) -> None:
        parts = self.config.get("handlers", {})
        waiting = sorted(parts)
        while waiting:
            # A MemoryHandler waits for its target; who waits twice, waits for what is not there.
            again = []
            for name in waiting:
                try:
                    handler = self.configure_handler(parts[name])
                except GinkgoError:
                    raise
                except Exception as error:
                    if "target not configured yet" in str(error.__cause__) and len(waiting) > 1:
                        again.append(name)
                        continue
                    raise ValueError(f"handler {name!r} cannot be made") from error
                made.append(handler)
                parts[name] = handler
                handler.name = name
            if len(again) == len(waiting):
                raise ValueError(f"handlers {', '.join(again)} wait for each other")
            waiting = again

    def _plan(self, made: list[logging.Handler]) -> Plan:
        handlers = self.config.get("handlers", {})
        filters = self.config.get("filters", {})
        loggers = {"" if n == "root" else n: c for n, c in self.config.get("loggers", {}).items()}
        if self.config.get("root"):
            loggers[""] = self.config["root"]
        plan = Plan(handlers=made)
        plan.disable_others = bool(self.config.get("disable_existing_loggers", False))
        for name, config in loggers.items():
            where = f"logger {name or 'root'!r}"
            level = config.get("level")
            plan.loggers[name] = LoggerPlan(
                None if level is None else level_number(level, f"logconfig: {where}"),
                tuple(_look_up(handlers, h, f"{where}: no handler") for h in _names(config)),
                tuple(
                    f if callable(f) or hasattr(f, "filter") else _look_up(filters, f, where)
                    for f in config.get("filters") or ()
                ),
                config.get("propagate"),
            )
        return plan


def from_dict(config: Mapping[Any, Any], *, dry: bool = False) -> Plan:
    if config["version"] != 1:
        raise ConfigError(f"logconfig: version {config['version']!r} is not 1")
    if config.get("incremental"):
        raise ConfigError(
            "logconfig: it is incremental, but there is nothing that it could add to",
            hint="Write the whole configuration; a reload replaces the old one by it.",
        )
    builder = _Builder(_copied(config))
    builder.dry = dry
    return builder.build()


def _copied(value: Any) -> Any:
    """Copy the dicts and lists of a configuration: building it takes it to pieces."""
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) is list:
        return [_copied(item) for item in value]
    return value


def _names(config: Mapping[str, Any]) -> Iterable[str]:
    names: Iterable[str] = config.get("handlers") or ()
    return names


def _look_up(parts: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in parts:
        raise ConfigError(
            f"logconfig: {where} {name!r}", hint=f"There are: {', '.join(parts) or 'none'}."
        )
    return parts[name]


def read_file(path: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"logconfig {path}: {reason}") from error
    return parser


def from_file(path: str, *, dry: bool = False) -> Plan:
    parser = read_file(path)
    try:
        if dry:
            _delay(parser)
        return _from_parser(parser)
    except GinkgoError:
        raise
    except Exception as error:
        # The file names classes and has expressions for their arguments: anything may be raised.
        raise ConfigError(f"logconfig {path}: {explain(error)}") from error


def _delay(parser: configparser.ConfigParser) -> None:
    """Have the standard library's file handlers leave their files alone."""
    for name in _listed(parser["handlers"]["keys"]):
        section = f"handler_{name}"
        made: Any = logging
        for part in parser.get(section, "class", fallback="").split("."):
            made = getattr(made, part, None)
        if isinstance(made, type) and issubclass(made, logging.FileHandler):
            given = parser.get(section, "kwargs", raw=True, fallback="{}")
            parser.set(section, "kwargs", f"dict({given}, delay=True)")


def _from_parser(parser: configparser.ConfigParser) -> Plan:
    for name in _listed(parser["formatters"]["keys"]):
        if not parser.get(f"formatter_{name}", "class", fallback=""):
            parser.set(f"formatter_{name}", "class", _OUR_FORMATTER)
    # The two halves of fileConfig() that only make things. They have no public name, and are the
    # same from 3.11 to 3.14; the arguments of handlers are expressions, which is their business.
    parts: Any = logging.config
    formatters = parts._create_formatters(parser)
    names = _listed(parser["handlers"]["keys"])
    before = _registered(names)
    try:
        handlers: dict[str, logging.Handler] = parts._install_handlers(parser, formatters)
    except BaseException:  # raised, as above: users' arguments are expressions, and raise anything
        made = [h for h in _registered(names) if not any(h is old for old in before)]
        Plan(handlers=made).discard()
        raise
    plan = Plan(handlers=list(handlers.values()))
    try:
        for key in _listed(parser["loggers"]["keys"]):
            section = parser[f"logger_{key}"]
            name = "" if key == "root" else section["qualname"]
            level = section.get("level")
            plan.loggers[name] = LoggerPlan(
                None if level is None else level_number(level, f"logger {key!r}"),
                tuple(
                    _look_up(handlers, handler, f"logger {key!r}: no handler")
                    for handler in _listed(section.get("handlers", ""))
                ),
                propagate=None if key == "root" else bool(section.getint("propagate", fallback=1)),
            )
    except BaseException:  # raised, as above
        plan.discard()
        raise
    return plan


def _registered(names: Iterable[str]) -> list[logging.Handler]:
    """Return the handlers that the standard library knows by these names, see `Handler.name`."""
    registry: Any = logging
    found = (registry._handlers.get(name) for name in names)
    return [handler for handler in found if handler is not None]


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def explain(error: BaseException) -> str:
    """Return the chain of messages: dictConfig says what, and its cause says why."""
    messages: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(messages) < 4:
        text = f"no {cause}" if isinstance(cause, KeyError) else str(cause)
        if not messages or not text or text not in messages[-1]:  # many repeat what caused them
            messages.append(text or type(cause).__name__)
        cause = cause.__cause__
    return ": ".join(messages)
