"""``ginkgoctl shell``: a Python prompt inside a running process that has `backdoor = True`."""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..control import manager
from ..control.client import Exchange, NotAnswering, Unreachable
from ..core.errors import Unavailable, UsageError
from ..logs.escape import escape_lines
from .ctl import locate
from .output import Output

if TYPE_CHECKING:
    import argparse

SOCKET = "backdoor.sock"

BANNER = """\
This is inside {name} (pid {pid}); Ctrl+C interrupts what runs, exit() or Ctrl+D leaves it.
  root, settings   the tree, and its configuration
  find(path)       one service of it
  call(function)   have it called in the tree's own thread"""

LONGEST = (1 << 20) - 64
"""Characters of a statement, as it is sent, so that all of its line is one that is read."""

TOO_LONG = "a statement of more than 1 MiB was not sent"
INSTEAD = "put it into a file, and open that there"

PATIENCE = 1.0
"""Seconds from Ctrl+C until it is said that the statement still runs."""

STUCK = (
    "It still runs: Python cannot interrupt what waits or computes in C (time.sleep, a lock) "
    "before it returns from there. Ctrl+C again leaves the shell."
)


def shell(options: argparse.Namespace) -> int:
    """Carry out in an instance what is typed, or what comes by standard input."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    manager.need_running(found, name)
    assert found.folder is not None  # noqa: S101 - it runs
    patience = 5.0 if options.timeout is None else options.timeout
    exchange = Exchange(time.monotonic(), patience, found.pid)
    try:
        sock = exchange.connect(found.folder, SOCKET)
    except Unreachable:
        raise Unavailable(
            f"{name} (pid {found.pid}) has no backdoor",
            hint="`backdoor = True` in its configuration opens one, from its next start on",
        ) from None
    with sock, noticed() as interrupts:
        sock.settimeout(None)
        line = Line(sock, interrupts, out.say)
        line.greet(found.pid, patience)
        if sys.stdin.isatty():
            for each in BANNER.format(name=name, pid=found.pid).splitlines():
                out.say(each)
        for source in statements():
            if len(json.dumps(source)) > LONGEST:
                if not sys.stdin.isatty():
                    raise UsageError(TOO_LONG, hint=INSTEAD)
                out.say(f"{TOO_LONG}: {INSTEAD}")
                continue
            told = line.ask(source)
            if told is None:
                out.say(f"{name} has ended")
                return 0
            output = escape_lines(str(told.get("output") or ""))
            content = {"schema": "ginkgo.shell/1", "source": source, "output": output}
            if out.as_json:
                out.stream(content, "")
            elif output:
                print(output, end="", flush=True)
            if told.get("left"):
                break
    return 0


def statements() -> Iterator[str]:
    """Yield what is typed, statement by statement."""
    if sys.stdin.isatty():
        import readline  # noqa: F401 - it makes input() one that can be edited
    lines: list[str] = []
    while True:
        prompt = ("... " if lines else ">>> ") if sys.stdin.isatty() else ""
        try:
            line = typed(prompt) if prompt else input()
        except EOFError:
            if lines:
                yield "\n".join([*lines, "", ""])
            elif prompt:
                print(file=sys.stderr)
            return
        except KeyboardInterrupt:
            if not prompt:
                raise
            print("\nKeyboardInterrupt", file=sys.stderr)
            lines = []
            continue
        lines.append(line)
        if complete(lines):
            yield "\n".join(lines) + "\n"
            lines = []


def typed(prompt: str) -> str:
    """Return a line that somebody types, in which Ctrl+C raises a KeyboardInterrupt."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return input(prompt)
    finally:
        signal.signal(signal.SIGINT, notice)


def notice(*_: object) -> None:
    """Let a Ctrl+C be read: raised, it could come when some bytes were read and not yet kept."""


@contextmanager
def noticed() -> Iterator[socket.socket | None]:
    """Have each Ctrl+C on a terminal noticed: yields where it can be read."""
    if not sys.stdin.isatty():
        yield None
        return
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.setblocking(False)
        handler = signal.signal(signal.SIGINT, notice)
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield reading
        finally:
            signal.set_wakeup_fd(before)
            signal.signal(signal.SIGINT, handler)


def complete(lines: list[str]) -> bool:
    """Whether lines are a whole statement, or one that no further line can mend."""
    from codeop import compile_command

    try:
        return compile_command("\n".join(lines), "<shell>", "single") is not None
    except (SyntaxError, ValueError, OverflowError):
        return True


class Line:
    """The connection to an instance's prompt.

    Args:
        sock: it, connected.
        interrupts: where each Ctrl+C can be read; None where it raises a KeyboardInterrupt.
        say: prints a remark.
    """

    def __init__(
        self,
        sock: socket.socket,
        interrupts: socket.socket | None,
        say: Callable[[str], None],
    ) -> None:
        self._sock = sock
        self._interrupts = interrupts
        self._say = say
        self._came = b""

    def greet(self, pid: int | None, patience: float) -> None:
        """See whether somebody is there: the kernel lets everybody in.

        Args:
            pid: of the instance.
            patience: seconds.

        Raises:
            NotAnswering: nobody has said a word.
        """
        with suppress(OSError):  # told as the end of the instance, when something is asked
            self._send({"source": ""})
            ends = [each for each in (self._sock, self._interrupts) if each is not None]
            ready = select.select(ends, [], [], patience)[0]
            if self._interrupts in ready:
                raise KeyboardInterrupt
            if not ready:
                raise NotAnswering(pid, patience)
            self._readline()

    def ask(self, source: str) -> dict[str, Any] | None:
        """Return what came of a statement; None where the instance has hung up.

        Raises:
            KeyboardInterrupt: Ctrl+C, for which the statement has not ended.
        """
        try:
            self._forget()
            self._send({"source": source})
            line = self._readline()
            told = json.loads(line) if line else None
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) else None

    def _forget(self) -> None:
        """Forget each Ctrl+C that was pressed when nothing ran."""
        if self._interrupts is not None:
            with suppress(BlockingIOError):
                self._interrupts.recv(64)

    def _readline(self) -> bytes:
        """Return a line; nothing at the connection's end."""
        interrupts = self._interrupts
        poll = select.poll()
        for end in (self._sock, interrupts):
            if end is not None:
                poll.register(end, select.POLLIN)
        deadline: float | None = None  # when it is said that it still runs
        told = False
        while not (line := self._taken()):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = [fd for fd, _ in poll.poll(None if left is None else left * 1000 + 1)]
            if interrupts is not None and interrupts.fileno() in ready:
                interrupts.recv(64)
                if told:
                    raise KeyboardInterrupt
                self._send({"interrupt": True})
                deadline = deadline or time.monotonic() + PATIENCE
            if deadline is not None and time.monotonic() >= deadline:
                self._say(STUCK)
                told, deadline = True, None
            if self._sock.fileno() in ready:
                came = self._sock.recv(1 << 16)
                if not came:
                    return b""
                self._came += came
        return line

    def _taken(self) -> bytes:
        """Take a line from what came, where there is a whole one."""
        line, newline, rest = self._came.partition(b"\n")
        if not newline:
            return b""
        self._came = rest
        return line

    def _send(self, content: dict[str, Any]) -> None:
        self._sock.sendall(json.dumps(content).encode("ascii") + b"\n")
