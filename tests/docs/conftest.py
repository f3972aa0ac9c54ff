"""A folder for a reader of the manual."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workshop import Workshop, become_subreaper, workshop


@pytest.fixture(autouse=True)
def _root_only(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs to be run as root: the page is about giving root up")


@pytest.fixture
def place(_nothing_left_behind: None) -> Iterator[Workshop]:
    """A workshop that other users can look into: pytest's folders are for its own user only."""
    become_subreaper()
    with (
        tempfile.TemporaryDirectory(prefix="ginkgo-page-") as folder,
        workshop(Path(folder)) as place,
    ):
        place.folder.chmod(0o755)
        yield place
