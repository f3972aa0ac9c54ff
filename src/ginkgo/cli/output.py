"""How the commands print: for people, and as JSON for programs.

Data goes to standard output, everything else to standard error. What comes from an instance is
escaped: a name or an error text could drive the terminal of whoever looks.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ..logs.escape import escape, escape_lines

if TYPE_CHECKING:
    from ..core.errors import GinkgoError, SystemFailure

COLOURS = {"red": "31", "green": "32", "yellow": "33", "dim": "2", "bold": "1"}

SIGNS = {
    "ready": ("\u25cf", "*", "green"),
    "starting": ("\u25d0", "~", "yellow"),
    "stopping": ("\u25d1", "~", "yellow"),
    "lame duck": ("\u25d1", "~", "yellow"),
    "degraded": ("\u25b2", "!", "yellow"),
    "failed": ("\u2717", "x", "red"),
    "crashed": ("\u2717", "x", "red"),
    "init": ("\u25cb", "-", "dim"),
    "stopped": ("\u25cb", "-", "dim"),
}
"""For each state its symbol, that of a terminal without Unicode, and its colour."""

_colours_off = False


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

    def stream(self, content: Mapping[str, Any], line: str) -> None:
        """Print one of many, at once: an object in a line of its own (JSON Lines), or text."""
        if not self.quiet:
            print(json.dumps(content) if self.as_json else line, flush=True)

    def say(self, text: str) -> None:
        """Print a remark on the way."""
        if self.quiet:
            return
        if self.as_json:
            note = json.dumps({"schema": "ginkgo.note/1", "note": text})
            print(note, file=sys.stderr, flush=True)
        else:
            print(escape(text), file=sys.stderr, flush=True)


def print_error(
    program: str,
    error: GinkgoError,
    *,
    as_json: bool = False,
    words: Callable[[str], str] = str,
) -> None:
    """Print an error: what happened and why, and in the next line what to do.

    Args:
        program: the command's name, which stands before the message.
        error: what is to be told.
        as_json: as an object, for `--json`.
        words: has the last say in how something is put.
    """
    what, do = words(str(error)), words(error.hint or "")
    if as_json:
        parts = {"what": what, "do": do}
        content = {"schema": "ginkgo.error/1", "error": parts, "status": error.status}
        print(json.dumps(content), file=sys.stderr)
        return
    print(f"{program}: {escape_lines(what)}", file=sys.stderr)
    if do:
        print(escape_lines(do), file=sys.stderr)


def prepare(stream: TextIO) -> None:
    """Have a stream print everything, in a locale that lacks a character too."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def have_streams() -> None:
    """Lead standard streams that are closed to nowhere, so that whoever prints need not ask."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from ..process.hygiene import open_standard_descriptors

        open_standard_descriptors()


def carry_out(program: str, work: Callable[[], int], *, as_json: bool = False) -> int:
    """Do what a console script does, and return its exit status.

    Args:
        program: its name, for what is told where its output cannot be written.
        work: does it, and returns the status.
        as_json: whether errors are told as JSON.
    """
    try:
        status = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        abandon_stdout()
        return 141
    except OSError as error:
        told = unprintable(error)
        print_error(program, told, as_json=as_json)
        return told.status
    return status


def unprintable(error: OSError) -> SystemFailure:
    """Return what to tell where the standard output could not be written.

    Raises:
        OSError: that one, where it is about something else.
    """
    from ..core.errors import SystemFailure

    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO) or error.filename:
        raise error
    abandon_stdout()
    return SystemFailure(
        f"the standard output cannot be written: {error.strerror}",
        hint="make room there, or have it printed elsewhere",
    )


def abandon_stdout() -> None:
    """After the reader has gone: keep the interpreter from complaining at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def without_colours() -> None:
    """From now on print without colours: ``--no-color``."""
    global _colours_off
    _colours_off = True


def coloured(stream: TextIO) -> bool:
    """Whether colours are wanted on a stream (no-color.org: NO_COLOR with any text says no)."""
    if _colours_off or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def paint(text: str, colour: str) -> str:
    """Return `text` in a colour, where standard output takes colours."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if coloured(sys.stdout) else text


def has_unicode() -> bool:
    """Whether standard output takes more than ASCII."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def sign(state: str) -> str:
    """Return the symbol of a state, in its colour."""
    symbol, plain, colour = SIGNS.get(state, ("?", "?", "red"))
    return paint(symbol if has_unicode() else plain, colour)


def columns() -> int | None:
    """Return how wide a line may be: the terminal's width, or COLUMNS; None in a pipe."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


def cut(text: str, room: int | None) -> str:
    """Return as much of `text` as there is room for; without colours in it."""
    if room is None or span(text) <= room:
        return text
    end = "\u2026" if has_unicode() else "..."
    return text[: fitting(text, room - len(end))] + end if room > len(end) else ""


def fold(line: str, width: int | None, indent: int) -> Iterator[str]:
    """Yield a line in parts that are no wider than `width`; all but the first are indented."""
    while width is not None and span(line) > width > indent + 1:
        at = fitting(line, width)
        if not line[at].isspace():
            at = line.rfind(" ", indent, at) + 1 or at
        yield line[:at].rstrip()
        line = " " * indent + line[at:].lstrip()
    yield line


def span(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def fitting(text: str, room: int) -> int:
    """Return how many characters of a text there is room for."""
    for at, sign in enumerate(text):
        room -= _columns_of(sign)
        if room < 0:
            return at
    return len(text)


def _columns_of(sign: str) -> int:
    """Two for what is wide, none for what stands on the sign before (UAX #11, East Asian Width)."""
    if sign.isascii():
        return 1
    from unicodedata import category, east_asian_width

    if category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(sign) in "WF" else 1


def size(count: float) -> str:
    """Return a number of bytes with its unit.

    >>> size(900), size(5_000_000), size(81_000_000)
    ('900 B', '4.8 MiB', '77 MiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> list[str]:
    """Return rows as lines below each other.

    Args:
        head: the columns' titles.
        rows: the cells, as text.
        right: the titles of the columns that are numbers, with spaces between.
    """
    sizes = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    numbers = [title in right.split() for title in head]
    lines = []
    for row in (head, *rows):
        cells = zip(row, sizes, numbers, strict=True)
        padded = (cell.rjust(size) if number else cell.ljust(size) for cell, size, number in cells)
        lines.append("  ".join(padded).rstrip())
    return lines


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
