"""A workshop with a copy of the examples in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.docs.session import quiet_port
from tests.workshop import Workshop

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def place(shop: Workshop) -> Workshop:
    shutil.copytree(
        EXAMPLES,
        shop.folder,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__", "*.log"),
    )
    return shop


@pytest.fixture
def port() -> int:
    return quiet_port()
