"""What the tests of the process room share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.process.actors import NOBODY, Actor, clean_environment


@pytest.fixture(autouse=True)
def _root_only(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs to be run as root: it gives files or processes to another user")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private folder that this test has for XDG_RUNTIME_DIR and HOME."""
    folder = tmp_path / "session"
    folder.mkdir(mode=0o700)
    for name in ("RUNTIME_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that uid 65534 can reach, and owns where we are root: pytest's are for us only."""
    path = Path(tempfile.mkdtemp(prefix="ginkgo-test-"))
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def act(tmp_path: Path) -> Iterator[Callable[..., Actor]]:
    """Start actors; they are ended with the test."""
    actors: list[Actor] = []
    session = tmp_path / "session"
    session.mkdir(mode=0o700, exist_ok=True)

    def start(lines: str, *, env: dict[str, str] | None = None, **more: object) -> Actor:
        actor = Actor(lines, clean_environment(str(session)) | (env or {}), **more)  # type: ignore[arg-type]
        actors.append(actor)
        return actor

    yield start
    for actor in actors:
        actor.close()


@pytest.fixture
def _nothing_of_commands_left(_nothing_left_behind: None) -> Iterator[None]:
    from tests.process.commands import nothing_left

    with nothing_left():
        yield
