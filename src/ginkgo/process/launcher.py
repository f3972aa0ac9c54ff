"""Starting a daemon, and staying until it is known how that went.

Ginkgo 0.6 forked twice and returned at once: "started", whatever came of it. Here the command that
starts a daemon waits for its word, on a pipe that only the two of them have::

    launcher                               daemon: a fresh interpreter, in a session of its own
    --------                               -----------------------------------------------------
    launch(argv) ------- Popen ----------> ReadyPipe.inherited()
         |  <--- PROGRESS app/db --------      .progress("app/db")
         |  <--- READY 4711 -------------      .ready()
         |  <--- ERROR {"status": 78, ..}      .fail(error)
         |  <--- (its end, without a word)     a crash: told with the signal and its last output
         v
      Outcome

Nothing of a warmed-up interpreter is forked, so no thread, lock or buffer is there twice. The
daemon does not need the launcher: where that is killed or gives up, the daemon goes on, and what
it writes to the pipe is lost without harm.

Source: daemon(7), steps 14 and 15 ("the process that was originally invoked must be able to rely
on that this exit() happens after initialization is complete").
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ..core.errors import ApplicationFailed, GinkgoError, SystemFailure, TemporaryFailure
from ..logs.escape import escape
from .files import NotAFile, open_to_read
from .pids import hold, parse_pid, state_letter

READY_FD = "GINKGO_READY_FD"
"""The environment variable with the number of the pipe's descriptor."""

_LINES = 20  # of its last output that a failed start shows
_TAIL = 16 * 1024  # bytes in which to look for them
_MESSAGE_LIMIT = 1024 * 1024  # bytes of one line from the daemon
_TRACEBACK_LIMIT = 32 * 1024  # half of a pipe: an error is written without anybody reading
_FAREWELL = 5.0  # seconds for a daemon that has told its error to be gone


class Outcome(NamedTuple):
    """How a start went."""

    pid: int | None
    """The daemon's; None where not even a process came about."""
    error: GinkgoError | None = None
    """Why it is not ready; None: it is."""
    traceback: str = ""
    """The application's, where its own code had failed."""
    output: tuple[str, ...] = ()
    """The last lines that it had written, where it ended without a word."""

    @property
    def ready(self) -> bool:
        """Whether the tree is up."""
        return self.error is None

    @property
    def status(self) -> int:
        """The exit status for the command that launched it."""
        return 0 if self.error is None else self.error.status


