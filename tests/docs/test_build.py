"""The manual can be made: no page is orphaned, no link is broken, no name is unknown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.pages import ROOT

pytestmark = pytest.mark.xdist_group("docs")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("html")
    build = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"),
            *("-d", folder / "doctrees", ROOT / "docs", folder / "html"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    return folder / "html"


def test_the_manual_is_made_without_a_warning(built: Path) -> None:
    assert (built / "index.html").exists()


def test_no_page_loads_anything_from_the_network(built: Path) -> None:
    loads = re.compile(r"<(?:script|img|link)\b[^>]*(?:src|href)=\"(?:https?:)?//[^\"]+\"")
    for page in built.rglob("*.html"):
        assert not loads.findall(page.read_text()), page


def test_every_public_name_is_in_the_reference(built: Path) -> None:
    import ginkgo
    from ginkgo.async_.gevent import _SERVERS

    reference = (built / "reference" / "api.html").read_text()
    for name in {*ginkgo.__all__, *_SERVERS} - {"__version__"}:
        assert re.search(rf'id="ginkgo\.(?:[\w.]+\.)?{name}"', reference), name
