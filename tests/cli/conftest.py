"""Fake instances in processes of their own, for ``ginkgoctl`` to manage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.backends import GROUNDS, Ground
from tests.workshop import Program, Workshop

SCRIPT = str(Path(__file__).parents[1] / "fake_instance.py")


class Fake:
    """A fake instance that runs."""

    def __init__(self, shop: Workshop, name: str, *words: str, **env: str) -> None:
        self.shop = shop
        self.name = name
        self.folder = shop.runtime / "ginkgo" / name
        self.process = subprocess.Popen(
            [sys.executable, "-P", SCRIPT, name, *words],
            cwd=shop.folder,
            env=shop.env | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.program = Program(self.process)
        shop.programs.append(self.program)
        self.pid = self.process.pid
        self.program.wait_for("^up ")

    def tell(self, line: str) -> None:
        """Give it a line of `tests.fake_instance`, and wait until it has followed it."""
        assert self.process.stdin is not None
        before = len([one for one in self.program.lines if one.startswith("did ")])
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        self.program.wait_for("^did ", before + 1)

    def clear(self) -> None:
        """Remove what it could not remove itself, because it was killed."""
        self.program.ends()
        shutil.rmtree(self.folder)

    def close(self) -> None:
        assert self.process.stdin is not None
        if self.process.poll() is None:
            os.kill(self.pid, 18)  # SIGCONT: what is stopped cannot end in order
        self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.program.ends()


Start = Callable[..., Fake]


@pytest.fixture
def fake(shop: Workshop):  # type: ignore[no-untyped-def]
    """Start fake instances by ``fake("fake.App")``."""
    started: list[Fake] = []

    def start(name: str = "fake.App", *words: str, **env: str) -> Fake:
        started.append(Fake(shop, name, *words, **env))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest, shop: Workshop) -> Ground:
    """A backend; a test with it runs real processes on each."""
    return Ground(request.param, shop)
