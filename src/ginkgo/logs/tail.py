"""Reading a log file: its last lines, all of it, or what comes next, through every rotation.

    follow:   read to the end --> look at the path --> wait for the kernel to tell
                    ^                  | another file is there
                    |                  v
                    +------- read that one too, from its start

What is waited for is inotify(7): on the file, for new lines and truncation, and on its folder, for
a file of that name to appear. Where there is no inotify (its instances are used up, a network file
system), the file is looked at every now and then; either way a follower costs no CPU while the log
is quiet. A file that was moved away is read on, because another process may still be writing to it,
until it is moved away by the next, or deleted.

What a log holds was written by anybody. So control characters are escaped unless `raw`, and the
path is opened like the writer opens it: no links, no FIFOs.

`ginkgoctl log` and `logtail` live by this module: it imports nothing that costs, and no
application.
"""

from __future__ import annotations

import codecs
import errno
import os
import select
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from ginkgo.core.errors import PermissionDenied, SystemFailure, TargetNotFound
from ginkgo.logs.escape import escape_lines

if TYPE_CHECKING:
    from ginkgo.logs.inotify import Inotify

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_BLOCK = 64 * 1024
# So much is read at a time, so that a reader that falls behind still gets something now.
_AT_ONCE = 1024 * 1024
# Seconds between looks at the path: inotify tells everything but what happens to the folders above,
# and on other machines; without it, this is how late a line may come.
_LOOK_WITH_INOTIFY = 1.0
_LOOK_WITHOUT = 0.25


def stream(path: str, out: TextIO, *, raw: bool = False) -> None:
    """Write the whole log file to `out`, as long as it is now.

    Args:
        path: of the file.
        out: a text stream.
        raw: leave control characters as they are.

    Raises:
        BrokenPipeError: the reader of `out` has seen enough.
        TargetNotFound: there is no such file.
        PermissionDenied: this user may not read it, or it is not a regular file.
    """
    fd = _open(path)
    try:
        left = os.fstat(fd).st_size
        text = _Text(raw)
        while left > 0 and (data := os.read(fd, min(left, _BLOCK))):
            left -= len(data)
            out.write(text.decode(data))
        out.flush()
    finally:
        os.close(fd)


def follow(
    path: str,
    out: TextIO | None = None,
    stop: int | None = None,
    *,
    lines: int = 20,
    raw: bool = False,
) -> Iterator[str]:
    """Yield the last lines of a log file, and then whatever is added to it, for ever.

    The file may be missing at first, and may be rotated, truncated, deleted and made anew.

    Args:
        path: of the file.
        out: where the caller writes what is yielded: the generator ends when its reader has gone
            (`logtail | head -1`), also while the log is quiet. It is not written to.
        stop: a descriptor; the generator ends when it becomes readable.
        lines: how many of the lines that are there already come first.
        raw: leave control characters as they are.

    Yields:
        Text in pieces, with its newlines; not necessarily whole lines.

    Raises:
        PermissionDenied: this user may not read the file, or it is not a regular file.

    Example:
        for text in follow("/tmp/HelloWorld.log", sys.stdout):
            sys.stdout.write(text)
            sys.stdout.flush()
    """
    follower = Follower(path, lines=lines, raw=raw)
    try:
        going_on = True
        while going_on:
            going_on = follower.wait(out, stop)
            while text := follower.read():
                yield text
    finally:
        follower.close()


