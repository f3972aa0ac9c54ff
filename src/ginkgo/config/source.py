"""The text of a config file: read once, as a whole, and turned into a syntax tree.

Whatever is wrong with it is said with the place, before anything of it runs. The file is opened
anew at each reload, by its name: an atomic rename and a changed symbolic link (Kubernetes'
`..data`) are seen.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from .names import nearest
from .problems import ConfigProblems, Problem, refuse

LOOK = "A config file is a small file of Python: `ls -lL` shows what this one is."
"""What to do about something that is none."""

# A config file of this size is a mistake: somebody else's file, or a log.
LARGEST = 1024 * 1024

# An editor that writes in place changes the file while it is read. It is read again, after a pause.
READINGS = 5
PAUSE = 0.05  # seconds

# What is shown of a line.
WIDEST = 90

# compile() flag: give the tree only (ast.PyCF_ONLY_AST; importing `ast` costs 5 ms).
_ONLY_AST = 0x400

_SECRET_WORDS = ("passw", "secret", "token", "key", "credential", "pwd", "passphrase")

# What gets a value: `name = ...`, `name=...` in a call, `"name": ...` in a dict.
_NAMED = re.compile(r"""(\w+)["']?\s*[=:]""")

_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Text(NamedTuple):
    """A config file as it was read.

    Attributes:
        path: its absolute name.
        data: what was in it.
        warnings: what a person should know about it.
        secrets: names whose values must not be shown, as far as they are known.
    """

    path: str
    data: bytes
    warnings: tuple[str, ...]
    secrets: Collection[str] = ()

    def hides(self, line: str) -> bool:
        """Whether a line seems to give a secret a value, and must not be shown.

        When a file is first read, nothing has been declared that would say for sure.
        """
        names = [name.lower() for name in _NAMED.findall(line)]
        return any(
            name in self.secrets or any(word in name for word in _SECRET_WORDS) for name in names
        )

    def line(self, number: int) -> str:
        """Return the line with that number, from 1; "" if there is none."""
        lines = self.data.splitlines()
        return lines[number - 1].decode(errors="replace") if 0 < number <= len(lines) else ""


def absolute(path: str) -> str:
    """Return the one name for the file at `path`; `~` is the user's home."""
    return os.path.abspath(os.path.expanduser(path))


def read(path: str, secrets: Collection[str] = ()) -> Text:
    """Read the file at the absolute `path`.

    Args:
        secrets: the last parts of the paths of secret settings.

    Raises:
        ConfigError: there is no such file, it is not a file, cannot be read, is too large, or is
            being written all the time.
    """
    for _ in range(READINGS):
        data, before, after = _read(path)
        if _unmoved(before, after):
            return Text(path, data, tuple(_warnings(path, after)), secrets)
        time.sleep(PAUSE)
    raise refuse("it is being written all the time", path, hint="Try again when that is over.")


def _read(path: str) -> tuple[bytes, os.stat_result, os.stat_result]:
    try:
        # Not blocking: a named pipe would otherwise be waited for, for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unopened(path, error) from None
    try:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):
            folder = stat.S_ISDIR(before.st_mode)
            told = "it is a folder" if folder else "it is not a regular file"
            raise refuse(told, path, hint=LOOK)
        data = b""
        while len(data) <= LARGEST:
            part = os.read(fd, LARGEST + 1 - len(data))
            if not part:
                return data, before, os.fstat(fd)
            data += part
    finally:
        os.close(fd)
    told = f"it is larger than {LARGEST // 1024} KiB, which no config file is"
    raise refuse(told, path, hint=LOOK)


def _unopened(path: str, error: OSError) -> ConfigProblems:
    if error.errno == errno.ENOENT:
        folder, name = os.path.split(path)
        try:
            meant = nearest(name, sorted(os.listdir(folder)))
        except OSError:  # the folder is missing, or not for this user to look into
            return refuse(f"there is no such file, nor the folder {folder}", path)
        hint = f"Did you mean {meant}?" if meant else None
        return refuse("there is no such file", path, hint=hint)
    if error.errno == errno.EACCES:
        told = f"it cannot be read by user {os.geteuid()}: {error.strerror}"
        return refuse(told, path, hint="Let that user read it, and pass the folders above it.")
    return refuse(f"it cannot be read: {error.strerror}", path, hint=LOOK)


