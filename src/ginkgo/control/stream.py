"""A stream of the control socket, read as it comes: events, log lines.

    with Stream(client, "/api/v1/events?stream=1") as stream:
        for message in stream.messages(sys.stdout):
            print(message.data)

It is server-sent events over HTTP/1.1, read by hand as in `client`. There is no deadline for the
next message, but there is one for a sign of life: the server writes a comment every 15 seconds.

Source: the WHATWG's HTML standard, 9.2.6 (event streams); RFC 9112, 7.1 (chunks).
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

from .client import LIMIT, Client, Exchange, NotAnswering, Reply, failure, not_ours, request

SILENCE = 45.0
"""Seconds without a sign of life: three comments of the server's have not come."""


class Message(NamedTuple):
    """One message of a stream."""

    event: str
    data: dict[str, Any]
    id: str


class Stream:
    """A connection of its own, with one request on it whose answer does not end.

    Args:
        client: of which instance.
        path: what to ask for.
        silence: seconds without a sign of life, after which the instance counts as not answering.

    Raises:
        Unreachable, NotAnswering, PermissionDenied, Busy, Refused, Skewed: as `Client.get` does.
    """

    def __init__(self, client: Client, path: str, *, silence: float = SILENCE) -> None:
        self._pid = client.pid
        self._silence = silence
        exchange = Exchange(time.monotonic(), client.timeout, client.pid)
        self._sock = exchange.connect(client.folder)
        try:
            accept = ("Accept: text/event-stream",)
            exchange.send(self._sock, request("GET", path, None, accept))
            head, rest = exchange.head(self._sock)
            status, headers = parse_headers(head)
            if not headers.get("content-type", "").startswith("text/event-stream"):
                raise failure(_refusal(exchange, self._sock, status, headers, rest))
            chunked = headers.get("transfer-encoding", "").lower() == "chunked"
            self._body: _Plain = _Chunks() if chunked else _Plain()
            self._body.feed(rest)
        except (ConnectionError, EOFError) as problem:
            self.close()
            raise NotAnswering(client.pid, time.monotonic() - exchange.began) from problem
        except BaseException:  # raised, Ctrl+C too, with the connection closed
            self.close()
            raise

    def messages(self, out: TextIO | None = None) -> Iterator[Message]:
        """Yield the messages as they come, until the instance ends the stream.

        Args:
            out: where the caller writes: it is over when its reader has gone, also while nothing
                comes (``ginkgoctl events -f | head -1``). It is not written to.

        Raises:
            NotAnswering: no sign of life.
        """
        parser = _Parser()
        while True:
            yield from parser.feed(self._body.take())
            if self._body.ended or not self._wait(out):
                return
            try:
                data = self._sock.recv(1 << 16)
            except ConnectionError:
                return
            if not data:
                return
            self._body.feed(data)

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _wait(self, out: TextIO | None) -> bool:
        """Wait until there is something to read; False when nobody reads `out` any more."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        reader = None if out is None else out.fileno()
        if reader is not None:
            poll.register(reader, 0)  # errors are told unasked: a pipe's is that nobody reads
        ready = dict(poll.poll(self._silence * 1000))
        if not ready:
            raise NotAnswering(self._pid, self._silence)
        return reader not in ready


def parse_headers(head: bytes) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of an answer, their names in lower case.

    Raises:
        Skewed: this is no answer of a control server.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if version != "HTTP/1.1" or not rest[:3].isdecimal():
        raise not_ours()
    pairs = (line.partition(":") for line in lines)
    return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _refusal(
    exchange: Exchange, sock: socket.socket, status: int, headers: dict[str, str], rest: bytes
) -> Reply:
    """The answer of one that does not stream: an error, or one who knows no streams."""
    length, protocol = headers.get("content-length", ""), headers.get("ginkgo-protocol", "")
    if not length.isdecimal() or int(length[:12]) > LIMIT:
        raise not_ours()
    content = exchange.body(sock, int(length), rest)
    if status < 400:
        raise not_ours()
    return Reply(status, content, int(protocol) if protocol.isdecimal() else None)


class _Plain:
    """A body that ends with the connection."""

    def __init__(self) -> None:
        self.ended = False
        self._ready = b""

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        self._ready += data

    def take(self) -> bytes:
        """Return what there is of the body."""
        data, self._ready = self._ready, b""
        return data


class _Chunks(_Plain):
    """A body in chunks: the length in hexadecimal, the data, and CRLF after each."""

    def __init__(self) -> None:
        super().__init__()
        self._raw = b""

    def feed(self, data: bytes) -> None:
        """Take what has come, and unpack the chunks that are complete."""
        self._raw += data
        while not self.ended:
            line, end, rest = self._raw.partition(b"\r\n")
            if not end:
                return
            try:
                length = int(line.partition(b";")[0], 16)
            except ValueError:
                raise not_ours() from None
            if length == 0:
                self.ended = True
            if len(rest) < length + 2:
                return
            self._ready += rest[:length]
            self._raw = rest[length + 2 :]


class _Parser:
    """Lines of an event stream into messages."""

    def __init__(self) -> None:
        self._rest = b""
        self._id = ""
        self._event = "message"
        self._data: list[str] = []

    def _clear(self) -> None:
        self._event, self._data = "message", []

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are complete now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode("utf-8", "replace")
            if not text:
                if self._data:
                    yield self._message()
                self._clear()
                continue
            name, _, value = text.partition(":")  # a comment has no name before its colon
            value = value.removeprefix(" ")
            if name == "data":
                self._data.append(value)
            elif name == "event":
                self._event = value
            elif name == "id":
                self._id = value

    def _message(self) -> Message:
        try:
            content = json.loads("\n".join(self._data))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise not_ours()
        return Message(self._event, content, self._id)
