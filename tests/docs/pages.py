"""The manual's pages as data: their blocks, in the order in which a reader meets them.

A block is a fence of Markdown, or MyST's ``{code-block}`` with a caption::

    ```{code-block} python
    :caption: hello.py
    ...
    ```

The caption is the name of the file that the reader saves the block as. In README.md, which is read
where MyST is unknown, the last words of the paragraph before it say the name: "save it as
`hello.py`:".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_DIRECTIVE = re.compile(r"\{([\w-]+)\}\s*(.*)")
_OPTION = re.compile(r":([\w-]+):\s*(.*)")
_NAMED_BEFORE = re.compile(r"`([\w./-]+\.\w+)`:$")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page.

    Args:
        kind: its language, or the name of its directive in braces: ``{toctree}``.
        text: what is in it.
        name: the file that it is to be saved as, or None.
        line: where it begins in the page, from 1.
        section: a number that changes with every heading.
    """

    kind: str
    text: str
    name: str | None
    line: int
    section: int


@dataclass(slots=True)
class _Reader:
    """Walks over the tokens of a page."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    section: int = 0
    paragraph: str = ""

    def read(self) -> list[Block]:
        for token in MarkdownIt("commonmark").parse(self.path.read_text(encoding="utf-8")):
            if token.type == "heading_open":
                self.section += 1
            elif token.type == "inline":
                self.paragraph = token.content
            elif token.type in ("fence", "code_block"):
                line = token.map[0] + 1 if token.map else 0
                self._block(token.info.strip(), token.content, line)
                self.paragraph = ""
        return self.blocks

    def _block(self, info: str, text: str, line: int) -> None:
        directive = _DIRECTIVE.fullmatch(info)
        if directive is None:
            named = _NAMED_BEFORE.search(self.paragraph)
            self._add(info, text, named and named.group(1), line)
            return
        name, argument = directive.groups()
        options, text = _options(text)
        if name == "code-block":
            self._add(argument, text, options.get("caption"), line)
        elif name == "literalinclude":
            source = (self.path.parent / argument).resolve()
            kind = options.get("language", "python")
            self._add(kind, source.read_text(), options.get("caption", source.name), line)
        else:
            self._add(f"{{{name}}}", text, None, line)

    def _add(self, kind: str, text: str, name: str | None, line: int) -> None:
        self.blocks.append(Block(kind, text, name, line, self.section))


def blocks(path: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return _Reader(path).read()


def _options(text: str) -> tuple[dict[str, str], str]:
    """The ``:name: value`` lines that a directive begins with, and what follows them."""
    options = {}
    lines = text.split("\n")
    while lines and (option := _OPTION.fullmatch(lines[0])):
        options[option.group(1)] = option.group(2)
        del lines[0]
    if options and lines and not lines[0].strip():
        del lines[0]
    return options, "\n".join(lines)
