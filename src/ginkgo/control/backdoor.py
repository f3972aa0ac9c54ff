"""A Python prompt inside the running process, behind `ginkgoctl shell`, where `backdoor` is True.

    ginkgoctl shell ──{"source": ...}────────> backdoor.sock ──> a thread for each who has come in
                    <─{"output", "more", "left"}─
                    ──{"interrupt": true}────> ends what runs, as the end of the connection does

Whoever comes in can do everything that the process can. So it is a unix socket that only the
process's own user may open, in the runtime folder; who it is the kernel tells, and the log has it.

What is typed runs in a thread of its own, beside one that listens for more: also while the
application's loop is blocked, and without blocking it. Services may be started, stopped and looked
at from any thread; what else belongs to the loop is to be handed over to it, by `call`.
"""

from __future__ import annotations

import io
import json
import os
import select
import socket
import sys
import traceback
from _queue import SimpleQueue
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from ginkgo.async_ import native
from ginkgo.process.settings import ProcessSettings

from . import audit
from .interrupts import ALL, Interruptible
from .messages import Peer
from .peers import peer_of
from .socketfile import SocketFile

if TYPE_CHECKING:
    from ginkgo.core.service import Service

SOCKET = "backdoor.sock"
NAME = "<shell>"

LIMIT = 1 << 20
"""Characters of a line, and of what comes of it: a person reads less."""


class HasTree(Protocol):
    """A running tree that has a runtime folder."""

    folder_fd: int
    root: Service

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in the tree's own thread, soon."""


class Closed:
    """The backdoor of a process that has none."""

    def close(self) -> None:
        """Do nothing."""

    withdraw = close


def attach(running: HasTree) -> Closed | Backdoor:
    """Open the backdoor of a running tree, if the setting says so.

    Raises:
        CannotCreate: its socket cannot be made.
    """
    if not ProcessSettings().backdoor:
        return Closed()
    backdoor = Backdoor(running)
    backdoor.start()
    running.post(audit.report, "A backdoor is open: `ginkgoctl shell` can do all that this can")
    return backdoor


class Backdoor:
    """Serves a prompt to each who comes in.

    Args:
        running: the tree that they come to look at.
    """

    def __init__(self, running: HasTree) -> None:
        self._running = running
        self._file = SocketFile(running.folder_fd, SOCKET)
        self._wake, self._woken = native.socketpair()
        self._sessions: list[socket.socket] = []

    def start(self) -> None:
        """Make the socket, and wait for who comes."""
        with ExitStack() as undo:
            undo.callback(self._let_go)
            self._listener = self._file.create()
            undo.callback(self._listener.close)
            undo.callback(self._file.remove)
            self._thread = native.start_thread(self._run, name="ginkgo-backdoor")
            undo.pop_all()

    def close(self) -> None:
        """Take the socket away, and hang up on who is in, which interrupts what they have begun."""
        self._file.remove()
        self._wake.close()
        self._thread.join(2.0)

    def withdraw(self) -> None:
        """Take the socket away at once, for an end of the process without unwinding."""
        self._file.remove()

    def _run(self) -> None:
        poll = native.original("select", "poll")()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        try:
            while not any(fd == self._woken.fileno() for fd, _ in poll.poll()):
                sock = native.accept(self._listener)
                if sock is not None:
                    self._let_in(sock)
        finally:
            for sock in tuple(self._sessions):
                _hang_up(sock)
            self._listener.close()
            self._woken.close()
            self._file.close()

    def _let_go(self) -> None:
        self._wake.close()
        self._woken.close()
        self._file.close()

    def _let_in(self, sock: socket.socket) -> None:
        peer = peer_of(sock)
        if peer.uid not in (0, os.geteuid()):
            sock.close()
            return
        sock.setblocking(True)
        self._sessions.append(sock)
        native.start_thread(self._serve, sock, peer, name="ginkgo-shell-in")

    def _serve(self, sock: socket.socket, peer: Peer) -> None:
        """Read what comes from who has come in, while another thread carries it out."""
        self._running.post(audit.audit, f"shell: {peer} has come in")
        session = _Session(self._names(), sock)
        try:
            with sock, sock.makefile("rb") as stream:
                native.start_thread(session.run, name="ginkgo-shell", block_signals=False)
                session.listen(stream)
        except (OSError, RuntimeError):
            pass  # it has hung up; or no thread can be had, and it is hung up on
        finally:
            session.end()
            self._sessions.remove(sock)
            self._running.post(audit.audit, f"shell: {peer} has left")

    def _names(self) -> dict[str, Any]:
        import ginkgo
        from ginkgo.core import seen

        root = self._running.root
        return {
            "root": root,
            "settings": ginkgo.settings,
            "find": lambda path: seen.find(root, path),
            "call": self._running.post,
        }


