"""The foreground's log: a terminal, or the pipe of whoever started the process.

Two things happen to pipes. The reader goes (`ginkgo app | head -1`): then there is nobody to serve,
the process is asked to stop, once, and nothing more is written. Or the reader stops reading (a
pager, Ctrl+S, a stuck container runtime): then the service must not stop with it. Lines are written
as long as they fit; what does not fit waits in a bounded backlog, which a thread empties when the
reader goes on. There is no such thread before it is needed, and none after.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ginkgo.async_ import native
from ginkgo.logs import format

_BACKLOG = 1024 * 1024  # bytes
# POSIX pipe(7): a pipe that poll() calls writable takes this much without blocking.
_PIPE_BUF = select.PIPE_BUF


class BrokenPipe:
    """Call `callback` when the first output finds its reader gone, and never again.

    Args:
        callback: asks the process to stop. It may be called from any thread, and must not block.
    """

    def __init__(self, callback: Callable[[], None] | None = None) -> None:
        self._callbacks = [] if callback is None else [callback]

    def report(self) -> None:
        """Tell that nobody reads any more."""
        try:
            callback = self._callbacks.pop()  # atomic: of two threads, one gets it
        except IndexError:
            return
        callback()


class Terminal:
    """A sink on a descriptor that belongs to somebody else, such as 2.

    Args:
        fd: the descriptor; it is neither closed nor made non-blocking, because others share it.
        broken: told when the reader is gone.
        backlog: how many bytes wait at most for a reader that does not read.

    Attributes:
        is_journal: whether systemd's journal reads it (systemd.exec(5), ``$JOURNAL_STREAM``).
    """

    def __init__(self, fd: int, broken: BrokenPipe, *, backlog: int = _BACKLOG) -> None:
        self.fd = fd
        self.lock = native.rlock()
        self.dropped = 0
        self._broken = broken
        self._gone = False
        self._limit = backlog
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._draining = False
        # Only a pipe or a socket blocks in the midst of a line: elsewhere it goes in one write().
        found = os.fstat(fd)
        mode = found.st_mode
        self.is_journal = os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
        self._piece = _PIPE_BUF if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else sys.maxsize

    def write(self, data: bytes) -> None:
        """Write `data` now if it fits, else let it wait; count it as lost if too much waits."""
        was_gone = self._gone
        with self.lock:
            if self._gone:
                self.dropped += 1
            elif self._waiting:
                self._wait_or_lose(data)
            else:
                self._write_or_keep(data)
        if self._gone and not was_gone:  # the callback is not ours: it runs without the lock
            self._broken.report()

    def flush(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for the reader to take the backlog."""
        deadline = time.monotonic() + timeout
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            if writable(self.fd, left):
                self._drain_some()

    def close(self) -> None:
        """Do nothing: the descriptor is not ours."""

    # Below here, except for the drain, the lock is held.

    def _write_or_keep(self, data: bytes) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            data = format.lost(lost, "they could not be written", __file__) + data
        rest = self._write_what_fits(data)
        if rest:
            self._keep(rest)
        if self._lost:  # this one as well
            self._lost += lost

    def _wait_or_lose(self, data: bytes) -> None:
        if self._waiting_bytes + len(data) > self._limit:
            self._lost += 1
            self.dropped += 1
        else:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if not self._draining:
            self._draining = True
            native.start_thread(self._drain, name="log-drain")

    def _write_what_fits(self, data: bytes) -> bytes:
        """Return what does not fit now."""
        while data and not self._gone:
            try:
                if not writable(self.fd, 0):
                    return data
                data = data[os.write(self.fd, data[: self._piece]) :]
            except BlockingIOError:  # somebody made the descriptor non-blocking
                return data
            except BrokenPipeError:
                self._gone = True
            except OSError:  # a terminal that was closed, a full disk behind `2>file`
                self.dropped += 1
                self._lost += 1
                return b""
        return b""

    def _drain(self) -> None:
        """Empty the backlog as the reader allows; runs in a thread of its own."""
        while writable(self.fd, None):
            if not self._drain_some():
                break
        if self._gone:
            self._broken.report()

    def _drain_some(self) -> bool:
        """Write one waiting piece; return whether something still waits."""
        with self.lock:
            if self._waiting:
                data = self._waiting.popleft()
                self._waiting_bytes -= len(data)
                rest = self._write_what_fits(data)
                if rest:
                    self._waiting.appendleft(rest)
                    self._waiting_bytes += len(rest)
            if self._gone:
                self._waiting.clear()
                self._waiting_bytes = 0
            if not self._waiting:
                self._draining = False
            return bool(self._waiting)


class TextStream(Protocol):
    """What `print` needs of a file."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class TextSink:
    """A sink on a text stream without a descriptor, such as an `io.StringIO`."""

    def __init__(self, stream: TextStream) -> None:
        self.stream = stream
        self.lock = native.rlock()
        self.dropped = 0

    def write(self, data: bytes) -> None:
        """Write `data` as text."""
        text = data.decode("utf-8", "backslashreplace")
        with self.lock:
            try:
                self.stream.write(text)
                self.stream.flush()
            except (OSError, ValueError):  # closed, or characters that it cannot encode
                self.dropped += 1

    def flush(self, timeout: float) -> None:
        """Do nothing: every line is flushed."""

    def close(self) -> None:
        """Do nothing: the stream is not ours."""


def writable(fd: int, timeout: float | None) -> bool:
    """Whether `fd` can be written, or has failed, within `timeout` seconds (None: ever).

    It blocks the thread, under gevent too.
    """
    poll = native.original("select", "poll")()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
