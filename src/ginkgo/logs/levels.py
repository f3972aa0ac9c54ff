"""Levels of loggers for now, on top of what is configured.

A reload configures the log anew; what was said for now stays on top of that, until it is taken
back, and then the logger has the level that the configuration of that moment gives it.
"""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass

from ginkgo.core.errors import ConfigError

from .plan import level_number

ROOT = "root"


@dataclass
class _Held:
    level: int
    before: int


_held: dict[str, _Held] = {}


def hold(name: str, level: str | int) -> int:
    """Give a logger a level for now; returns the level as a number.

    Args:
        name: of a logger that there is; "root" for the root logger.
        level: a name that `logging` knows, or a number.

    Raises:
        ConfigError: there is no such logger, or no such level.
    """
    check_logger(name)
    number = level_number(level, "level")
    logger = logging.getLogger(_key(name))
    known = _held.get(_key(name))
    _held[_key(name)] = _Held(number, known.before if known else logger.level)
    logger.setLevel(number)
    return number


def level_of(name: str) -> int:
    """The level that counts for a logger: its own, or that of one above it."""
    return logging.getLogger(_key(name)).getEffectiveLevel()


def configured(name: str) -> int:
    """The level that counts for a logger by configuration, whatever it was given for now."""
    held = _held.get(_key(name))
    if held is None:
        return level_of(name)
    if held.before:
        return held.before
    above = logging.getLogger(_key(name)).parent
    return logging.NOTSET if above is None else above.getEffectiveLevel()


def release(name: str) -> None:
    """Give a logger back the level that it has by configuration."""
    held = _held.pop(_key(name), None)
    if held is not None:
        logging.getLogger(_key(name)).setLevel(held.before)


def check_logger(name: str) -> None:
    """See that there is such a logger.

    Raises:
        ConfigError: there is none; it may name the one that was meant.
    """
    known = [*logging.root.manager.loggerDict, ROOT]
    if _key(name) and name not in known:
        meant = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {meant[0]}?" if meant else 'Loggers have names like "app.db".'
        raise ConfigError(f"there is no logger {name!r} in this process", hint=hint)


def lift() -> None:
    """Before the log is configured: let every logger have its own level."""
    for name, held in _held.items():
        logging.getLogger(name).setLevel(held.before)


def lay() -> None:
    """When it has been configured: put what holds for now on top again."""
    for name, held in _held.items():
        logger = logging.getLogger(name)
        held.before = logger.level
        logger.setLevel(held.level)


def _key(name: str) -> str:
    return "" if name == ROOT else name
