"""The parts of ``ginkgo dev``: which files count, what is told between the two processes."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from ginkgo.core.errors import Unavailable
from ginkgo.process.dev_channel import Channel
from ginkgo.process.dev_files import Watcher, below, blamed, imported, is_users, stamp


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = socket.socketpair()
    with one, other:
        yield Channel(one), Channel(other)


def test_a_message_brings_its_descriptors_along(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    reader, writer = os.pipe()
    assert one.send("socket", [writer], id="a")
    os.close(writer)
    ((message, (fd,)),) = other.receive()
    assert (message["kind"], message["id"]) == ("socket", "a")
    assert not os.get_inheritable(fd)
    os.write(fd, b"it is the same pipe")
    assert os.read(reader, 100) == b"it is the same pipe"
    os.close(fd)
    os.close(reader)


def test_messages_of_any_length_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    names = [f"/a/folder/{number}.py" for number in range(20_000)]

    def talk() -> None:
        one.send("files", files=names)
        one.send("ready")

    talker = threading.Thread(target=talk)
    talker.start()
    got: list[dict[str, Any]] = []
    while len(got) < 2:
        got += [message for message, _ in other.receive()]
    talker.join()
    assert got[0]["files"] == names
    assert got[1]["kind"] == "ready"


def test_the_end_of_the_other_is_seen(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one.send("loaded")
    one.close()
    assert [message["kind"] for message, _ in other.receive()] == ["loaded"]
    with pytest.raises(EOFError):
        list(other.receive())
    assert not other.send("go")


def test_what_is_installed_is_not_the_users(tmp_path: Path) -> None:
    assert is_users(str(tmp_path / "app.py"))
    assert is_users(__file__)
    assert not is_users(os.__file__)
    assert not is_users(gevent.__file__)
    assert not is_users(sys.modules["ginkgo"].__file__ or "")
    assert not is_users("<frozen runpy>")


def test_what_was_imported_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one_of_mine.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("one_of_mine")
    try:
        assert str(tmp_path / "one_of_mine.py") in imported()
        assert os.__file__ not in imported()
    finally:
        del sys.modules["one_of_mine"]


def test_an_error_says_which_files_it_comes_from(tmp_path: Path) -> None:
    code = compile("def f():\n    raise ValueError\n", str(tmp_path / "deep.py"), "exec")
    names: dict[str, Any] = {}
    exec(code, names)
    try:
        try:
            names["f"]()
        except ValueError as error:
            raise RuntimeError from error
    except RuntimeError as error:
        assert set(blamed(error)) == {__file__, str(tmp_path / "deep.py")}
    broken = SyntaxError("", (str(tmp_path / "broken.py"), 1, 1, "if:"))
    assert blamed(broken) == [str(tmp_path / "broken.py")]
    assert blamed(None) == []


def test_hidden_folders_and_environments_hold_no_sources(tmp_path: Path) -> None:
    for name in ("a.py", "deep/er/b.py", ".git/c.py", "venv/d.py", "__pycache__/e.py", "x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "venv" / "pyvenv.cfg").write_text("")
    folders, files = below([str(tmp_path), str(tmp_path / "deep")])
    assert files == {str(tmp_path / "a.py"), str(tmp_path / "deep/er/b.py")}
    assert folders == {str(tmp_path), str(tmp_path / "deep"), str(tmp_path / "deep/er")}


def test_a_stamp_changes_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    assert stamp(str(path)) is None
    path.write_text("1")
    first = stamp(str(path))
    (tmp_path / "b.py").write_text("2")
    os.replace(tmp_path / "b.py", path)  # as editors save
    assert stamp(str(path)) not in (None, first)


def test_where_nothing_can_be_watched_it_is_looked_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*folders: str, **options: Any) -> Iterator[None]:
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr("watchfiles.watch", refuses)
    monkeypatch.setattr(Watcher, "_TICK", 10)
    looked = threading.Semaphore(0)
    said: list[str] = []
    watcher = Watcher(looked.release, said.append)
    watcher.watch([str(tmp_path)])
    assert looked.acquire(timeout=10)
    assert looked.acquire(timeout=10)
    watcher.close()
    assert "cannot be watched: OS file watch limit reached" in said[0]


def test_a_watcher_without_watchfiles_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(Unavailable, match="ginkgo dev needs watchfiles"):
        Watcher(lambda: None, print)
