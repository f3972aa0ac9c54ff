"""How the commands print: for people, and as JSON for programs.

Data goes to standard output, everything else to standard error. What comes from an instance is
escaped: a name or an error text could drive the terminal of whoever looks.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from ..logs.escape import escape, escape_lines

if TYPE_CHECKING:
    from ..core.errors import GinkgoError

COLOURS = {"red": "31", "green": "32", "yellow": "33", "dim": "2"}


class Output:
    """Where a command's results and remarks go.

    Args:
        as_json: one object instead of words.
        quiet: nothing but errors.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet

    def result(self, content: Mapping[str, Any], *lines: str) -> None:
        """Print what came of the command: `content` for programs, or `lines` for people."""
        if self.quiet:
            return
        if self.as_json:
            print(json.dumps(content))
        else:
            for line in lines:
                print(line)

    def say(self, text: str) -> None:
        """Print a remark on the way."""
        if self.quiet:
            return
        if self.as_json:
            note = json.dumps({"schema": "ginkgo.note/1", "note": text})
            print(note, file=sys.stderr, flush=True)
        else:
            print(escape(text), file=sys.stderr, flush=True)


def print_error(program: str, error: GinkgoError, *, as_json: bool = False) -> None:
    """Print an error: what happened and why, and in the next line what to do.

    Args:
        program: the command's name, which stands before the message.
        error: what is to be told.
        as_json: as an object, for `--json`.
    """
    if as_json:
        parts = {"what": str(error), "do": error.hint or ""}
        content = {"schema": "ginkgo.error/1", "error": parts, "status": error.status}
        print(json.dumps(content), file=sys.stderr)
        return
    print(f"{program}: {escape_lines(str(error))}", file=sys.stderr)
    if error.hint:
        print(escape_lines(error.hint), file=sys.stderr)


def prepare(stream: TextIO) -> None:
    """Have a stream print everything, in a locale that lacks a character too."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def abandon_stdout() -> None:
    """After the reader has gone: keep the interpreter from complaining at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def coloured(stream: TextIO) -> bool:
    """Whether colours are wanted on a stream (no-color.org: NO_COLOR with any text says no)."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return wanted and stream.isatty()


def paint(text: str, colour: str) -> str:
    """Return `text` in a colour, where standard output takes colours."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if coloured(sys.stdout) else text


def duration(seconds: float) -> str:
    """Return a time in its two largest units.

    >>> duration(4.25), duration(125), duration(266400)
    ('4.2 s', '2 min 05 s', '3 d 02 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02} h"