class Follower:
    """The parts of `follow`, for a caller with a loop of its own: `read` does not wait.

    Args:
        path, lines, raw: as for `follow`.

    Raises:
        PermissionDenied: as for `follow`.
    """

    def __init__(self, path: str, *, lines: int = 20, raw: bool = False) -> None:
        self._path = os.path.abspath(path)
        self._raw = raw
        self._file: _File | None = None
        self._previous: _File | None = None
        self._inotify: Inotify | None = _make_inotify()
        self._folder_watched = False
        self._fresh = True
        try:
            self._watch_folder()
            fd = _open(self._path)
            os.lseek(fd, _start_of_last(fd, lines), os.SEEK_SET)
            self._take(fd)
        except TargetNotFound:
            pass  # it will come
        except BaseException:  # raised again: whatever it was, the file is not left open
            self.close()
            raise

    def fileno(self) -> int:
        """Return a descriptor that is readable when something happened; -1 without inotify."""
        return -1 if self._inotify is None else self._inotify.fd

    @property
    def patience(self) -> float:
        """After how many seconds to `read` although `fileno` has not become readable."""
        told = self._inotify is not None and self._folder_watched
        return _LOOK_WITH_INOTIFY if told else _LOOK_WITHOUT

    def read(self) -> str:
        """Return what is new, at most about 1 MiB; "" if nothing is."""
        if self._inotify is not None:
            self._inotify.drain()
        pieces = []
        if self._previous is not None:
            pieces.append(self._previous.read())
            if self._previous.deleted():  # nobody opens it any more: let the disk have it back
                pieces.append(self._previous.read())
                self._forget_previous()
        if self._file is not None:
            pieces.append(self._file.read())
        if not pieces or not pieces[-1]:  # only at its end: then nothing of it is missed
            self._look()
            if self._file is not None:
                pieces.append(self._file.read())
        return "".join(pieces)

    def wait(self, out: TextIO | None = None, stop: int | None = None) -> bool:
        """Wait until there may be something new; return whether to go on (see `follow`)."""
        if self._fresh:  # what is there already is not announced
            self._fresh = False
            return True
        poll = select.poll()
        if self._inotify is not None:
            poll.register(self._inotify.fd, select.POLLIN)
        if stop is not None:
            poll.register(stop, select.POLLIN)
        reader = _descriptor(out)
        if reader is not None:
            poll.register(reader, 0)  # errors are told unasked: a pipe's is that nobody reads
        ready = dict(poll.poll(self.patience * 1000))
        return stop not in ready and reader not in ready

    def close(self) -> None:
        """Give the descriptors back."""
        self._forget_previous()
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def _look(self) -> None:
        """Take up the file that has the path now, if it is another one."""
        self._watch_folder()
        try:
            status = os.stat(self._path, follow_symlinks=False)
            if self._file is not None and self._file.identity == _identity(status):
                return
            fd = _open(self._path)
        except (OSError, TargetNotFound, PermissionDenied, SystemFailure):
            return  # gone, or nothing that one reads; the next look may find a log again
        self._forget_previous()
        self._previous, self._file = self._file, None
        self._take(fd)

    def _take(self, fd: int) -> None:
        self._file = _File(fd, self._raw)
        # By its descriptor: by its path it could be another file meanwhile.
        if self._inotify is not None and not self._inotify.watch_file(f"/proc/self/fd/{fd}"):
            self._do_without()

    def _watch_folder(self) -> None:
        if self._inotify is not None:
            self._folder_watched = self._inotify.watch_folder(os.path.dirname(self._path))

    def _do_without(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
        self._inotify = None

    def _forget_previous(self) -> None:
        if self._previous is not None:
            self._previous.close()
            self._previous = None


class _File:
    """An open log file, read on and on."""

    def __init__(self, fd: int, raw: bool) -> None:
        self._fd = fd
        self._text = _Text(raw)
        self.identity = _identity(os.fstat(fd))

    def read(self) -> str:
        if os.fstat(self._fd).st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            os.lseek(self._fd, 0, os.SEEK_SET)  # truncated: what is there now is new
            self._text.restart()
        pieces = []
        left = _AT_ONCE
        while left > 0 and (data := os.read(self._fd, _BLOCK)):
            left -= len(data)
            pieces.append(self._text.decode(data))
        return "".join(pieces)

    def deleted(self) -> bool:
        return os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        os.close(self._fd)


class _Text:
    """Bytes into text that may be shown; a character may be cut between two reads."""

    def __init__(self, raw: bool) -> None:
        self._raw = raw
        self.restart()

    def restart(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def decode(self, data: bytes) -> str:
        text = self._decoder.decode(data)
        return text if self._raw else escape_lines(text)


def _open(path: str) -> int:
    try:
        fd = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TargetNotFound(
            f"there is no log file {path}", hint="Has the service been started as a daemon yet?"
        ) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermissionDenied(
                f"log file {path}: it is a symbolic link, and those are not followed",
                hint=f"Look at {os.path.realpath(path)}, if you know who made it.",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PermissionDenied(
                f"log file {path}: this user may not read it",
                hint="Ask as the user that the service runs as, or as root.",
            ) from error
        raise SystemFailure(f"log file {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise PermissionDenied(f"log file {path}: it is not a regular file")
    return fd


def _start_of_last(fd: int, n: int) -> int:
    """Return where the last `n` lines of a file begin, reading backwards in blocks."""
    end = os.fstat(fd).st_size
    if n <= 0:
        return end
    wanted = n
    position = end
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        data = os.pread(fd, size, position)
        at = len(data)
        if position + size == end and data.endswith(b"\n"):
            at -= 1  # it ends the last line, and begins none
        while (at := data.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if wanted == 0:
                return position + at + 1
    return 0


def _make_inotify() -> Inotify | None:
    from ginkgo.logs.inotify import Inotify  # it needs ctypes, which only a follower should pay for

    try:
        return Inotify()
    except OSError:
        return None


def _descriptor(out: TextIO | None) -> int | None:
    try:
        return None if out is None else out.fileno()
    except (OSError, ValueError):
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
