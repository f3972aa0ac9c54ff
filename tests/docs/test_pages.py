"""Every page of the manual does what it says."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from tests.docs.pages import PAGES, ROOT, blocks
from tests.docs.session import Session
from tests.workshop import Workshop

# What a page may hold beside code: text to look at, and MyST's own.
KINDS = {"console", "python", "ini", "text", "systemd", "logrotate"}
DIRECTIVES = {"{toctree}", "{eval-rst}", "{note}", "{tip}", "{warning}", "{versionadded}"}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def played(page: Path) -> ParameterSet:
    marks = [pytest.mark.root] if page.name == "user.md" else []
    return pytest.param(page, id=name(page), marks=marks)


@pytest.mark.parametrize("page", [played(page) for page in PAGES])
def test_a_page_does_what_it_says(place: Workshop, page: Path) -> None:
    Session(place, page).play(blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_is_of_a_kind_that_is_executed_or_looked_at(page: Path) -> None:
    for block in blocks(page):
        assert block.kind in KINDS | DIRECTIVES, f"{name(page)}:{block.line}: {block.kind!r}"
        if block.kind in ("ini", "systemd", "logrotate"):
            assert block.name, f"{name(page)}:{block.line}: a file that nobody reads has no use"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_that_a_page_has_saved_is_used_by_it(page: Path) -> None:
    every = blocks(page)
    for number, block in enumerate(every):
        if block.name is not None:
            module = block.name.removesuffix(".py")
            later = "\n".join(each.text for each in every[number + 1 :])
            assert module in later, f"{name(page)}:{block.line}: {block.name}"


def test_the_readme_fits_on_a_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 45


def test_the_picture_of_the_states_is_that_of_the_code() -> None:
    source = (ROOT / "src/ginkgo/core/state.py").read_text()
    picture = source.split("::\n\n", 1)[1].split("\n\nA service", 1)[0]
    page = ROOT / "docs/manual/states.md"
    drawn = next(block.text for block in blocks(page) if block.kind == "text")
    assert drawn.rstrip() == textwrap.dedent(picture).rstrip()
