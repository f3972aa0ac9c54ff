"""What only Python 2 took, and what to write instead: for config files and for applications.

Ginkgo 0.6 ran on Python 2, where a service had `self.async`. Nothing here parses: it is asked only
about files that Python has refused already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

PYTHON_2 = (
    (
        re.compile(r"\bginkgo\.async\b"),
        "async is a keyword since Python 3.7: write ginkgo.async_ instead",
    ),
    (re.compile(r"\.async\b(?!_)"), "async is a keyword since Python 3.7: write .async_ instead"),
    (re.compile(r"^\s*print\s+[^(\s=]"), "print is a function since Python 3: write print(...)"),
    (re.compile(r"^\s*except\s+[\w.]+\s*,\s*\w+\s*:"), "write: except Error as name:"),
    (re.compile(r"^\s*raise\s+[\w.]+\s*,"), "write: raise Error(message)"),
    (re.compile(r"^\s*exec\s+[^(\s=]"), "exec is a function since Python 3: write exec(...)"),
)


def python_2_lines(lines: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each line that only Python 2 took, the line, and what to write instead.

    Example:
        >>> list(python_2_lines(["x = 1", 'print "x"']))
        [(2, 'print "x"', 'print is a function since Python 3: write print(...)')]
    """
    for number, line in enumerate(lines, 1):
        code = line.split("#", 1)[0]
        for pattern, advice in PYTHON_2:
            if pattern.search(code):
                yield number, line.strip(), advice
                break
