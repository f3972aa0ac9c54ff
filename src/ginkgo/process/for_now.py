"""What an operator changes in a running process for now, and what puts it back.

::

    set NAME VALUE      a layer of settings above all others        ─┐  after so many seconds,
    log-level LOGGER    a level on top of the configured one        ─┘  or when it is said anew

A change lies on those that held before it, and when its time is over the one below it holds again,
for the rest of its own time::

    set rate 2 --for 10    until 12:00:10, then
    set rate 1 --for 60    until 12:01:00, then
    what the files say

One that would end below another never comes back, so each ends before the one that it lies on, and
only the uppermost needs a timer.

All of it happens in the tree's world, as a reload does; the piles are read from other threads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config import Snapshot, settings, temporary
from ..core.context import context
from ..core.errors import GinkgoError
from ..core.events import LOG_LEVEL, SET
from ..core.service import Service
from ..logs import levels
from ..logs.ring import rfc3339
from . import deeds
from .acting import carry_out
from .values import plain

if TYPE_CHECKING:
    from ..core.clock import Timer

logger = logging.getLogger(__name__)

Configure = Callable[[Callable[[], Snapshot]], dict[str, Any]]

Key = tuple[str, str]
"""What it is, `set` or `log-level`, and the name of the setting or logger."""


class Change(NamedTuple):
    """One change that holds, or is to hold again.

    Attributes:
        given: the value, as it was given.
        shown: as it is told.
        ends: when its time is over, in seconds of the monotonic clock.
        until: the same for people (RFC 3339); None where it holds for good.
    """

    given: Any
    shown: Any
    ends: float
    until: str | None


Pile = tuple[Change, ...]
"""Each ends before the one that it lies on."""


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
        self._timers: dict[Key, Timer] = {}
        self._piles: dict[Key, Pile] = {}
        self._ground: dict[Key, Any] = {}  # what holds below the piles, as it is told

    def set(self, name: str, value: Any, seconds: float | None, by: str) -> dict[str, Any]:
        """Set a setting; returns what it is now.

        Args:
            name: the setting's path.
            value: a text, or what JSON gives.
            seconds: after which it is put back; None for never.
            by: who has asked for it.

        Raises:
            ConfigError: it cannot be set for now, or must not be that.
        """
        name = temporary.check_name(settings, name)
        old = plain(settings.get(name))
        self._configure(lambda: temporary.put(settings, name, value))
        self.look_again()  # it may be the level of a logger
        new = plain(settings.get(name))
        key = (SET, name)
        until = self._lay(key, value, new, seconds)
        told = {"name": name, "old": old, "value": new, "until": until}
        deeds.changed(self._root, SET, told, seconds, by)
        return {**told, **self._after(key, self._piles[key]), "origin": settings.origin(name)}

    def log_level(
        self, name: str, level: str | int, seconds: float | None, by: str
    ) -> dict[str, Any]:
        """Give a logger a level; returns what it has now.

        Raises:
            ConfigError: there is no such logger or level.
        """
        levels.check_logger(name)
        name = name or levels.ROOT
        old = logging.getLevelName(levels.level_of(name))
        number = levels.hold(name, level)
        new = logging.getLevelName(number)
        key = (LOG_LEVEL, name)
        until = self._lay(key, number, new, seconds)
        told = {"name": name, "old": old, "value": new, "until": until}
        deeds.changed(self._root, LOG_LEVEL, told, seconds, by)
        after = self._after(key, self._piles[key])
        return {"logger": name, "old": old, "level": new, "until": until, **after}

    def all(self) -> list[dict[str, Any]]:
        """Everything that holds for now, and what comes after it; from any thread."""
        return [
            {
                "what": what,
                "name": name,
                "value": pile[-1].shown,
                "until": pile[-1].until,
                **self._after((what, name), pile),
            }
            for (what, name), pile in self._piles.copy().items()
        ]

    def _after(self, key: Key, pile: Pile) -> dict[str, Any]:
        """What comes after the uppermost change of a pile, and until when."""
        top, below = pile[-1], pile[-2] if len(pile) > 1 else None
        after = self._ground.get(key) if below is None else below.shown
        return {
            "back_to": None if top.until is None else after,
            "back_until": None if below is None else below.until,
        }

    def until(self) -> dict[str, str]:
        """The settings that are put back, and when (RFC 3339); from any thread."""
        known = self._piles.copy().items()
        ends = ((what, name, pile[-1].until) for (what, name), pile in known)
        return {name: until for what, name, until in ends if what == SET and until}

    def look_again(self) -> None:
        """The configuration has changed below what holds for now."""
        for key in self._piles:
            self._ground[key] = _ground(key)

    def close(self) -> None:
        """Put nothing back any more: the process ends."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for what, name in self._piles:
            if what == LOG_LEVEL:
                levels.release(name)
        self._piles = {}

    def _lay(self, key: Key, given: Any, shown: Any, seconds: float | None) -> str | None:
        """Lay a change on the others; returns until when it holds."""
        ends = math.inf if seconds is None else context.clock.now() + seconds
        until = None if seconds is None else rfc3339(context.clock.wall() + seconds)
        below = tuple(each for each in self._piles.get(key, ()) if each.ends > ends)
        self._ground[key] = _ground(key)
        self._pile(key, (*below, Change(given, shown, ends, until)))
        return until

    def _pile(self, key: Key, pile: Pile) -> None:
        """Let a pile hold, and see to its end."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if not pile:
            self._piles.pop(key, None)
            self._ground.pop(key, None)
            return
        self._piles[key] = pile
        if pile[-1].until is not None:
            top = pile[-1]
            soon = partial(carry_out, self._root, partial(self._put_back, key, top))
            left = max(0.0, top.ends - context.clock.now())
            self._timers[key] = context.clock.later(self._root.backend_in_use, left, soon)

    def _put_back(self, key: Key, gone: Change) -> None:
        pile = self._piles.get(key, ())
        if not pile or pile[-1] is not gone:
            return  # it was said anew meanwhile
        what, name = key
        now = max(context.clock.now(), gone.ends)  # a loop's timer may be a little early
        below = tuple(each for each in pile if each.ends > now)
        while below and not self._holds_again(key, below[-1]):
            below = below[:-1]
        if not below:
            try:
                self._release(key)
            except GinkgoError as error:  # what it was is not good with what is there now
                logger.error("%s: its time is over, and it could not be put back: %s", name, error)
                self._pile(key, (gone._replace(ends=math.inf, until=None),))
                return
        value, until = (below[-1].shown, below[-1].until) if below else (_ground(key), None)
        self._pile(key, below)
        told = {"what": what, "name": name, "old": gone.shown, "value": value, "until": until}
        whose = name if what == SET else f"the level of logger {name}"
        logger.info("%s is put back, its time is over: it is %s again", whose, value)
        deeds.put_back(self._root, told)

    def _holds_again(self, key: Key, change: Change) -> bool:
        what, name = key
        try:
            if what == LOG_LEVEL:
                levels.hold(name, change.given)
            else:
                self._configure(lambda: temporary.put(settings, name, change.given))
        except GinkgoError as error:  # it is not good any more with what is there now
            logger.error("%s cannot be %s again: %s", name, change.shown, error)
            return False
        return True

    def _release(self, key: Key) -> None:
        what, name = key
        if what == LOG_LEVEL:
            levels.release(name)
        else:
            self._configure(lambda: temporary.take_back(settings, name))


def _ground(key: Key) -> Any:
    """What holds where nothing was changed for now, as it is told."""
    what, name = key
    if what == LOG_LEVEL:
        return logging.getLevelName(levels.configured(name))
    try:
        return plain(temporary.without(settings, name))
    except GinkgoError:
        return None  # it is not good, and would be refused
