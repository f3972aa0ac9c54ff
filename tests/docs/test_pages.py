"""Every page of the manual does what it says."""

from __future__ import annotations

import tempfile
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest
from tests.docs.pages import PAGES, ROOT, blocks
from tests.docs.session import Session
from tests.workshop import Workshop

# What a page may hold beside code: text to look at, and MyST's own.
KINDS = {"console", "python", "ini", "text", "systemd", "logrotate"}
DIRECTIVES = {"{toctree}", "{eval-rst}", "{note}", "{tip}", "{warning}", "{versionadded}"}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_does_what_it_says(page: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ginkgo-page-") as folder:
        place = Workshop(Path(folder))
        place.folder.chmod(0o755)  # others than root have to get in
        try:
            Session(place, page).play(blocks(page))
        except BaseException:
            with suppress(AssertionError):  # what is left behind then is no news
                place.close()
            raise
        place.close()


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
