"""Control characters made visible: a log line is one line, a terminal is only a terminal.

Text in a log comes from anywhere: a peer's header, a file name, an exception of a library. A
newline in it forges a record, ESC drives the terminal of whoever reads the log (title, clipboard,
colours), and bidi controls show a line in another order than it has. All of these are written the
way Python writes them in a string: `\\n`, `\\x1b`, `\\u202e`. A backslash stays as it is: paths and
regular expressions should be readable, and what matters here is that nothing acts, not that it can
be undone.

This module imports nothing: `ginkgoctl` uses it too.
"""

from __future__ import annotations

_C0 = range(0x20)
_DEL_AND_C1 = range(0x7F, 0xA0)
_LINE_SEPARATORS = (0x2028, 0x2029)
# Unicode Bidirectional Algorithm (UAX #9), table 4: explicit formatting characters and marks.
_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))

_NAMED = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}


def _spelled(code: int) -> str:
    return _NAMED.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


_LINE = {code: _spelled(code) for code in (*_C0, *_DEL_AND_C1, *_LINE_SEPARATORS, *_BIDI)}
_LINES = {code: text for code, text in _LINE.items() if chr(code) not in "\n\t"}


def escape(text: str) -> str:
    """Return `text` as one line without control characters.

    >>> escape("a\\nb")
    'a\\\\nb'
    """
    # isprintable() is false for every character of the table (and a few more), and costs nothing.
    return text if text.isprintable() else text.translate(_LINE)


def escape_lines(text: str) -> str:
    """Return `text` without control characters, but with its own newlines and tabs."""
    return text if text.isprintable() else text.translate(_LINES)
