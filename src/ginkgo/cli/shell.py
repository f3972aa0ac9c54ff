"""``ginkgoctl shell``: a Python prompt inside a running process that has `backdoor = True`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..control import manager
from ..control.client import Exchange, Unreachable
from ..core.errors import Unavailable
from ..logs.escape import escape_lines
from .ctl import locate
from .output import Output

if TYPE_CHECKING:
    import argparse
    import socket
    from io import BufferedReader

SOCKET = "backdoor.sock"

BANNER = """\
This is inside {name} (pid {pid}); exit() or Ctrl+D leaves it.
  root, settings   the tree, and its configuration
  find(path)       one service of it
  call(function)   have it called in the tree's own thread"""


def shell(options: argparse.Namespace) -> int:
    """Carry out in an instance what is typed, or what comes by standard input."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    manager.need_running(found, name)
    assert found.folder is not None  # noqa: S101 - it runs
    exchange = Exchange(time.monotonic(), 5.0, found.pid)
    try:
        sock = exchange.connect(found.folder, SOCKET)
    except Unreachable:
        raise Unavailable(
            f"{name} (pid {found.pid}) has no backdoor",
            hint="`backdoor = True` in its configuration opens one, from its next start on",
        ) from None
    with sock, sock.makefile("rb") as answers:
        sock.settimeout(None)
        if sys.stdin.isatty():
            for line in BANNER.format(name=name, pid=found.pid).splitlines():
                out.say(line)
        for source in statements():
            told = ask(sock, answers, source)
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
            line = input(prompt)
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


def complete(lines: list[str]) -> bool:
    """Whether lines are a whole statement, or one that no further line can mend."""
    from codeop import compile_command

    try:
        return compile_command("\n".join(lines), "<shell>", "single") is not None
    except (SyntaxError, ValueError, OverflowError):
        return True


def ask(sock: socket.socket, answers: BufferedReader, source: str) -> dict[str, Any] | None:
    """Return what came of a statement; None where the instance has hung up."""
    try:
        sock.sendall(json.dumps({"source": source}).encode("ascii") + b"\n")
        line = answers.readline()
        told = json.loads(line) if line else None
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
