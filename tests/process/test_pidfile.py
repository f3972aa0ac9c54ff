"""The pidfile: written over whatever is left there, and nothing else touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.process.actors import NOBODY, Actor

from ginkgo.core.errors import CannotCreate, PermissionDenied, TemporaryFailure
from ginkgo.process.pidfile import Pidfile


@pytest.fixture
def path(base: Path) -> Path:
    return base / "app.pid"


def write(path: Path) -> Pidfile:
    pidfile = Pidfile(str(path))
    pidfile.write()
    return pidfile


def test_it_holds_our_pid_and_goes_with_us(path: Path) -> None:
    pidfile = write(path)
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.remove()
    assert not path.exists()


def test_others_may_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0o077)
    try:
        write(path).remove()
        pidfile = write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    pidfile.remove()


@pytest.mark.fault(14)
@pytest.mark.fault(15)
@pytest.mark.fault(16)
@pytest.mark.fault("O16")
@pytest.mark.parametrize(
    "text", [b"", b"999999\n", b"1\n", b"-1", b"\0garbage", b"x" * 1024 * 1024]
)
def test_what_is_left_in_it_is_written_over(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    pidfile = write(path)
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.remove()


@pytest.mark.fault(16)
@pytest.mark.fault(135)
def test_a_planted_link_is_refused_and_its_target_untouched(path: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("sings")
    path.symlink_to(canary)
    with pytest.raises(CannotCreate, match="symbolic link"):
        write(path)
    assert canary.read_text() == "sings"


@pytest.mark.fault(135)
def test_a_planted_hard_link_is_refused_and_its_target_untouched(
    path: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    canary.write_text("sings")
    os.link(canary, path)
    with pytest.raises(CannotCreate, match="hard link"):
        write(path)
    assert canary.read_text() == "sings"


@pytest.mark.fault(16)
def test_a_folder_and_a_fifo_are_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(CannotCreate, match="it is a folder"):
        write(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(CannotCreate, match="it is a FIFO"):
        write(path)


@pytest.mark.fault(18)
def test_a_missing_folder_is_named(path: Path) -> None:
    with pytest.raises(CannotCreate, match=r"missing/app\.pid"):
        write(path.parent / "missing" / "app.pid")


@pytest.mark.fault(17)
@pytest.mark.root
def test_another_users_file_is_refused(path: Path) -> None:
    path.touch()
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(PermissionDenied, match=f"belongs to uid {NOBODY}"):
        write(path)


@pytest.mark.fault(17)
@pytest.mark.root
def test_another_users_file_that_may_not_even_be_opened_is_refused_for_its_owner(
    open_folder: Path, act: Callable[..., Actor]
) -> None:
    path = open_folder / "app.pid"
    path.touch(mode=0o600)  # root's, in a folder of uid 65534
    actor = act(
        """
        from ginkgo.core.errors import PermissionDenied
        from ginkgo.process.pidfile import *
        try:
            Pidfile(sys.argv[1]).write()
        except PermissionDenied as error:
            say(error.status, error)
        """,
        args=[str(path)],
        nobody=True,
    )
    assert actor.says().startswith(f"77 {path} belongs to uid 0")


@pytest.mark.root
def test_the_file_of_the_user_that_root_becomes_is_taken_in_a_folder_like_tmp(
    open_folder: Path,
) -> None:
    # fs.protected_regular: with a plain O_CREAT not even root could open it again.
    open_folder.chmod(0o1777)
    path = open_folder / "app.pid"
    path.write_text("left by a crash")
    os.chown(path, NOBODY, NOBODY)
    pidfile = Pidfile(str(path), uid=NOBODY, gid=NOBODY)
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_uid == NOBODY
    pidfile.remove()
    assert not path.exists()


@pytest.mark.fault("O15")
@pytest.mark.root
def test_a_file_that_cannot_be_removed_any_more_is_left_empty(
    act: Callable[..., Actor], open_folder: Path
) -> None:
    os.chown(open_folder, 0, 0)  # like /run: nothing can be removed there after the drop
    open_folder.chmod(0o755)
    path = open_folder / "app.pid"
    actor = act(
        """
        import os, sys
        from ginkgo.process.pidfile import *
        from ginkgo.process.privileges import *
        pidfile = Pidfile(sys.argv[1], uid=65534, gid=65534)
        pidfile.write()
        drop(Identity("65534", 65534, 65534, (65534,)))
        say(open(sys.argv[1]).read().strip())
        pidfile.remove()
        """,
        args=[str(path)],
    )
    assert actor.says() == str(actor.pid)
    assert actor.ends() == 0, actor.errors()
    assert path.read_text() == ""


def test_a_file_that_is_ours_no_longer_stays(path: Path) -> None:
    pidfile = write(path)
    path.write_text("4711\n")
    pidfile.remove()
    assert path.read_text() == "4711\n"

    pidfile = write(path)
    path.unlink()
    path.write_text(f"{os.getpid()}\n")  # the same words, but another file
    pidfile.remove()
    assert path.exists()


def test_a_file_that_is_gone_is_no_trouble(path: Path) -> None:
    pidfile = write(path)
    path.unlink()
    pidfile.remove()
    pidfile.remove()


def test_a_changed_working_directory_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    pidfile = write(Path("app.pid"))
    monkeypatch.chdir("/")
    pidfile.remove()
    assert not path.exists()


def test_a_forked_child_does_not_remove_it(path: Path, act: Callable[..., Actor]) -> None:
    actor = act(
        """
        import os, sys
        from ginkgo.process.pidfile import *
        pidfile = Pidfile(sys.argv[1])
        pidfile.write()
        if not os.fork():
            pidfile.remove()
            os._exit(0)
        os.wait()
        say(os.path.exists(sys.argv[1]))
        """,
        args=[str(path)],
    )
    assert actor.says() == "True"


def test_two_instances_cannot_have_one_pidfile(path: Path, act: Callable[..., Actor]) -> None:
    actor = act(
        """
        import sys
        from ginkgo.process.pidfile import *
        from ginkgo.process.runtime import *
        folder = RuntimeFolder.open(runtime_folder("first.One"))
        folder.acquire("first.One")
        pidfile = Pidfile(sys.argv[1])
        pidfile.write()
        folder.publish(Record.of_this_process("first.One", "first.One", (), pidfile=pidfile.path))
        say()
        input()
        """,
        args=[str(path)],
    )
    actor.says()
    with pytest.raises(TemporaryFailure, match=rf"in use by first\.One, pid {actor.pid}"):
        write(path)
    actor.kill()
    write(path).remove()