def launch(
    argv: Sequence[str],
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    *,
    kill_on_timeout: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Start a daemon and wait until it is ready, has failed, or the time is over.

    Args:
        argv: the program, which calls `ReadyPipe.inherited`.
        env: its environment; None: ours.
        timeout: seconds to wait; None: as long as it takes.
        kill_on_timeout: end it then; otherwise it goes on, and may still become ready.
        on_progress: is called with the name of each service that is being started.

    Returns:
        An `Outcome`; failures are in it, nothing is raised for them.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    # Not a pipe for its output: a daemon that outlives its launcher would break on it.
    output = _memory_file()
    reader, writer = os.pipe()
    try:
        try:
            child = subprocess.Popen(
                argv,
                env={**(os.environ if env is None else env), READY_FD: str(writer)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(writer,),
                start_new_session=True,
            )
        except OSError as error:
            reason = f"cannot start {argv[0]}: {error.strerror}"
            return Outcome(None, SystemFailure(reason))
        finally:
            os.close(writer)
        try:
            wait = _Wait(child, reader, deadline, on_progress)
            return wait.conclude(output, timeout, kill_on_timeout)
        finally:
            # Ours no longer: without a status, Popen would complain that its child still runs.
            if child.returncode is None:
                child.returncode = 0
    finally:
        os.close(reader)
        os.close(output)


class _Wait:
    """The launcher's side of the pipe."""

    def __init__(
        self,
        child: subprocess.Popen[bytes],
        reader: int,
        deadline: float | None,
        on_progress: Callable[[str], None] | None,
    ) -> None:
        self.child = child
        self.reader = reader
        self.deadline = deadline
        self.on_progress = on_progress
        self.process = hold(child.pid)  # None: it is gone already
        self.buffer = b""
        self.starting = ""
        self.log: tuple[str, int] | None = None
        self.word: tuple[str, str] | None = None
        os.set_blocking(reader, False)

    def conclude(self, output: int, timeout: float | None, kill_on_timeout: bool) -> Outcome:
        try:
            in_time = self._listen()
            kind, rest = self.word or ("", "")
            if kind == "ERROR":
                return self._told(rest, output)
            if kind == "READY" and not self._gone(0):
                return Outcome(parse_pid(rest.encode()) or self.child.pid)
            if in_time and self._gone(self._left()):
                return self._died(output)
            return self._late(output, timeout, kill_on_timeout)
        finally:
            if self.process is not None:
                self.process.close()

    def _listen(self) -> bool:
        """Read until there is word, or none to come any more; False: the time is over."""
        poll = select.poll()
        poll.register(self.reader, select.POLLIN)
        pidfd = None if self.process is None else self.process.fd
        if pidfd is not None:
            # Its end shows here even where a child of its own keeps the pipe open.
            poll.register(pidfd, select.POLLIN)
        while self.word is None:
            ended = self._gone(0)  # looked at first: what it wrote before its end is in the pipe
            if self._read() or ended or self.word is not None:
                break
            left = self._left()
            if left == 0:
                return False
            if pidfd is None:  # then its end has to be looked for
                left = 0.05 if left is None else min(0.05, left)
            poll.poll(None if left is None else math.ceil(left * 1000))
        return True

    def _read(self) -> bool:
        """Take what is in the pipe; True: there will be no more."""
        while self.word is None:
            try:
                chunk = os.read(self.reader, 65536)
            except BlockingIOError:
                return False
            if not chunk:
                return True
            self.buffer += chunk
            *lines, self.buffer = self.buffer.split(b"\n")
            for line in lines:
                self._take(line.decode("utf-8", "backslashreplace"))
            if len(self.buffer) > _MESSAGE_LIMIT:
                self.buffer = b""
        return False

    def _take(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "PROGRESS":
            self.starting = rest
            if self.on_progress is not None:
                self.on_progress(rest)
        elif kind == "LOG":
            size, _, path = rest.partition(" ")
            self.log = (path, int(size)) if size.isdigit() else None
        elif kind in ("READY", "ERROR") and self.word is None:
            self.word = (kind, rest)

    def _told(self, text: str, output: int) -> Outcome:
        self._gone(_FAREWELL)  # a second try shall not meet the first one's lock
        try:
            data = json.loads(text)
            status = int(data["status"])
            error = error_of(status, str(data["message"]), data["hint"])
            if 0 < status < 256:  # also one that the application chose, by sys.exit()
                error.status = status  # type: ignore[misc]
            trace = str(data["traceback"])
        except (ValueError, KeyError, TypeError):
            error = ApplicationFailed(f"the daemon failed, and said: {text}")
            return Outcome(self.child.pid, error, "", self._last_lines(output))
        return Outcome(self.child.pid, error, trace)

    def _died(self, output: int) -> Outcome:
        status = self.child.wait()
        what = f"ended with status {status}" if status >= 0 else _killed(-status)
        when = "right after it was" if self.word else "before it was"
        doing = f", while starting {self.starting}" if self.starting and not self.word else ""
        message = f"the daemon {what} {when} ready{doing}"
        return Outcome(self.child.pid, error_of(status, message), "", self._last_lines(output))

    def _late(self, output: int, timeout: float | None, kill: bool) -> Outcome:
        pid = self.child.pid
        message = f"the daemon (pid {pid}) is not ready after {timeout:g} s"
        if self.starting:
            message += f": still starting {self.starting}"
        if state_letter(pid) in ("T", "t"):
            message += " (it is stopped by a signal: state T)"
        if kill:
            self._kill()
            error = TemporaryFailure(f"{message}; it was ended")
        else:
            hint = f"it goes on: see `ginkgoctl -p {pid} status`, or give it more time"
            error = TemporaryFailure(message, hint=hint)
        return Outcome(pid, error, "", self._last_lines(output))

    def _kill(self) -> None:
        """Ask, and then do not ask: it leads a process group, so its children go along."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.child.pid, number)
                os.killpg(self.child.pid, signal.SIGCONT)  # what is stopped cannot end
            except ProcessLookupError:
                pass  # it ended by itself
            if self._gone(_FAREWELL):
                return

    def _gone(self, timeout: float | None) -> bool:
        """Whether the daemon has ended, within so many seconds; buries it then."""
        if self.process is None or self.process.wait_gone(timeout):
            self.child.wait()
            return True
        return False

    def _left(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def _last_lines(self, output: int) -> tuple[str, ...]:
        """The end of what it printed, and of its log where that was told."""
        text = _end_of(output, 0)
        if self.log is not None:
            path, start = self.log
            try:
                fd = open_to_read(path)
            except (OSError, NotAFile):
                fd = None  # it may be the user's, and not for our eyes
            if fd is not None:
                text += _end_of(fd, start)
                os.close(fd)
        return tuple(escape(line) for line in text.splitlines()[-_LINES:])


class ReadyPipe:
    """The daemon's side of the pipe.

    Every method may be called when nobody reads any more, and none of them blocks for long. What
    comes after `ready`, `fail` or `close` is lost without harm.

    Args:
        fd: the pipe's descriptor, which is taken over.
    """

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd
        # A program that the application starts must not keep the pipe open.
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)
        os.register_at_fork(after_in_child=self.close)

    @classmethod
    def inherited(cls) -> ReadyPipe | None:
        """Take the pipe that `launch` handed over, and its variable out of the environment.

        Returns:
            None where no launcher waits, as in the foreground. A number that is no pipe (the
            variable came from somewhere else) counts as that.
        """
        text = os.environ.pop(READY_FD, "")
        fd = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        try:
            if fd > 2 and stat.S_ISFIFO(os.fstat(fd).st_mode):
                return cls(fd)
        except OSError:
            pass  # no such descriptor
        return None

    def progress(self, text: str) -> None:
        """Tell which service is being started: a start that takes too long is named by it."""
        self._send(f"PROGRESS {_one_line(text)[:1000]}", patience=0)

    def logfile(self, path: str) -> None:
        """Tell where the log is, before anything is written to it: its end explains a crash."""
        try:
            size = os.stat(path).st_size
        except OSError:
            size = 0  # not there yet
        self._send(f"LOG {size} {_one_line(os.path.abspath(path))}", patience=0)

    def ready(self) -> None:
        """Tell that the tree is up, and close the pipe."""
        self._send(f"READY {os.getpid()}")
        self.close()

    def fail(self, error: BaseException, traceback: str = "") -> None:
        """Tell why there will be no start, and close the pipe.

        Call it when everything is unwound, just before the process ends.

        Args:
            error: its text is the message; its `status` and `hint` go along.
            traceback: the application's own, where its code had failed.
        """
        known = isinstance(error, GinkgoError)
        data = {
            "status": error.status if isinstance(error, GinkgoError) else os.EX_SOFTWARE,
            "message": _text_of(error) if known else f"{type(error).__name__}: {_text_of(error)}",
            "hint": error.hint if isinstance(error, GinkgoError) else None,
            "traceback": traceback[-_TRACEBACK_LIMIT // 2 :],
        }
        self._send("ERROR " + json.dumps(data))
        self.close()

    def close(self) -> None:
        """Close the pipe without a word."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _send(self, line: str, patience: float = 5.0) -> None:
        if self._fd is None:
            return
        rest = memoryview(line.encode("utf-8", "backslashreplace") + b"\n")
        if not patience and len(rest) > select.PIPE_BUF:
            return  # only what goes in one piece can be left away when the pipe is full
        deadline = time.monotonic() + patience
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BrokenPipeError:
                return  # the launcher is gone; the daemon does not need it
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0:
                    return  # it is stopped, or does not read: it has its own timeout
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(left * 1000)


def error_of(status: int, message: str, hint: str | None = None) -> GinkgoError:
    """The error of our family that has this exit status; never one that means success."""
    for kind in GinkgoError.__subclasses__():
        if kind.status == status and kind.__module__ == GinkgoError.__module__:
            return kind(message, hint=hint)
    return ApplicationFailed(message, hint=hint)


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[: _TRACEBACK_LIMIT // 4]
    except Exception as failure:  # noqa: BLE001 - an application's __str__ may do anything
        return f"(its message cannot be told: {type(failure).__name__})"


def _killed(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"was killed by {name}" + (" (out of memory?)" if number == signal.SIGKILL else "")


def _memory_file() -> int:
    """A file without a name: it vanishes with its last user, and needs no folder to be writable."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("ginkgo-output")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _end_of(fd: int, start: int) -> str:
    size = os.fstat(fd).st_size
    start = max(start if start <= size else 0, size - _TAIL)
    return os.pread(fd, _TAIL, start).decode("utf-8", "backslashreplace")
