"""TLS over a socket that does not block, for a selector loop: the socket's face, and no waiting.

    bytes of the client ──recv──> incoming ─┐
                                         OpenSSL ──> recv(): what the client said
    bytes to the client <─push── outgoing ──┘   <── send(): what it is told

The handshake is made by the first reads. OpenSSL works in memory here: it never touches the socket,
so that nothing of it can be the patched kind that belongs to the application's hub.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

CHUNK = 64 << 10


class Tls:
    """The server's end of a TLS connection. It has what `Connection` uses of a socket.

    Args:
        sock: of `native.accept`.
        context: with the server's certificate.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        import ssl

        self._ssl = ssl
        self._sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._unsent = b""
        self._last = False

    @property
    def unsent(self) -> bool:
        """Whether bytes wait until the socket takes more."""
        return bool(self._unsent)

    def fileno(self) -> int:
        return self._sock.fileno()

    def recv(self, size: int) -> bytes:
        """Return all that can be read now: nothing may stay in here, where no poller sees it.

        Raises:
            BlockingIOError: nothing, for now.
            OSError: the connection is broken, or this is no TLS.
        """
        data = self._sock.recv(size)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        parts = []
        try:
            while part := self._inner.read(CHUNK):
                parts.append(part)
        except self._ssl.SSLWantReadError:
            if not parts:
                self.push()
                raise BlockingIOError from None
        except self._ssl.SSLEOFError:
            pass  # an end without a goodbye: HTTP knows by itself what is whole
        except self._ssl.SSLError:
            self.push()  # the alert that says why
            raise
        self.push()
        return b"".join(parts)

    def send(self, data: bytes | memoryview, _flags: int = 0) -> int:
        """Send all of `data`, or nothing; the flags are always those that we need.

        Raises:
            BlockingIOError: not now.
            OSError: the connection is broken.
        """
        self.push()
        if self._unsent:
            raise BlockingIOError
        self._inner.write(data)
        self.push()
        return len(data)

    def push(self) -> None:
        """Send what OpenSSL has to send, as far as the socket takes it."""
        self._unsent += self._outgoing.read()
        try:
            while self._unsent:
                sent = self._sock.send(self._unsent, socket.MSG_NOSIGNAL)
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return
        if self._last:
            self._sock.shutdown(socket.SHUT_WR)

    def shutdown(self, _how: int) -> None:
        """Say goodbye, and send nothing after that."""
        try:
            self._inner.unwrap()
        except self._ssl.SSLError:
            pass  # the client's own goodbye is not waited for
        self._last = True
        self.push()

    def close(self) -> None:
        self._sock.close()