class _Session:
    """One prompt, with names of its own."""

    def __init__(self, names: dict[str, Any], sock: socket.socket) -> None:
        from codeop import CommandCompiler

        # Python's own exit() would first close the standard input, which is the process's.
        leave = _Leave()
        self._names = {
            "__name__": "__console__",
            "__builtins__": __builtins__,
            "exit": leave,
            "quit": leave,
            **names,
        }
        self._sock = sock
        self._compile = CommandCompiler()
        self._left = False
        self._sources: SimpleQueue[str | None] = SimpleQueue()
        self._statements = Interruptible()

    def listen(self, stream: BinaryIO) -> None:
        """Take what comes, a line of JSON each, until nothing comes any more."""
        number = 0
        while line := stream.readline(LIMIT):
            try:
                told = json.loads(line)
                if told.get("interrupt"):
                    self._statements.interrupt(number)
                else:
                    number += 1
                    self._sources.put(str(told["source"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                return  # it does not speak this protocol

    def end(self) -> None:
        """Nothing comes any more: end what runs, and what carries it out."""
        self._statements.interrupt(ALL)
        self._sources.put(None)

    def run(self) -> None:
        """Carry out what comes, and answer each with a line of JSON."""
        self._statements.enter()
        number = 0
        try:
            while not self._left and (source := self._sources.get()) is not None:
                number += 1
                answer = json.dumps(self._carry_out(number, source))
                self._sock.sendall(answer.encode("ascii") + b"\n")
        except OSError:
            pass  # it has hung up
        finally:
            self._statements.leave()
            _hang_up(self._sock)

    def _carry_out(self, number: int, source: str) -> dict[str, Any]:
        with _Output() as output:
            more = self._run(number, source)
        return {"output": output.text(), "more": more, "left": self._left}

    def _run(self, number: int, source: str) -> bool:
        """Run a statement; True where it is not complete."""
        try:
            code = self._compile(source, NAME, "single")
            if code is not None:
                self._statements.run(number, lambda: exec(code, self._names))  # noqa: S102
            return code is None
        except SystemExit:
            self._left = True  # the shell, and not the process that it looks into
        except BaseException:  # noqa: BLE001 - whatever is typed ends nothing but itself
            _print_error()
        return False


class _Leave:
    """What `exit` and `quit` are in a shell."""

    def __call__(self, _status: object = None) -> None:
        raise SystemExit

    def __repr__(self) -> str:
        return "exit() or Ctrl+D leaves the shell; the process goes on"


def _print_error() -> None:
    """Print the exception of now, with the frames of what was typed, and without those above."""
    kind, error, tb = sys.exc_info()
    while tb is not None and tb.tb_frame.f_code.co_filename != NAME:
        tb = tb.tb_next
    print("".join(traceback.format_exception(kind, error, tb)), end="")


class _Output:
    """What this thread prints meanwhile, and it alone: others go on printing where they do."""

    def __enter__(self) -> _Output:
        self._buffer = io.StringIO()
        with _door:
            if sys.stdout is not _by_thread:
                _by_thread.usual = sys.stdout
                sys.stdout = _by_thread
            _by_thread.buffers[native.get_ident()] = self._buffer
        return self

    def __exit__(self, *exc_info: object) -> None:
        with _door:
            _by_thread.buffers.pop(native.get_ident(), None)
            if not _by_thread.buffers and sys.stdout is _by_thread:
                sys.stdout = _by_thread.usual

    def text(self) -> str:
        """Return it, the middle cut out where it is more than anybody reads."""
        told = self._buffer.getvalue()
        if len(told) <= LIMIT:
            return told
        return f"{told[: LIMIT // 2]}\n[...]\n{told[-LIMIT // 2 :]}"


_door = native.rlock()


class _ByThread:
    """A standard output that is another one to threads that have a buffer here.

    Not an `io` class: those close what they stand for when they are collected.
    """

    def __init__(self) -> None:
        self.usual: Any = None
        self.buffers: dict[int, io.StringIO] = {}

    def write(self, text: str) -> int:
        """Write to the thread's buffer, or to the usual output."""
        written: int = self._mine().write(text)
        return written

    def flush(self) -> None:
        """Flush the same."""
        self._mine().flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.usual, name)

    def _mine(self) -> Any:
        return self.buffers.get(native.get_ident(), self.usual)


# One for ever: print() keeps no reference to the sys.stdout that it writes to, and whoever is in
# there when the last shell leaves would write to memory that was given back (CPython gh-130163).
_by_thread: Final = _ByThread()


def _hang_up(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has, already
