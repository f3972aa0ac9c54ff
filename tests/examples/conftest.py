"""A workshop with a copy of the examples in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.session import quiet_port
from tests.workshop import Workshop, workshop

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as place:
        shutil.copytree(
            EXAMPLES,
            place.folder,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.log"),
        )
        yield place


@pytest.fixture
def port() -> int:
    return quiet_port()
