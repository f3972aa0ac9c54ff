"""The body of an HTTP request, as the file ``wsgi.input`` (RFC 9112, sections 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

# What is read of a body that the application has not read, so that the connection can be kept.
MOST_SKIPPED = 256 * 1024
_LONGEST_CHUNK_LINE = 4096


class BodyError(OSError):
    """The body ended too early, or its chunks are none."""


class Body:
    """A body of a known length, or in chunks. Nothing behind it is ever read.

    Args:
        stream: what comes behind the header.
        length: bytes, where it is not in chunks.
        chunked: it is.
        before: called before the first read, if there is anything to read.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        length: int,
        chunked: bool,
        before: Callable[[], None] | None,
    ) -> None:
        self._stream = stream
        self._left = 0 if chunked else length  # of the body, or of the chunk
        self._chunked = chunked
        self._first = True
        self._before = before

    def read(self, size: int | None = -1) -> bytes:
        """Read `size` bytes, fewer at the end; all that is left without a size."""
        wanted = -1 if size is None else size
        pieces: list[bytes] = []
        while wanted and self._more():
            count = self._left if wanted < 0 else min(wanted, self._left)
            pieces.append(self._take(self._stream.read(count), count))
            wanted -= count if wanted > 0 else 0
        return b"".join(pieces)

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line, at most `size` bytes of it."""
        wanted = -1 if size is None else size
        pieces: list[bytes] = []
        while wanted and self._more():
            count = self._left if wanted < 0 else min(wanted, self._left)
            line = self._stream.readline(count)
            pieces.append(self._take(line, 1))
            wanted -= len(line) if wanted > 0 else 0
            if line.endswith(b"\n"):
                break
        return b"".join(pieces)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """Read all lines, or as many as have `hint` bytes."""
        lines, total = [], 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint and total >= hint:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def skip(self) -> bool:
        """Read what the application has left; False when that is too much, or was not sent."""
        if self._before is not None:  # the client waits for a word before it sends it
            return not self._left and not self._chunked
        skipped = 0
        while skipped < MOST_SKIPPED and self._more():
            skipped += len(self.read(min(self._left, 65536)))
        return not self._more()

    def _more(self) -> bool:
        """Whether there is more; the size of the next chunk is read."""
        if self._before is not None and (self._left or self._chunked):
            before, self._before = self._before, None
            before()
        if not self._left and self._chunked:
            if not self._first:
                self._expect_end_of_line()
            self._first = False
            self._left = self._chunk_size()
            if not self._left:
                self._chunked = False
                self._skip_trailers()
        return self._left > 0

    def _take(self, data: bytes, at_least: int) -> bytes:
        if len(data) < at_least:
            raise BodyError("the request's body ended too early")
        self._left -= len(data)
        return data

    def _chunk_size(self) -> int:
        line = self._stream.readline(_LONGEST_CHUNK_LINE)
        size = line.split(b";", 1)[0].strip(b" \t\r\n")
        if not line.endswith(b"\n") or not size or size.strip(b"0123456789abcdefABCDEF"):
            raise BodyError(f"no size of a chunk: {line[:50]!r}")
        return int(size, 16)

    def _expect_end_of_line(self) -> None:
        if self._stream.readline(3) not in (b"\r\n", b"\n"):
            raise BodyError("a chunk is longer than it says")

    def _skip_trailers(self) -> None:
        for _ in range(100):
            line = self._stream.readline(_LONGEST_CHUNK_LINE)
            if line in (b"\r\n", b"\n"):
                return
            if not line.endswith(b"\n"):
                break
        raise BodyError("the trailers of the body have no end")
