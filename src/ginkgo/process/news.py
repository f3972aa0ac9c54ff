"""The events of a tree as JSON-able data, for those who look and those who follow.

A follower is told in the tree's own thread, where the event's path can be asked for; looking works
from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.events import FAILURE, Event, log_of, within
from ..core.seen import path_of, walk
from ..core.service import Service
from ..logs.hiding import hide_all
from ..logs.ring import rfc3339
from .picture import failure_of

Told = dict[str, Any]


class News:
    """The events of one tree.

    Args:
        root: the root of the tree. Made in the tree's own thread.
    """

    def __init__(self, root: Service) -> None:
        self._root = root
        self._log = log_of(root)
        self._followers: tuple[Callable[[Told], object], ...] = ()
        self._subscription = root.events.subscribe(self._happened)

    def kept(self) -> list[Told]:
        """Those that are kept, the oldest first; from any thread."""
        paths = {id(service): path for service, path in walk(self._root)}
        return [_told(event, self._path(event, paths)) for event in self._log.kept()]

    def of(self, path: str, most: int) -> list[Told]:
        """The last events of one service and of those below it."""
        return [each for each in self.kept() if within(each["path"], path)][-most:]

    def follow(self, follower: Callable[[Told], object]) -> Callable[[], None]:
        """Have `follower` called with each new event, in the tree's thread; returns what ends it.

        Both are called in one thread, the control plane's. The follower must not wait.
        """
        self._followers = (*self._followers, follower)

        def end() -> None:
            self._followers = tuple(each for each in self._followers if each is not follower)

        return end

    def close(self) -> None:
        """Follow no more. Called in the tree's thread."""
        self._subscription.close()

    def _happened(self, event: Event) -> None:
        service = event._service
        if event.kind == FAILURE and service is not None:
            # As data: an exception would keep alive what its frames hold.
            told = failure_of(service)
            if told is not None:
                service._last_failure = {"time": rfc3339(event.time), **told}
        if self._followers:
            news = _told(event, event.path)
            for follower in self._followers:
                follower(news)

    @staticmethod
    def _path(event: Event, paths: dict[int, str]) -> str:
        service = event._service
        if service is None:
            return event._path
        return paths.get(id(service)) or path_of(service)


def _told(event: Event, path: str) -> Told:
    told: Told = {
        "number": event.number,
        "time": rfc3339(event.time),
        "path": path,
        "kind": event.kind,
        "state": event.state,
        "text": event.text,
        "cause": [cause._asdict() for cause in event.cause],
    }
    return {**(event.details or {}), **_hidden(told)}


def _hidden(told: Told) -> Told:
    return told | {"text": hide_all(told["text"]), "cause": hide_all(told["cause"])}
