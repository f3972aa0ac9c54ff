"""An external program: started, watched, and brought to its end with all that it has started.

::

    launch --> Program.begin(backend)      its pipes and its pidfd are watched in the loop
                  |  exits: on_exit()      it stays a zombie, so that nobody else gets its number
                  v
               Program.end(...)            stop_signal, SIGCONT to the group and to what has left it
                  |  until all are gone    or the time is over: SIGKILL
                  v
               it is reaped, its descriptors are closed

The standard library's Popen starts it, on gevent too (see :mod:`.command_popen`): for the moment
that this takes, the loop is held up. Nothing else of it is used: asyncio, uvloop and gevent each
have another way to wait for children, and a pidfd in the loop is one way for all of them.

Sources: setsid(2), killpg(3), pidfd_open(2), waitid(2), and signal(7) on what exec keeps.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..async_ import native
from ..core.errors import (
    ConfigError,
    GinkgoError,
    PermissionDenied,
    SystemFailure,
    TemporaryFailure,
)
from . import pids
from .command_family import Family
from .command_guardian import guardian
from .command_output import Output, new_tail
from .command_popen import close, start

if TYPE_CHECKING:
    from ..core.backend import Backend
    from .command_launch import Launch

PATIENCE = 0.2  # seconds, for the end of what was killed when nothing can be waited for

_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, struct pidfd_info), <linux/pidfd.h>
_PIDFD_INFO_EXIT = 1 << 3


class End(NamedTuple):
    """How a program has ended."""

    status: int | None
    """Its exit status, or the number of the signal that ended it, negative; None: nobody knows."""

    def __str__(self) -> str:
        if self.status is None:
            return "ended, and something else in this process took its exit status"
        if self.status >= 0:
            return f"ended with status {self.status}"
        return f"was ended by {signal_name(-self.status)}"


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; the real-time signals have no names of their own."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Program:
    """One run of a program.

    Args:
        launch: what to start, and how.
        mark: what it carries in its environment; from the guardian.
        path: that of the service, for the log and for messages.
        heard: called with every line of its standard output, and of its standard error; None:
            discarded.

    Attributes:
        pid: its number; its process group and session have the same one.
        ended: how it has ended, or None.
        tail: its last lines.
        began: when it was started, in the backend's seconds.

    Raises:
        GinkgoError: it cannot be started; nothing is left behind.
    """

    def __init__(
        self,
        launch: Launch,
        mark: str,
        path: str,
        heard: Sequence[Callable[[str], object] | None],
    ) -> None:
        self.path = path
        self.tail = new_tail()
        self.ended: End | None = None
        self.began = 0.0
        self._watch: Any = None
        self._pidfd = -1
        readers: list[int] = []
        writers: list[int] = []
        try:
            for each in heard:
                reader, writer = (-1, -1) if each is None else os.pipe()
                readers.append(reader)
                writers.append(writer)
            self._popen = start(
                launch.argv,
                launch.executable,
                launch.environment(mark),
                launch.cwd,
                (-1, writers[0], writers[1]),
                **launch.who,
            )
        except BaseException as error:
            for fd in readers:
                close(fd)
            if isinstance(error, OSError):
                raise _refusal(error, launch, path) from error
            raise
        finally:
            for fd in writers:
                close(fd)
        self.pid: int = self._popen.pid
        self.family = Family(self.pid, mark)
        self._outputs = [
            Output(reader, self.tail, each)
            for reader, each in zip(readers, heard, strict=True)
            if each is not None
        ]
        guardian.add(self.pid)

    def begin(self, backend: Backend, on_exit: Callable[[], object]) -> None:
        """Watch it. Called in the loop.

        Args:
            on_exit: called once, when it has ended.
        """

        def exited() -> None:
            self.look()
            if self.ended is None:
                return
            self.unwatch()
            for output in self._outputs:
                output.drain()
            on_exit()

        self.began = backend.now()
        self._pidfd = os.pidfd_open(self.pid)
        for output in self._outputs:
            output.begin(backend)
        self._watch = backend.watch(self._pidfd, exited)

    def look(self) -> None:
        """See whether it has ended. It is not reaped by that."""
        if self.ended is not None or self._pidfd < 0:
            return
        try:
            found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            if pids.wait_gone(self._pidfd, 0):
                self.ended = End(_status_of_reaped(self._pidfd))
            return
        if found is not None:
            exited = found.si_code == os.CLD_EXITED
            self.ended = End(found.si_status if exited else -found.si_status)

    def send(self, number: int) -> bool:
        """Send a signal to the program alone; False when it has ended."""
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except OSError:
            return False
        return True

    def unwatch(self) -> None:
        """Nobody is to be told of its end any more."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    async def end(self, backend: Backend, number: int, grace: float | None) -> list[int]:
        """Bring it to its end, and all that it has started.

        Args:
            number: the signal that asks for it.
            grace: seconds from then to SIGKILL; None: for ever.

        Returns:
            The pids of what does not even end by SIGKILL.
        """
        self.unwatch()
        left: list[int] | None = None
        try:
            left = await self.family.end(backend, number, grace)
        finally:
            if left is None:  # it was broken into
                left = self.family.kill()
                pids.wait_gone(self._pidfd, PATIENCE)
            self.look()
            for output in self._outputs:
                output.drain()
                output.close()
            if not left:
                guardian.remove(self.pid)
            self._reap()
        return left

    def _reap(self) -> None:
        try:
            pid, status = native.original("os", "waitpid")(self.pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self.pid, 0
        # Popen is not asked to wait any more; it would complain if it did not know that.
        self._popen.returncode = os.waitstatus_to_exitcode(status) if pid else -signal.SIGKILL
        close(self._pidfd)
        self._pidfd = -1


def _refusal(error: OSError, launch: Launch, path: str) -> GinkgoError:
    """Why a program could not be started, for the person who wants it to."""
    what = f"{path}: cannot start {launch.executable}: {error.strerror}"
    if isinstance(error, PermissionError):
        who = launch.identity.user if launch.identity else f"uid {os.geteuid()}"
        return PermissionDenied(what, hint=f"{who} has to be able to read and execute it.")
    if isinstance(error, FileNotFoundError):  # it was there a moment ago: what it names is not
        return ConfigError(what, hint="Is the interpreter there that its first line names?")
    if error.strerror == os.strerror(8):  # ENOEXEC
        return ConfigError(what, hint="A script begins with a line like #!/bin/sh.")
    if isinstance(error, (BlockingIOError, MemoryError)) or error.errno in (12, 23, 24):
        hint = "The limit of processes, of open files or of memory is reached."
        return TemporaryFailure(what, hint=hint)
    return SystemFailure(what)


def _status_of_reaped(pidfd: int) -> int | None:
    """The status of a child that somebody else has waited for, from Linux 6.15 on.

    libev does so once gevent.subprocess is used: it waits for whatever child has ended.
    """
    info = bytearray(64)
    struct.pack_into("Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except OSError:
        return None
    mask, status = struct.unpack_from("Q", info, 0)[0], struct.unpack_from("i", info, 60)[0]
    return os.waitstatus_to_exitcode(status) if mask & _PIDFD_INFO_EXIT else None
