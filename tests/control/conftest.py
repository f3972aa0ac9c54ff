"""A control server over a fake instance, in the test's own process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control.harness import Served, eventually

Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start servers; afterwards nothing of them is left, and they had nothing to report."""
    descriptors = len(os.listdir("/proc/self/fd"))
    all_served: list[Served] = []

    def start(folder: Path = tmp_path, **more: Any) -> Served:
        all_served.append(Served(folder, **more))
        return all_served[-1]

    yield start
    for served in all_served:
        thread = served.server._thread
        served.server.close()
        assert thread is None or not thread.alive
        assert not os.path.exists(served.path)
        assert served.reports == []
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()
