"""A configuration of the test's own, and config files to load into it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from ginkgo.config import Settings

WriteFile = Callable[..., str]


@pytest.fixture
def config() -> Iterator[Settings]:
    """A fresh configuration, in force during the test."""
    with Settings() as fresh:
        yield fresh


def alone(config: Settings) -> Settings:
    """Let a configuration know nothing of what others have imported and declared."""
    config.registry._parent = None
    return config


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    """Write a config file, in one step, and return its path."""

    def write(text: str | bytes, name: str = "app.conf.py") -> str:
        data = text if isinstance(text, bytes) else dedent(text).lstrip("\n").encode()
        path = tmp_path / name
        new = tmp_path / f"{name}.new"
        new.write_bytes(data)
        os.replace(new, path)
        return str(path)

    return write
