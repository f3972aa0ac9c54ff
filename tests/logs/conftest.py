"""What the tests of the logs share: logging is put back, and a folder like /tmp."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ginkgo.logs import setup


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    descriptors = len(os.listdir("/proc/self/fd"))
    yield
    setup.unconfigure()
    assert (root.handlers, root.level) == before
    assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor was left open"


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder where everybody may put files, and take away only their own: like /tmp."""
    folder = Path(tempfile.mkdtemp(prefix="ginkgo-logs-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=[False, True], ids=["plain", "patched"])
def patched(request: pytest.FixtureRequest) -> bool:
    """Whether the program under test runs with the standard library patched by gevent."""
    return bool(request.param)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "app.log")
