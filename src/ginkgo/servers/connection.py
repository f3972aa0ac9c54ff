"""The socket that a handler gets: gevent's, with a quicker way through its two busiest methods.

================  ==============================================================================
gevent's          tries to read, and waits when nothing is there. On a connection that asks and
                  answers nothing is there as a rule: each message costs a read that fails. And
                  ``sendall`` asks the kernel for the size of its buffer each time.
this one          waits first and reads then, where the last read took all that was there; sends
                  at once what fits, which is nearly always all. Half as much again in an echo.
================  ==============================================================================

Waiting first is fairer too: a peer that never stops sending cannot keep the loop to itself, since
after some reads in a row the others have their turn.

It also ends a handler that reads on after the end of the stream, as ``while True: sock.recv(...)``
does when it never looks at what it got: the eleventh such read raises. With gevent's socket that
handler would hang the whole process, because a read at the end of the stream never waits.

Of gevent's own attributes `_sock`, `_gevent_sock_class`, `_read_event`, `_wait` and `_real_close`
are used, here and in :mod:`ginkgo.servers.tls_connection` and nowhere else.
"""

from __future__ import annotations

import errno
import socket as _constants
from typing import TYPE_CHECKING, Any

from gevent.socket import socket

from .traffic import add_traffic

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

# Reads in a row without a wait, while there is always more than fits.
_TRIES = 16
# Reads after the end of the stream. Libraries make two or three.
_END_READS = 10


_GeventRaw: Any = socket._gevent_sock_class  # type: ignore[attr-defined]


class Raw(_GeventRaw):  # type: ignore[misc]
    """The socket within gevent's: whoever closes it, the last word is what it has carried."""

    __slots__ = ("traffic",)

    def close(self) -> None:
        add_traffic(self)
        super().close()


class Connection(socket):
    """A connected socket, for one greenlet that reads and one that writes.

    Everything that gevent's socket can do it does in the same way: timeouts, ``makefile``,
    ``sendfile``, ``dup``, TLS.

    Attributes:
        reads: how many reads have returned something.

    Raises:
        ConnectionAbortedError: by `recv` and `recv_into`, when they are called again and again
            after they have told the end of the stream.
    """

    __slots__ = ("_eager", "reads")

    _gevent_sock_class = Raw

    if TYPE_CHECKING:
        _sock: Any
        _read_event: Any
        _closed: bool

        def _real_close(self) -> None: ...

        def _wait(self, watcher: Any) -> None: ...

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        super().__init__(family, type, proto, fileno)
        self.reads = 0
        # Above 0: so many reads may be tried before waiting. Below: reads after the end.
        # What a client sends together with its connect is there already when it is accepted.
        self._eager = _TRIES

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        if flags or not bufsize or self.timeout is not None:
            # A timeout must not end a read of what is there already: gevent's order is right here.
            data: bytes = super().recv(bufsize, flags)
            if bufsize and not flags:
                self._has_read(len(data), bufsize)
            return data
        if self._eager <= 0:
            self._wait(self._read_event)
        while True:
            try:
                data = self._sock.recv(bufsize)
                break
            except BlockingIOError:
                self._wait(self._read_event)
        self._has_read(len(data), bufsize)
        return data

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        if flags or self.timeout is not None:
            count = super().recv_into(buffer, nbytes, flags)
        else:
            if self._eager <= 0:
                self._wait(self._read_event)
            while True:
                try:
                    count = self._sock.recv_into(buffer, nbytes)
                    break
                except BlockingIOError:
                    self._wait(self._read_event)
        if not flags:
            self._has_read(count, nbytes or memoryview(buffer).nbytes)
        return count

    def _has_read(self, count: int, wanted: int) -> None:
        if 0 < count < wanted:
            self._eager = 0
        elif count:
            self._eager = self._eager - 1 if self._eager > 0 else _TRIES
        elif wanted:
            self._eager = min(self._eager, 0) - 1
            if self._eager < -_END_READS:
                raise ConnectionAbortedError(
                    errno.ECONNABORTED,
                    "The peer has closed: a handler returns when recv() returns b''",
                )
            return
        self.reads += 1

    def sendall(self, data: Buffer, flags: int = 0, /) -> None:
        if data and isinstance(data, (bytes, bytearray)):
            try:
                sent = self._sock.send(data, flags)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        super().sendall(data, flags)

    def hang_up(self) -> None:
        """Close it now, even if a file that was made of it is still open."""
        self._closed = True
        self._real_close()

    def end_input(self) -> None:
        """Make reads return the end of the stream, after what has arrived; writes go on."""
        end_input(self._sock)


def end_input(raw: socket) -> None:
    """Shut the reading half of a socket down; a waiting reader wakes."""
    try:
        raw.shutdown(_constants.SHUT_RD)
    except OSError:
        pass  # closed, or not connected any more: it has ended already
