"""The runtime folder and its lock."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.process.actors import NOBODY, Actor, is_alive

from ginkgo.core.errors import CannotCreate, PermissionDenied, TemporaryFailure
from ginkgo.process.pids import start_ticks
from ginkgo.process.runtime import (
    AlreadyRunning,
    Record,
    RuntimeFolder,
    find,
    inspect,
    runtime_folder,
)

NAME = "test.Service"

HOLD = """
import os, sys
from ginkgo.process.runtime import *
folder = RuntimeFolder.open(runtime_folder(sys.argv[1]))
folder.acquire(sys.argv[1])
folder.publish(Record.of_this_process(sys.argv[1], sys.argv[1], ("ginkgo", sys.argv[1])))
say(folder.path)
input()
folder.release()
"""


def mode_of(path: Path | str) -> int:
    return stat.S_IMODE(os.stat(path, follow_symlinks=False).st_mode)


def lock_in(base: Path) -> Path:
    """The lock of the instance NAME, in a folder that is ready."""
    folder = base / "ginkgo" / NAME
    folder.mkdir(mode=0o700, parents=True)
    (base / "ginkgo").chmod(0o700)
    return folder / "lock"


def start() -> RuntimeFolder:
    """What a start does."""
    folder = RuntimeFolder.open(runtime_folder(NAME))
    try:
        folder.acquire(NAME)
    except BaseException:
        folder.close()
        raise
    return folder


# The folder


@pytest.mark.fault(18)
def test_the_folder_is_made_with_its_parents_for_us_alone(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(base / "a" / "b" / "c"))
    with RuntimeFolder.open(runtime_folder(NAME)) as folder:
        assert folder.path == str(base / "a" / "b" / "c")
        for made in ("a", "a/b", "a/b/c"):
            assert mode_of(base / made) == 0o700


@pytest.mark.fault("O17")
@pytest.mark.fault(25)
def test_a_loose_umask_makes_nothing_loose(base: Path) -> None:
    before = os.umask(0)
    try:
        with start() as folder:
            folder.publish(Record.of_this_process(NAME, NAME, ()))
            made = [base / "ginkgo", *(base / "ginkgo").rglob("*")]
            assert len(made) == 4
            assert {mode_of(path) for path in made if path.is_dir()} == {0o700}
            assert {mode_of(path) for path in made if path.is_file()} == {0o600}
    finally:
        os.umask(before)


@pytest.mark.fault(136)
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o701, 0o750])
def test_a_folder_that_others_may_enter_is_refused(base: Path, mode: int) -> None:
    lock_in(base).parent.chmod(mode)
    with pytest.raises(PermissionDenied, match=f"mode {mode:04o}") as caught:
        start()
    assert "chmod 700" in str(caught.value.hint)


@pytest.mark.fault(136)
def test_a_folder_whose_parent_others_can_write_is_refused(base: Path) -> None:
    lock_in(base)
    (base / "ginkgo").chmod(0o777)
    with pytest.raises(PermissionDenied, match="others than its owner may replace"):
        start()


@pytest.mark.fault(136)
@pytest.mark.root
def test_a_folder_of_another_user_is_refused(base: Path) -> None:
    os.chown(lock_in(base).parent, NOBODY, NOBODY)
    with pytest.raises(PermissionDenied, match=f"belongs to uid {NOBODY}"):
        start()


@pytest.mark.fault(136)
@pytest.mark.root
def test_a_folder_below_another_users_is_refused(base: Path) -> None:
    lock_in(base)
    os.chown(base / "ginkgo", NOBODY, NOBODY)
    with pytest.raises(PermissionDenied, match=f"belongs to uid {NOBODY}"):
        start()


@pytest.mark.fault(135)
def test_a_symbolic_link_in_place_of_the_folder_is_refused(base: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir(mode=0o700)
    (base / "ginkgo").mkdir(mode=0o700)
    (base / "ginkgo" / NAME).symlink_to(canary)
    with pytest.raises(CannotCreate, match="symbolic link"):
        start()
    assert not list(canary.iterdir())


def test_systemds_folder_that_is_too_open_is_mended_in_the_unit(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "unit").mkdir(mode=0o755)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(base / "unit"))
    with pytest.raises(PermissionDenied) as caught:
        start()
    assert "RuntimeDirectoryMode=0700" in str(caught.value.hint)


@pytest.mark.fault(18)
def test_an_unwritable_place_is_refused_with_what_it_would_take(
    open_folder: Path, act: Callable[..., Actor]
) -> None:
    open_folder.chmod(0o500)
    actor = act(
        """
        from ginkgo.process.runtime import *
        from ginkgo.core.errors import CannotCreate
        try:
            RuntimeFolder.open(runtime_folder("x"))
        except CannotCreate as error:
            say(error.status, os.geteuid())
            say(error)
            say(error.hint)
        """,
        env={"XDG_RUNTIME_DIR": str(open_folder)},
        nobody=True,
    )
    status, uid = actor.says().split()
    message, hint = actor.says(), actor.says()
    assert status == "73"
    assert f"{open_folder}/ginkgo/x" in message
    assert f"uid {uid}" in message
    assert "0700" in hint


@pytest.mark.fault(18)
def test_a_full_disk_is_an_error_that_leaves_the_old_record(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start() as folder:
        folder.publish(Record.of_this_process(NAME, "old", ()))

        def full(fd: int, data: object) -> int:
            raise OSError(28, os.strerror(28))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(CannotCreate, match="No space left on device"):
                folder.publish(Record.of_this_process(NAME, "new", ()))
        record = find(NAME).record
        assert record is not None
        assert record.target == "old"
        assert sorted(os.listdir(folder.path)) == ["instance.json", "lock"]


# The lock


def test_the_lock_is_held_until_it_is_released(base: Path) -> None:
    folder = start()
    assert folder.locked
    with pytest.raises(AlreadyRunning):
        start()
    folder.close()
    start().close()


@pytest.mark.fault(12)
def test_of_twenty_starts_at_once_exactly_one_wins(base: Path, act: Callable[..., Actor]) -> None:
    actor = act(
        """
        import os, sys
        from ginkgo.process.runtime import *

        def compete(gate, report, end):
            os.read(gate, 1)  # closed: all at once
            try:
                RuntimeFolder.open(runtime_folder("race")).acquire("race")
            except AlreadyRunning as error:
                os.write(report, f"lost {error.pid}\\n".encode())
            else:
                os.write(report, f"won {os.getpid()}\\n".encode())
            os.read(end, 1)
            os._exit(0)  # the winner leaves its pid in the lock

        for _ in range(20):
            gate, open_gate = os.pipe()
            results, report = os.pipe()
            end, close_end = os.pipe()
            children = []
            for _ in range(20):
                child = os.fork()
                if not child:
                    os.close(open_gate)
                    os.close(close_end)
                    compete(gate, report, end)
                children.append(child)
            os.close(open_gate)
            text = b""
            while text.count(b"\\n") < 20:
                text += os.read(results, 4096)
            os.close(close_end)
            for child in children:
                os.waitpid(child, 0)
            for fd in (gate, results, report, end):
                os.close(fd)
            say(text.decode().replace("\\n", ";"))
        """,
    )
    for _ in range(20):
        results = [result.split() for result in actor.says().strip(";").split(";")]
        winners = [pid for outcome, pid in results if outcome == "won"]
        losers = [pid for outcome, pid in results if outcome == "lost"]
        assert len(winners) == 1
        assert losers == winners * 19
    assert actor.ends() == 0


@pytest.mark.fault(12)
def test_a_second_start_is_told_who_was_first(base: Path, act: Callable[..., Actor]) -> None:
    first = act(HOLD, args=[NAME])
    first.says()
    with pytest.raises(AlreadyRunning, match=f"already running: pid {first.pid}") as caught:
        start()
    assert isinstance(caught.value, TemporaryFailure)
    assert caught.value.status == 75
    assert caught.value.pid == first.pid
    assert os.getcwd() in str(caught.value)


def test_who_only_looks_keeps_no_start_away(base: Path, act: Callable[..., Actor]) -> None:
    start().close()
    readers = [
        act(
            """
            import sys
            from ginkgo.process.runtime import *
            say("looking")
            while True:
                inspect(sys.argv[1])
            """,
            args=[runtime_folder(NAME)],
        )
        for _ in range(2)
    ]
    for reader in readers:
        reader.says()
    for _ in range(200):
        start().close()


@pytest.mark.fault(14)
def test_a_start_after_a_crash_just_works(base: Path, act: Callable[..., Actor]) -> None:
    first = act(HOLD, args=[NAME])
    first.says()
    first.kill()
    assert find(NAME).stale
    with start():
        assert find(NAME).pid == os.getpid()


@pytest.mark.fault(14)
@pytest.mark.fault(15)
@pytest.mark.fault(16)
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"999999\n",
        b"-1",
        b"0",
        b"1\n",
        b"garbage\0\xff",
        b"9" * 400,
        b"x" * 1024 * 1024,
        b"4711 -1",
    ],
    ids=["empty", "gone", "-1", "0", "init", "garbage", "long", "1 MB", "ticks"],
)
def test_what_is_left_in_the_lock_keeps_no_start_away(base: Path, text: bytes) -> None:
    lock = lock_in(base)
    lock.write_bytes(text)
    assert inspect(str(lock.parent)).state == "stopped"
    with start():
        assert lock.read_text() == f"{os.getpid()} {start_ticks(os.getpid())}\n"


@pytest.mark.fault(16)
@pytest.mark.fault(135)
def test_a_symbolic_link_in_place_of_the_lock_is_refused(base: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("sings")
    lock_in(base).symlink_to(canary)
    with pytest.raises(CannotCreate, match="it is a symbolic link"):
        start()
    assert canary.read_text() == "sings"


@pytest.mark.fault(16)
def test_a_dangling_link_in_place_of_the_lock_makes_no_file(base: Path, tmp_path: Path) -> None:
    lock_in(base).symlink_to(tmp_path / "made")
    with pytest.raises(CannotCreate, match="it is a symbolic link"):
        start()
    assert not (tmp_path / "made").exists()


@pytest.mark.fault(16)
def test_a_hard_link_in_place_of_the_lock_is_refused(base: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("sings")
    os.link(canary, lock_in(base))
    with pytest.raises(CannotCreate, match="hard link"):
        start()
    assert canary.read_text() == "sings"


@pytest.mark.fault(16)
def test_a_folder_in_place_of_the_lock_is_refused(base: Path) -> None:
    lock_in(base).mkdir()
    with pytest.raises(CannotCreate, match="it is a folder"):
        start()


@pytest.mark.fault(16)
def test_a_fifo_in_place_of_the_lock_is_refused_and_blocks_nobody(base: Path) -> None:
    lock = lock_in(base)
    os.mkfifo(lock)
    assert inspect(str(lock.parent)).state == "unknown"
    with pytest.raises(CannotCreate, match="it is a FIFO"):
        start()


@pytest.mark.fault(17)
@pytest.mark.root
def test_a_lock_of_another_user_is_refused(base: Path) -> None:
    lock = lock_in(base)
    lock.touch()
    os.chown(lock, NOBODY, NOBODY)
    with pytest.raises(PermissionDenied, match=f"lock belongs to uid {NOBODY}"):
        start()


def test_a_lock_that_is_replaced_while_it_is_taken_is_not_believed(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock = lock_in(base)
    lock.touch()
    real = fcntl.flock
    taken: list[int] = []

    def slow(fd: int, operation: int) -> None:
        real(fd, operation)
        if operation & fcntl.LOCK_EX:
            if not taken:  # a cleaner comes by between open and flock
                lock.unlink()
                lock.touch()
            taken.append(fd)

    monkeypatch.setattr(fcntl, "flock", slow)
    with start():
        assert len(taken) == 2
        assert inspect(str(lock.parent)).state == "running"


def test_the_lock_is_not_inherited_by_a_program(base: Path) -> None:
    with start():
        ours = os.listdir("/proc/self/fd")
        listing = "import os; print([os.readlink(f'/proc/self/fd/{n}') for n in '3456789'" + (
            " if os.path.exists(f'/proc/self/fd/{n}')])"
        )
        out = subprocess.run(
            [sys.executable, "-c", listing], capture_output=True, text=True, close_fds=False
        )
        assert len(ours) > 3
        assert "/lock" not in out.stdout


@pytest.mark.fault(98)
@pytest.mark.fault(54)
def test_a_forked_child_does_not_keep_the_lock(base: Path, act: Callable[..., Actor]) -> None:
    first = act(
        """
        import os, signal, sys
        from ginkgo.process.runtime import *
        folder = RuntimeFolder.open(runtime_folder(sys.argv[1]))
        folder.acquire(sys.argv[1])
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.close(write)
            os.read(read, 1)  # until the parent is gone, and then for ever
            signal.pause()
        say(child)
        signal.pause()
        """,
        args=[NAME],
    )
    child = int(first.says())
    try:
        first.kill()
        assert is_alive(child)
        start().close()
    finally:
        os.kill(child, 9)


@pytest.mark.fault(98)
def test_an_orphan_that_keeps_the_lock_is_named(base: Path, act: Callable[..., Actor]) -> None:
    first = act(
        """
        import os, subprocess, sys
        from ginkgo.process.runtime import *
        folder = RuntimeFolder.open(runtime_folder(sys.argv[1]))
        folder.acquire(sys.argv[1])
        child = subprocess.Popen(["sleep", "1000"], pass_fds=[folder._lock])
        say(child.pid)
        input()
        """,
        args=[NAME],
    )
    child = int(first.says())
    try:
        first.kill()
        found = find(NAME)
        assert found.state == "held"
        assert found.pid is None
        assert f"pid {child} (sleep)" in found.reason
        with pytest.raises(AlreadyRunning, match=rf"{child} \(sleep\).*pid {first.pid}, is gone"):
            start()
        assert is_alive(child)
    finally:
        os.kill(child, 9)


def test_an_instance_in_another_folder_is_running_too(
    base: Path, act: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = base / "unit"
    unit.mkdir(mode=0o700)
    first = act(HOLD, args=[NAME], env={"RUNTIME_DIRECTORY": str(unit)})
    assert first.says() == str(unit)
    assert runtime_folder(NAME) != str(unit)
    with pytest.raises(AlreadyRunning, match=f"pid {first.pid}"):
        start()
    assert find(NAME).pid == first.pid


def test_a_clean_stop_leaves_no_word_behind(base: Path, act: Callable[..., Actor]) -> None:
    actor = act(HOLD, args=[NAME])
    folder = actor.says()
    actor.tell()
    assert actor.ends() == 0
    assert os.listdir(folder) == ["lock"]
    assert os.path.getsize(f"{folder}/lock") == 0
    found = find(NAME)
    assert (found.state, found.stale, found.record) == ("stopped", False, None)


def test_the_record_tells_how_to_find_and_to_start_it_again(base: Path) -> None:
    argv = ("ginkgo", "--set", "x=ü\udcff\n", NAME)
    with start() as folder:
        record = Record.of_this_process(NAME, NAME, argv, logfile="/x.log", control="/c.sock")
        folder.publish(record)
        data = json.loads(Path(folder.path, "instance.json").read_bytes())
        assert data["pid"] == os.getpid()
        assert data["start_ticks"] == start_ticks(os.getpid())
        assert data["cwd"] == os.getcwd()
        assert data["python"] == sys.executable
        assert data["started_at"].endswith("Z")
        assert find(NAME).record == record
        assert record.argv == argv


# Root that is going to be somebody else


@pytest.mark.root
@pytest.mark.fault("O15")
def test_the_folder_belongs_to_the_user_that_root_becomes(
    base: Path, act: Callable[..., Actor]
) -> None:
    actor = act(
        """
        import os
        from ginkgo.process.privileges import *
        from ginkgo.process.runtime import *
        identity = Identity("65534", 65534, 65534, (65534,))
        folder = RuntimeFolder.open(runtime_folder("x"), uid=65534, gid=65534)
        folder.acquire("x")
        folder.publish(Record.of_this_process("x", "x", ()))
        drop(identity)
        say(folder.path)
        input()
        folder.release()
        """
    )
    folder = Path(actor.says())
    for path in (folder, folder / "lock", folder / "instance.json"):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
    found = find("x")
    assert found.pid == actor.pid
    assert found.owner == NOBODY
    actor.tell()
    assert actor.ends() == 0, actor.errors()
    assert os.listdir(folder) == ["lock"]


@pytest.mark.root
def test_root_takes_over_what_it_has_given_away_before(base: Path) -> None:
    for uid, gid in ((None, None), (NOBODY, NOBODY), (NOBODY, NOBODY)):
        with RuntimeFolder.open(runtime_folder(NAME), uid=uid, gid=gid) as folder:
            folder.acquire(NAME)
            assert os.stat(folder.path).st_uid == (uid or 0)


@pytest.mark.root
def test_the_folder_is_not_given_away_while_another_runs_in_it(
    base: Path, act: Callable[..., Actor]
) -> None:
    act(HOLD, args=[NAME]).says()
    with RuntimeFolder.open(runtime_folder(NAME), uid=NOBODY, gid=NOBODY) as folder:
        with pytest.raises(AlreadyRunning):
            folder.acquire(NAME)
        assert os.stat(folder.path).st_uid == 0


@pytest.mark.root
@pytest.mark.fault(26)
def test_root_keeps_it_under_run_where_the_users_can_go_through(
    act: Callable[..., Actor],
) -> None:
    actor = act(
        """
        import os, stat
        from ginkgo.process.runtime import *
        del os.environ["XDG_RUNTIME_DIR"]
        os.umask(0o077)
        with RuntimeFolder.open(runtime_folder("x"), uid=65534, gid=65534) as folder:
            folder.acquire("x")
            say(folder.path)
            for path in ("/run/ginkgo", folder.path):
                say(oct(stat.S_IMODE(os.stat(path).st_mode)), os.stat(path).st_uid)
            say(find("x").state)
        """,
        prefix=["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"],
    )
    assert [actor.says() for _ in range(4)] == [
        "/run/ginkgo/x",
        "0o755 0",
        "0o700 65534",
        "running",
    ]
