"""Server-sent events: an answer that goes on while things happen.

    handler ──returns──> Stream ──chunks──> connection.py ──> client
    listeners ──send(), from any thread──^     │
                     <──on_gone()──────────────┘ the client has left

The format is that of the HTML standard, 9.2 (server-sent events). What a client does not take is
kept up to a limit; a client that is slower than what happens is cut off, and comes back with the
number of the last event that it has had.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ginkgo.async_ import native

HEARTBEAT = 15.0
"""Seconds between comments on a stream where nothing happens: proxies cut what is silent."""

KEPT = 1000
"""Events that wait for one client, at most."""

KEPT_BYTES = 1 << 20
"""Bytes of events that wait for one client, at most."""

TOO_SLOW = b": cut off: you are slower than what happens\n\n"


class Stream:
    """Events for one client, from whoever knows them.

    Args:
        on_gone: called in the control thread when it has ended, whoever ended it: what feeds the
            stream is to forget it.

    Example:
        def events(call):
            stream = Stream(on_gone=lambda: unsubscribe())
            unsubscribe = source.subscribe(lambda e: stream.send(e.to_dict(), "event", e.number))
            return stream
    """

    def __init__(self, on_gone: Callable[[], object] | None = None) -> None:
        self.on_gone = on_gone
        self.ended = False
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._door = native.rlock()  # held for moments only, by whoever sends and by us
        self._told = False  # that something waits
        self._wake: Callable[[], object] | None = None

    def send(self, data: Mapping[str, Any], event: str = "", number: int | None = None) -> None:
        """Send an event; from any thread, and never waits.

        Args:
            data: what JSON can carry.
            event: its kind; without one it is a `message`.
            number: what a client that comes back names as the last one that it has had.
        """
        self._put(encode(data, event, number))

    def comment(self, text: str = "") -> None:
        """Send what clients ignore; from any thread."""
        self._put(f": {' '.join(text.split())}\n\n".encode())

    def end(self) -> None:
        """End it when all that waits has been taken; from any thread."""
        self.ended = True
        self._woken()

    # -- for the server, in the control thread

    def open(self, wake: Callable[[], object]) -> None:
        """Have `wake` called when there is something to take; from any thread."""
        self._wake = wake
        self._told = False

    def take(self) -> bytes:
        """Return all that waits, or nothing."""
        with self._door:
            taken = b"".join(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            self._told = False
        return taken

    def gone(self) -> None:
        """Tell whoever feeds it that it has ended."""
        self.ended = True
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()

    def _put(self, chunk: bytes) -> None:
        with self._door:
            if self.ended:
                return
            if len(self._waiting) >= KEPT or self._bytes + len(chunk) > KEPT_BYTES:
                self.ended = True
                chunk = TOO_SLOW
            self._waiting.append(chunk)
            self._bytes += len(chunk)
        self._woken()

    def _woken(self) -> None:
        wake = self._wake
        if wake is not None and not self._told:
            self._told = True
            wake()


def encode(data: Mapping[str, Any], event: str, number: int | None) -> bytes:
    """Return an event as it is sent. JSON in ASCII has no end of line in it."""
    lines = [] if number is None else [f"id: {number}"]
    if event:
        lines.append(f"event: {event}")
    lines.append(f"data: {json.dumps(data, allow_nan=False)}")
    return ("\n".join(lines) + "\n\n").encode("ascii")
