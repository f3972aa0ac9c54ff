"""What the manager finds out, and whom it never takes for an instance."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.process.actors import NOBODY, Actor, is_alive

from ginkgo.process.instances import Record, find, inspect, instances
from ginkgo.process.pids import hold, start_ticks

NAME = "test.Service"

HOLD = """
import os, sys
from ginkgo.process.pidfile import Pidfile
from ginkgo.process.runtime import *
name = sys.argv[1]
folder = RuntimeFolder.open(runtime_folder(name))
folder.acquire(name)
pidfile = Pidfile(sys.argv[2] if len(sys.argv) > 2 else os.path.join(folder.path, PID))
pidfile.write()
folder.publish(Record.of_this_process(name, name, ("ginkgo", name), pidfile=pidfile.path))
say(folder.path)
input()
pidfile.remove()
folder.release()
"""


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us, and that nobody may harm."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    assert process.poll() is None, "somebody has ended it"
    process.kill()
    process.wait()


def folder_of(base: Path) -> Path:
    """A runtime folder for NAME in which nothing is yet."""
    folder = base / "ginkgo" / NAME
    folder.mkdir(mode=0o700, parents=True)
    return folder


def keep_locked(act: Callable[..., Actor], path: Path) -> Actor:
    """Have somebody hold a lock."""
    actor = act(
        """
        import fcntl, sys
        file = open(sys.argv[1], "a")
        fcntl.flock(file, fcntl.LOCK_EX)
        say("locked")
        input()
        """,
        args=[str(path)],
    )
    actor.says()
    return actor


def test_what_was_never_started_is_stopped(base: Path) -> None:
    found = find(NAME)
    assert (found.state, found.stale, found.pid) == ("stopped", False, None)
    assert not found.running


def test_an_instance_is_found_by_target_pid_and_pidfile(
    base: Path, act: Callable[..., Actor]
) -> None:
    actor = act(HOLD, args=[NAME])
    folder = actor.says()
    for found in (find(NAME), find(pid=actor.pid), find(pidfile=f"{folder}/pid")):
        assert found.running
        assert found.pid == actor.pid
        assert found.folder == folder
        assert found.start_ticks == start_ticks(actor.pid)
        assert found.record is not None
        assert found.record.name == NAME
    actor.tell()
    assert actor.ends() == 0
    for found in (find(NAME), find(pid=actor.pid), find(pidfile=f"{folder}/pid")):
        assert found.state == "stopped"


def test_an_instance_is_found_by_a_pidfile_elsewhere(
    base: Path, tmp_path: Path, act: Callable[..., Actor]
) -> None:
    path = str(tmp_path / "app.pid")
    actor = act(HOLD, args=[NAME, path])
    actor.says()
    assert find(pidfile=path).pid == actor.pid


def test_a_pid_leads_to_an_instance_whose_environment_is_another(
    base: Path, tmp_path: Path, act: Callable[..., Actor]
) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    actor = act(HOLD, args=[NAME], env={"XDG_RUNTIME_DIR": str(other), "HOME": str(other)})
    actor.says()
    assert find(pid=actor.pid).pid == actor.pid
    assert find(NAME).state == "stopped"


def test_an_instance_in_systemds_folder_is_found_by_its_name(
    base: Path, act: Callable[..., Actor]
) -> None:
    (base / "unit").mkdir(mode=0o700)
    actor = act(HOLD, args=[NAME], env={"RUNTIME_DIRECTORY": str(base / "unit")})
    actor.says()
    assert find(NAME).pid == actor.pid
    assert find("another.Name").state == "stopped"


def test_the_folder_of_another_unit_is_not_ours(
    base: Path, act: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "unit").mkdir(mode=0o700)
    act(HOLD, args=[NAME], env={"RUNTIME_DIRECTORY": str(base / "unit")}).says()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(base / "unit"))
    assert find("another.Name").state == "stopped"


def test_all_instances_are_listed(base: Path, act: Callable[..., Actor]) -> None:
    (base / "unit").mkdir(mode=0o700)
    actors = [
        act(HOLD, args=["list.One"]),
        act(HOLD, args=["list.Two"]),
        act(HOLD, args=["list.Three"], env={"RUNTIME_DIRECTORY": str(base / "unit")}),
        act(HOLD, args=["list.Crashed"]),
        act(HOLD, args=["list.Stopped"]),
    ]
    for actor in actors:
        actor.says()
    actors[3].kill()
    actors[4].tell()
    actors[4].ends()
    listed = {
        found.record.name: (found.state, found.stale)
        for found in instances()
        if found.record is not None and found.record.name.startswith("list.")
    }
    assert listed == {
        "list.One": ("running", False),
        "list.Two": ("running", False),
        "list.Three": ("running", False),
        "list.Crashed": ("stopped", True),
    }


def test_one_that_crashed_is_stopped_and_told_apart(base: Path, act: Callable[..., Actor]) -> None:
    actor = act(HOLD, args=[NAME])
    actor.says()
    actor.kill()
    found = find(NAME)
    assert (found.state, found.stale, found.pid) == ("stopped", True, None)
    assert found.record is not None
    assert found.record.pid == actor.pid


def test_a_successor_is_not_described_with_its_predecessors_record(
    base: Path, act: Callable[..., Actor]
) -> None:
    first = act(HOLD, args=[NAME])
    first.says()
    first.kill()
    second = act(
        """
        import sys
        from ginkgo.process.runtime import *
        folder = RuntimeFolder.open(runtime_folder(sys.argv[1]))
        folder.acquire(sys.argv[1])
        say("locked, and nothing published yet")
        input()
        """,
        args=[NAME],
    )
    second.says()
    found = find(NAME)
    assert (found.pid, found.record) == (second.pid, None)


@pytest.mark.fault(15)
def test_a_pid_that_came_round_again_is_not_an_instance(
    base: Path, stranger: subprocess.Popen[bytes]
) -> None:
    folder = folder_of(base)
    pidfile = folder / "pid"
    for path in (pidfile, folder / "lock"):
        path.write_text(f"{stranger.pid}\n")
    for found in (find(NAME), find(pidfile=str(pidfile)), find(pid=stranger.pid)):
        assert found.state == "stopped"
        assert found.pid is None


@pytest.mark.fault(15)
def test_a_pid_that_came_round_again_is_not_believed_even_while_the_lock_is_held(
    base: Path, act: Callable[..., Actor], stranger: subprocess.Popen[bytes]
) -> None:
    lock = folder_of(base) / "lock"
    lock.write_text(f"{stranger.pid} {start_ticks(stranger.pid)}\n")
    keep_locked(act, lock)
    found = find(NAME)
    assert (found.state, found.pid) == ("held", None)


@pytest.mark.fault(15)
def test_a_pid_that_came_round_again_is_known_by_its_start_where_nothing_else_is_seen(
    base: Path,
    act: Callable[..., Actor],
    stranger: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ginkgo.process.instances.has_open", lambda *_: None)
    ticks = start_ticks(stranger.pid)
    assert ticks is not None
    lock = folder_of(base) / "lock"
    lock.write_text(f"{stranger.pid} {ticks - 1}\n")
    keep_locked(act, lock)
    assert find(NAME).state == "held"
    lock.write_text(f"{stranger.pid} {ticks}\n")
    assert find(NAME).pid == stranger.pid


@pytest.mark.fault(15)
def test_a_pidfile_elsewhere_that_names_a_stranger_is_stale(
    base: Path, tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    path = tmp_path / "app.pid"
    path.write_text(f"{stranger.pid}\n")
    found = find(pidfile=str(path))
    assert (found.state, found.stale, found.pid) == ("stopped", True, None)
    assert "sleep" in found.reason


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"garbage",
        b"0",
        b"-1\n",
        b"-4711",
        b"+1",
        b"1_0",
        "\N{SUPERSCRIPT TWO}".encode(),
        b"9" * 30,
        b"4294967297",
        b"x" * 1024 * 1024,
        b"999999\n",
        b"12 34\n",
    ],
    ids=lambda text: text[:10].decode(errors="replace"),
)
def test_a_pidfile_with_anything_else_than_a_pid_is_stale(
    base: Path, tmp_path: Path, text: bytes
) -> None:
    path = tmp_path / "app.pid"
    path.write_bytes(text)
    found = find(pidfile=str(path))
    assert (found.state, found.stale, found.pid) == ("stopped", True, None)


@pytest.mark.fault(16)
@pytest.mark.parametrize("kind", ["folder", "fifo", "link", "dangling"])
def test_a_pidfile_that_is_no_file_is_not_read(base: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "app.pid"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        target = tmp_path / "target"
        if kind == "link":
            target.write_text(f"{os.getpid()}\n")
        path.symlink_to(target)
    found = find(pidfile=str(path))
    assert (found.state, found.pid) == ("unknown", None)
    assert str(path) in found.reason


@pytest.mark.fault(17)
def test_a_pidfile_that_is_not_for_our_eyes_is_unknown(
    open_folder: Path, act: Callable[..., Actor]
) -> None:
    path = open_folder / "app.pid"
    path.write_text("1\n")
    path.chmod(0o000)
    actor = act(
        "from ginkgo.process.runtime import *; found = find(pidfile=sys.argv[1]);"
        "say(found.state); say(found.reason)",
        args=[str(path)],
        nobody=True,
    )
    assert actor.says() == "unknown"
    assert "Permission denied" in actor.says()


@pytest.mark.root
@pytest.mark.fault(17)
def test_another_users_instance_is_unknown_and_not_stopped(
    base: Path, act: Callable[..., Actor]
) -> None:
    in_private_run = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh"]
    actor = act(
        """
        import os
        del os.environ["XDG_RUNTIME_DIR"]
        import pwd
        from ginkgo.process.runtime import *
        folder = RuntimeFolder.open(runtime_folder("x"))
        folder.acquire("x")
        if not os.fork():
            os.setresuid(65534, 65534, 65534)
            found = find("x")
            say(found.state, found.reason)
            os._exit(0)
        os.wait()
        """,
        prefix=in_private_run,
    )
    assert actor.says() == "unknown /run/ginkgo/x: Permission denied"


@pytest.mark.root
def test_root_does_not_believe_the_pid_that_a_user_has_written(
    base: Path, act: Callable[..., Actor], stranger: subprocess.Popen[bytes]
) -> None:
    folder = folder_of(base)
    lock = folder / "lock"
    lock.write_text(f"{stranger.pid} {start_ticks(stranger.pid)}\n")
    for path in (folder, lock):
        os.chown(path, NOBODY, NOBODY)
    keep_locked(act, lock)
    assert find(NAME).state == "held"
    assert find(pid=stranger.pid).state == "stopped"


@pytest.mark.parametrize("pid", [0, -1, -4711, 2**31, 2**64])
def test_numbers_that_mean_groups_or_nothing_are_no_instance(base: Path, pid: int) -> None:
    assert find(pid=pid).state == "stopped"


def test_exactly_one_way_to_ask(base: Path) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        find()
    with pytest.raises(ValueError, match="exactly one"):
        find(NAME, pid=1)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"pid": "x"}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"name":"x","pid":-1,"start_ticks":1,"target":"x","cwd":"/","argv":[],"python":"x",'
        b'"logfile":null,"pidfile":null,"control":null,"started_at":"x"}',
    ],
    ids=["empty", "cut", "list", "null", "types", "deep", "utf16", "group"],
)
def test_a_record_that_is_none_is_ignored(base: Path, text: bytes) -> None:
    assert Record.from_json(text) is None
    folder = folder_of(base)
    (folder / "instance.json").write_bytes(text)
    assert inspect(str(folder)).state == "stopped"


def test_a_record_of_a_later_version_is_read(base: Path) -> None:
    record = Record.of_this_process("x", "x", ("ginkgo", "x"))
    text = record.to_json().replace(b"{", b'{"workers": 4,', 1)
    assert Record.from_json(text) == record


@pytest.mark.fault("O21")
def test_what_is_found_can_be_stopped_without_its_code(
    base: Path, act: Callable[..., Actor]
) -> None:
    actor = act(HOLD, args=[NAME])
    actor.says()
    found = find(NAME)
    assert found.pid is not None
    process = hold(found.pid, found.start_ticks)
    assert process is not None
    with process:
        assert process.send(signal.SIGTERM)
        assert process.wait_gone(20)
    assert not is_alive(actor.pid)


@pytest.mark.fault("O21")
def test_the_manager_gets_nothing_heavy_from_here() -> None:
    code = """
        import sys, ginkgo.process
        before = set(sys.modules)
        import ginkgo.process.runtime, ginkgo.process.pids
        print(*sorted(set(sys.modules) - before))
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    heavy = {
        "asyncio",
        "ctypes",
        "dataclasses",
        "gevent",
        "hashlib",
        "logging",
        "msgspec",
        "psutil",
        "socket",
        "subprocess",
        "tempfile",
    }
    assert not heavy & set(out.stdout.split())
