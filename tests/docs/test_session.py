"""A page that shows what does not happen is found out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.pages import Block, blocks
from tests.docs.session import Session
from tests.workshop import Workshop


def played(place: Workshop, *texts: str, kind: str = "console") -> None:
    page = place.folder / "page.md"
    page.write_text("".join(f"```{kind}\n{text}\n```\n\n" for text in texts))
    Session(place, page, root=place.folder).play(blocks(page))


@pytest.mark.parametrize(
    "text",
    [
        "$ echo one; echo two\none\ntwo",
        "$ echo one; echo two\none\n...",
        "$ seq 9\n1\n...\n9",
        "$ echo at pid 17, ginkgo 1.2.3, in 0.31 s\nat pid 4711, ginkgo 1.0, in 0.2 s",
        "$ (exit 3)\n$ echo $?\n3",
        "$ echo one; sleep 60\none\n^C",
        "$ trap 'echo two; exit' INT; echo one; while :; do sleep .1; done\none\n^C\ntwo",
        "$ true",
    ],
)
def test_a_page_that_is_true_passes(place: Workshop, text: str) -> None:
    played(place, text)


@pytest.mark.parametrize(
    "text",
    [
        "$ echo one\ntwo",
        "$ echo one; echo two\none",
        "$ echo one; sleep 60\none\n^C\ntwo",
        "$ (exit 3)",
        "$ (exit 3)\n$ echo $?\n4",
        "$ nonsense",
        "one",
    ],
)
def test_a_page_that_is_not_true_fails(place: Workshop, text: str) -> None:
    with pytest.raises(AssertionError, match=r"page.md:1: "):
        played(place, text)


def test_what_goes_on_is_there_in_the_next_blocks_and_ends_with_its_section(
    place: Workshop,
) -> None:
    played(
        place,
        "$ echo one > log; tail -f log\none\n...",
        "$ echo two >> log",
        "two\n...",
    )
    assert not place.marked()


@pytest.mark.parametrize("text", ["assert 1 == 1", ">>> 1 + 1\n2"])
def test_a_script_that_is_right_passes(place: Workshop, text: str) -> None:
    played(place, text, kind="python")


@pytest.mark.parametrize("text", ["assert 1 == 2", ">>> 1 + 1\n3", "1 +"])
def test_a_script_that_is_wrong_fails(place: Workshop, text: str) -> None:
    with pytest.raises(AssertionError):
        played(place, text, kind="python")


def test_blocks_know_their_name_from_a_caption_or_the_words_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```{code-block} python\n:caption: one.py\n\n1\n```\n\n"
        "# Next\n\nSave it as `two.py`:\n\n```python\n2\n```\n\n```console\n$ true\n```\n"
    )
    assert blocks(page) == [
        Block("python", "1\n", "one.py", 1, 0),
        Block("python", "2\n", "two.py", 11, 1),
        Block("console", "$ true\n", None, 15, 1),
    ]
