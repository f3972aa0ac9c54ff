"""What an operator changes in a running process for now, and what puts it back.

::

    set NAME VALUE      a layer of settings above all others        ─┐  after so many seconds,
    log-level LOGGER    a level on top of the configured one        ─┘  or when it is said anew

All of it happens in the tree's world, as a reload does; the times are read from other threads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..config import Snapshot, settings, temporary
from ..core.context import context
from ..core.errors import GinkgoError
from ..core.service import Service
from ..logs import levels
from ..logs.ring import rfc3339
from .acting import carry_out
from .values import plain

if TYPE_CHECKING:
    from ..core.clock import Timer

logger = logging.getLogger(__name__)

Configure = Callable[[Callable[[], Snapshot]], dict[str, Any]]


class ForNow:
    """The changes that hold for now.

    Args:
        root: the root of the tree.
        configure: carries out a change of the settings with all that hangs on them: the log, the
            process's time limits. It raises GinkgoError with nothing changed.
    """

    def __init__(self, root: Service, configure: Configure) -> None:
        self._root = root
        self._configure = configure
        self._timers: dict[tuple[str, str], Timer] = {}
        self._until: dict[tuple[str, str], str | None] = {}

    def set(self, name: str, value: Any, seconds: float | None) -> dict[str, Any]:
        """Set a setting; returns what it is now.

        Args:
            name: the setting's path.
            value: a text, or what JSON gives.
            seconds: after which it is put back; None for never.

        Raises:
            ConfigError: it cannot be set for now, or must not be that.
        """
        name = temporary.check_name(settings, name)
        old = plain(settings.get(name))
        self._configure(lambda: temporary.put(settings, name, value))
        self._expires(("set", name), seconds, lambda: self._take_back(name))
        return {
            "name": name,
            "old": old,
            "value": plain(settings.get(name)),
            "origin": settings.origin(name),
            "until": self._until[("set", name)],
        }

    def log_level(self, name: str, level: str | int, seconds: float | None) -> dict[str, Any]:
        """Give a logger a level; returns what it has now.

        Raises:
            ConfigError: there is no such logger or level.
        """
        levels.check_logger(name)
        name = name or levels.ROOT
        old = levels.level_of(name)
        number = levels.hold(name, level)
        self._expires(("log-level", name), seconds, lambda: self._release(name))
        return {
            "logger": name,
            "old": logging.getLevelName(old),
            "level": logging.getLevelName(number),
            "until": self._until[("log-level", name)],
        }

    def all(self) -> list[dict[str, Any]]:
        """Everything that holds for now, from any thread."""
        return [
            {"what": what, "name": name, "until": until}
            for (what, name), until in self._until.copy().items()
        ]

    def until(self) -> dict[str, str]:
        """The settings that are put back, and when (RFC 3339); from any thread."""
        known = self._until.copy().items()
        return {name: until for (what, name), until in known if what == "set" and until}

    def close(self) -> None:
        """Put nothing back any more: the process ends."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for what, name in self._until:
            if what == "log-level":
                levels.release(name)
        self._until = {}

    def _expires(
        self, key: tuple[str, str], seconds: float | None, put_back: Callable[[], None]
    ) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._until[key] = None
        if seconds is not None:
            self._until[key] = rfc3339(context.clock.wall() + seconds)
            soon = partial(carry_out, self._root, put_back)
            self._timers[key] = context.clock.later(self._root.backend_in_use, seconds, soon)

    def _take_back(self, name: str) -> None:
        self._forget("set", name)
        try:
            self._configure(lambda: temporary.take_back(settings, name))
        except GinkgoError as error:  # what it was is not good any more with what is there now
            logger.error("%s: its time is over, and it could not be put back: %s", name, error)
            return
        logger.info("%s is put back, its time is over", name)

    def _release(self, name: str) -> None:
        self._forget("log-level", name)
        levels.release(name)
        logger.info("the level of logger %s is put back, its time is over", name)

    def _forget(self, what: str, name: str) -> None:
        self._timers.pop((what, name), None)
        self._until.pop((what, name), None)
