"""The manual can be made: no page is orphaned, no link is broken, no name is unknown."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT

import ginkgo
from ginkgo.async_ import BACKENDS

LOADED_FROM_ELSEWHERE = re.compile(r'<(?:script|img|link)\b[^>]*(?:src|href)="(?:https?:)?//')


def test_the_manual_is_made_without_a_warning_and_is_whole(tmp_path: Path) -> None:
    build = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"),
            *("-d", tmp_path / "doctrees", ROOT / "docs", tmp_path / "html"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    pages = {
        str(path.relative_to(tmp_path / "html")): path.read_text()
        for path in tmp_path.rglob("*.html")
    }
    assert "index.html" in pages
    assert not [name for name, text in pages.items() if LOADED_FROM_ELSEWHERE.search(text)]
    reference = pages["reference/api.html"]
    names = set(ginkgo.__all__) - {"__version__"}
    assert not [
        name for name in names if not re.search(rf'id="ginkgo\.([\w.]+\.)?{name}"', reference)
    ]
    assert not [name for name in servers() if f'id="{name}"' not in reference]


def servers() -> list[str]:
    """The servers and clients of every backend, by the modules that they are written in."""
    modules = [importlib.import_module(f"ginkgo.async_.{name}") for name in BACKENDS]
    return [f"{home}.{name}" for module in modules for name, home in module._SERVERS.items()]
