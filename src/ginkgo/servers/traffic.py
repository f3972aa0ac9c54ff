"""What the connections of a server have carried, and how long its requests took.

The kernel counts the bytes of every TCP connection anyway (tcp(7), ``TCP_INFO``), so nothing of
ours is in the way of a message: a connection is asked once, when it closes, and those that are open
are asked when somebody wants to know. It is one question of a microsecond for each connection, the
same on every backend, and it covers what passes by Python: ``sendfile``, TLS, uvloop.

What is counted is what went over the wire: with TLS its overhead too, and what a handler has not
read. A unix socket is not counted by the kernel, and there is no figure for it.
"""

from __future__ import annotations

import socket
import struct
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Final

# struct tcp_info of <linux/tcp.h>: the state, the bytes received, those not sent yet, those sent,
# and of these what was sent again. All of them are there since Linux 4.19.
_INFO: Final = struct.Struct("=B127xQ8xI52xQQ")
_SIZE: Final = _INFO.size
_unpack: Final = _INFO.unpack
# CLOSE_WAIT, LAST_ACK, CLOSING, TIME_WAIT: the peer's end of the stream is counted as a byte.
_AT_THE_END: Final = frozenset({8, 9, 11, 6})

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the classes of durations, in seconds."""


def carried_by(connection: Any) -> tuple[int, int] | None:
    """The bytes that a connection has received and sent; None where the kernel does not tell."""
    try:
        told = _asked(connection)
        if told[0] not in _AT_THE_END:
            # The kernel reads the state before it counts: the end may have come in between.
            later = _asked(connection)
            told = later if later[0] in _AT_THE_END else told
    except (OSError, struct.error):  # closed, a unix socket, or an older kernel
        return None
    state, received, waiting, sent, again = told
    if state in _AT_THE_END and received:
        received -= 1
    return received, sent - again + waiting


def _asked(connection: Any) -> tuple[int, int, int, int, int]:
    return _unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE))


class Traffic:
    """The bytes that the connections of one server have carried.

    A connection has an attribute `traffic`: the one that it is added to when it closes, and None
    from then on.

    Args:
        guard: held while something is added, where several threads do so.

    Attributes:
        received, sent: the bytes of those that have closed.
    """

    __slots__ = ("_guard", "_told", "received", "sent")

    def __init__(self, guard: AbstractContextManager[object] | None = None) -> None:
        self.received = self.sent = 0
        self._told = (0, 0)
        self._guard = guard

    def count(self, received: int = 0, sent: int = 0) -> None:
        """Count some bytes."""
        if self._guard is None:
            self.received += received
            self.sent += sent
            return
        with self._guard:
            self.received += received
            self.sent += sent

    def total(self, connections: Iterable[Any]) -> tuple[int, int]:
        """All bytes that were received and sent. From any thread, without waiting for anybody.

        What has ended is looked at first: a connection that ends in between is missed, and is there
        at the next time, but is never counted twice; and what is told never becomes less.

        Args:
            connections: those that may be open.
        """
        received, sent = self.received, self.sent
        for connection in connections:
            carried = carried_by(connection) if _is_counted(connection) else None
            if carried is not None:
                received += carried[0]
                sent += carried[1]
        before = self._told
        self._told = max(before[0], received), max(before[1], sent)
        return self._told


def _is_counted(connection: Any) -> bool:
    try:
        return connection.traffic is not None
    except (AttributeError, OSError):  # gevent's, when it has just been closed, raises the latter
        return False


def add_traffic(connection: Any) -> None:
    """A connection is about to close: add what it has carried, once."""
    try:
        traffic = connection.traffic
    except AttributeError:
        return  # it is no server's
    if traffic is not None:
        connection.traffic = None
        carried = carried_by(connection)
        if carried is not None:
            traffic.count(*carried)


class Durations:
    """How long requests took, in classes.

    Attributes:
        counts: how many were in each class of :data:`BOUNDS`; the last is of those beyond.
        seconds: the sum of all.
    """

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def add(self, seconds: float) -> None:
        """Count one. By one thread at a time."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