def _unmoved(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def _warnings(path: str, status: os.stat_result) -> Iterator[str]:
    """Yield a warning if others can change what root is about to run."""
    if os.geteuid() != 0:
        return
    if status.st_uid != 0:
        yield (
            f"{path}: it belongs to user {status.st_uid}, who can so run code as root; "
            "chown it to root"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield (
            f"{path}: others can write to it (mode {stat.S_IMODE(status.st_mode):04o}) and so run "
            "code as root; chmod go-w it"
        )


def tree_of(text: Text) -> Any:
    """Return the syntax tree of a config file, an `ast.Module`.

    Raises:
        ConfigError: it is no Python; with line, column, and a caret under what is wrong.
    """
    _check_encoding(text)
    try:
        tree = compile(text.data, text.path, "exec", flags=_ONLY_AST, dont_inherit=True)
        compile(tree, text.path, "exec", dont_inherit=True)  # finds a `return` outside a function
        return tree
    except SyntaxError as error:
        raise _syntax(text, error) from None
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nested too deeply
        raise refuse(f"it is no Python file: {error}", text.path) from None


def _check_encoding(text: Text) -> None:
    if text.data.startswith(_BYTE_ORDER_MARKS):
        raise refuse("it is UTF-16 text, and has to be UTF-8", text.path, hint="Save it as UTF-8.")
    first = text.data.splitlines()[:2]
    if any(line.lstrip().startswith(b"#") and b"coding" in line for line in first):
        return  # PEP 263: compile() decodes it
    try:
        text.data.decode()
    except UnicodeDecodeError as error:
        line = text.data.count(b"\n", 0, error.start) + 1
        byte = text.data[error.start]
        raise refuse(
            f"there is a byte 0x{byte:02x} that is not UTF-8",
            f"{text.path}:{line}",
            hint="Save it as UTF-8, or name its encoding in the first line: # -*- coding: ... -*-",
        ) from None


def _syntax(text: Text, error: SyntaxError) -> ConfigProblems:
    line = error.lineno or 1
    column = error.offset or 1
    place = f"{text.path}:{line}:{column}"
    written = error.text or text.line(line)
    hint = None
    if written.lstrip().startswith("async") and "=" in written:
        hint = "async has been a keyword since Python 3.7; the setting is now called backend."
    elif old := _python_2(text, line):
        return ConfigProblems(old, hint="It is written for Python 2: change what is shown here.")
    if text.hides(written):
        return refuse(
            f"{error.msg} (the line is not shown: it may hold a secret)", place, hint=hint
        )
    return refuse(f"{error.msg}{_caret(written, column)}", place, hint=hint)


def _python_2(text: Text, line: int) -> list[Problem]:
    """Return what only Python 2 took in a file, if the line that Python refused is among it."""
    from .python2 import python_2_lines

    found = list(python_2_lines(text.data.decode(errors="replace").splitlines()))
    if line not in (number for number, _, _ in found):
        return []  # what looks like it elsewhere may be in a text
    return [
        Problem(
            "",
            advice if text.hides(code) else f"{advice}\n    {code[:WIDEST]}",
            f"{text.path}:{number}",
        )
        for number, code, advice in found
    ]


def _caret(written: str, column: int) -> str:
    """Return the line that is wrong and a caret below it, each on a line of its own."""
    line = "".join(c if c.isprintable() else " " for c in written).rstrip()
    if not line:
        return ""
    start = max(len(line) - len(line.lstrip()), column - WIDEST // 2 if len(line) > WIDEST else 0)
    under = " " * max(0, min(column - 1, len(line)) - start)
    return f"\n    {line[start : start + WIDEST]}\n    {under}^"
