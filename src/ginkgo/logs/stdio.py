"""stdout and stderr: at once, and never a reason to fail.

A service prints, and so do the libraries and programs it uses. In the foreground a line must be
seen when it is printed, also through a pipe; when the pipe's reader goes, the process stops in
order, instead of raising BrokenPipeError wherever it prints next. In a daemon everything printed
ends in the log; a full disk costs the lines and nothing else.

`sys.stdout` and `sys.stderr` stay ordinary text streams with all their methods; only their lowest
layer is ours.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from ginkgo.logs.files import LogFile
from ginkgo.logs.terminal import BrokenPipe, writable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT, _STDERR = 1, 2


def unbuffer(broken: BrokenPipe | None = None) -> None:
    """Make stdout and stderr of a foreground process line buffered and deaf to closed pipes.

    Streams that are not the process's own (replaced by a test, or closed) are left alone.

    Args:
        broken: told when the reader of either is gone.
    """
    broken = broken or BrokenPipe()
    for name, fd in (("stdout", _STDOUT), ("stderr", _STDERR)):
        _replace(name, fd, _Pipe(fd, broken).write)


def capture(log: LogFile | None) -> None:
    """Let everything that this process and its children print end in the log file.

    Args:
        log: the log file, which follows its path with the descriptors 1 and 2 as well;
            None for nowhere.
    """
    if log is not None:
        log.capture(_STDOUT, _STDERR)
        write: Callable[[bytes], None] = log.write
    else:
        null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for fd in (_STDOUT, _STDERR):
            os.dup2(null, fd, inheritable=True)
        os.close(null)
        write = _nowhere
    for name, fd in (("stdout", _STDOUT), ("stderr", _STDERR)):
        _replace(name, fd, write)


def _nowhere(data: bytes) -> None:
    """Write nothing."""


def _replace(name: str, fd: int, write: Callable[[bytes], None]) -> None:
    old: TextIO | None = getattr(sys, name)
    try:
        if old is None or old.fileno() != fd:
            return
        old.flush()
    except (OSError, ValueError):
        return  # no descriptor: not the process's own; or closed
    layer = _Lowest(fd, f"<{name}>", write)
    # Without a buffered layer in between: a print is one write, and nothing can be left for the
    # interpreter's last flush to fail on. TextIOWrapper does the same for `python -u`.
    stream = io.TextIOWrapper(
        layer,
        encoding=old.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )
    setattr(sys, name, stream)


class _Lowest(io.RawIOBase):
    """The lowest layer of a text stream: it takes everything and raises nothing."""

    def __init__(self, fd: int, name: str, write: Callable[[bytes], None]) -> None:
        self.name = name
        self.mode = "wb"
        self._fd = fd
        self._write = write

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        piece = bytes(data)
        self._write(piece)
        return len(piece)


class _Pipe:
    """Write to a descriptor until its reader goes. What is printed is not dropped: it waits."""

    def __init__(self, fd: int, broken: BrokenPipe) -> None:
        self._fd = fd
        self._broken = broken
        self._gone = False

    def write(self, data: bytes) -> None:
        while data and not self._gone:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                # Another process that shares the terminal has made it non-blocking.
                writable(self._fd, None)
            except BrokenPipeError:
                self._gone = True
                self._broken.report()
            except OSError:
                return  # the terminal was closed, or the disk behind `>file` is full
