"""What an external program prints: lines for the log, read when the loop has time for it.

A program may print without end, in lines without end. So a turn of the loop takes one small piece
from the pipe, a line is kept up to `LONGEST` bytes, and nothing is kept of what is not yet a line:
who prints faster than the log can be written waits for it, as everybody does who writes to a pipe.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .command_popen import close

if TYPE_CHECKING:
    from ..core.backend import Backend

LONGEST = 8192  # bytes of a line that are logged; how many more there were is said
PIECE = 2048  # bytes that a turn of the loop takes: a thousand lines of one letter, at worst
LAST = 65536 // PIECE * 2  # pieces that are read at the end: what a pipe holds, and then some
TAIL = 10  # lines that are remembered, for the message when it ends
TAIL_LINE = 200  # characters of each


class Lines:
    """Bytes in pieces, made lines."""

    def __init__(self) -> None:
        self._begun = b""
        self._more = 0

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that `data` completes."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            yield self._take()
        self._add(rest)

    def rest(self) -> Iterator[str]:
        """Yield the last line, if it had no end."""
        if self._begun:
            yield self._take()

    def _add(self, piece: bytes) -> None:
        room = LONGEST - len(self._begun)
        self._begun += piece[:room]
        self._more += max(0, len(piece) - room)

    def _take(self) -> str:
        line = self._begun.removesuffix(b"\r").decode("utf-8", "backslashreplace")
        if self._more:
            line += f" ... and {self._more} bytes more"
        self._begun, self._more = b"", 0
        return line


class Output:
    """One of the two pipes of a program.

    Args:
        fd: the end to read from; non-blocking from now on, and closed by `close`.
        tail: takes the last lines.
        heard: called with every line.
    """

    def __init__(self, fd: int, tail: Tail, heard: Callable[[str], object]) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._tail = tail
        self._heard = heard
        self._lines = Lines()
        self._watch: Any = None

    def begin(self, backend: Backend) -> None:
        """Read whenever there is something."""
        self._watch = backend.watch(self._fd, self.read)

    def read(self) -> bool:
        """Take one piece; False when there is none now."""
        try:
            data = os.read(self._fd, PIECE)
        except BlockingIOError:
            return False
        for line in self._lines.feed(data):
            self._tell(line)
        if not data:
            self._end()
        return bool(data)

    def drain(self) -> None:
        """Read what is there, at the end of the program; who inherited the pipe may go on."""
        for _ in range(LAST):
            if self._fd < 0 or not self.read():
                return

    def close(self) -> None:
        """Read it no more."""
        if self._fd >= 0:
            self._end()

    def _end(self) -> None:
        for line in self._lines.rest():
            self._tell(line)
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        close(self._fd)
        self._fd = -1

    def _tell(self, line: str) -> None:
        self._tail.append(line[:TAIL_LINE])
        self._heard(line)


Tail = deque[str]


def new_tail() -> Tail:
    """Room for the last lines of a program."""
    return deque(maxlen=TAIL)
