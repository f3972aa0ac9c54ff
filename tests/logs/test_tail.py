from __future__ import annotations

import ctypes
import io
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.logs.scripts import DEADLINE, environment, run

from ginkgo.core.errors import PermissionDenied, TargetNotFound
from ginkgo.logs import tail
from ginkgo.logs.files import LogFile
from ginkgo.logs.inotify import Inotify
from ginkgo.logs.tail import Follower, follow, stream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def last_lines(path: str, n: int, *, raw: bool = False) -> list[str]:
    """What `logtail` shows first."""
    follower = Follower(path, lines=n, raw=raw)
    try:
        lines = "".join(iter(follower.read, "")).split("\n")
    finally:
        follower.close()
    return lines[:-1] if lines[-1] == "" else lines


class Following:
    """A follower in a thread of its own, and what it has yielded."""

    def __init__(self, path: Path, **more: Any) -> None:
        self.text = ""
        self.cpu = 0.0
        self.ended = threading.Event()
        self.error: BaseException | None = None
        self._changed = threading.Condition()
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._run, args=(path, more))
        self._thread.start()

    def _run(self, path: Path, more: dict[str, Any]) -> None:
        begun = 0.0
        try:
            for text in follow(str(path), stop=self._stop, **more):
                begun = begun or time.thread_time()  # from here on it only waits
                with self._changed:
                    self.text += text
                    self._changed.notify_all()
        except BaseException as error:
            self.error = error
        self.cpu = time.thread_time() - begun
        self.ended.set()

    def wait_for(self, ending: str) -> None:
        with self._changed:
            arrived = self._changed.wait_for(lambda: self.text.endswith(ending), DEADLINE)
        assert arrived, (self.text[-1000:], self.error)

    def end(self) -> None:
        os.write(self._stopper, b"x")
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        os.close(self._stop)
        os.close(self._stopper)
        assert self.error is None


@contextmanager
def following(path: Path, **more: Any) -> Iterator[Following]:
    made = Following(path, **more)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(params=["inotify", "polling"])
def _means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow with inotify, and where there is none."""
    if request.param == "polling":
        monkeypatch.setattr(tail, "_make_inotify", lambda: None)


both = pytest.mark.usefixtures("_means")


# --- last lines, and all of it ---


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("", 3, []),
        ("a\n", 3, ["a"]),
        ("a\nb\nc\n", 2, ["b", "c"]),
        ("a\nb\nc\n", 3, ["a", "b", "c"]),
        ("a\nb\nc\n", 0, []),
        ("a\nb\nunfinished", 2, ["b", "unfinished"]),
        ("\n\n\n", 2, ["", ""]),
        ("a\n", 10**9, ["a"]),
    ],
)
def test_the_last_lines(path: Path, text: str, n: int, expected: list[str]) -> None:
    path.write_text(text)
    assert last_lines(str(path), n) == expected


@pytest.mark.parametrize("length", [1, 100, 65_535, 65_536, 65_537, 200_000])
def test_the_last_lines_of_a_long_file(path: Path, length: int) -> None:
    lines = [str(number).rjust(length, "x") for number in range(40)]
    path.write_text("\n".join(lines) + "\n")
    for n in (1, 5, 39, 40, 41):
        assert last_lines(str(path), n) == lines[-n:]


def test_the_last_lines_are_found_without_reading_the_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: to read it would take an hour
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    assert last_lines(str(path), 1) == ["last"]


def test_a_log_is_streamed_whole(path: Path) -> None:
    text = "".join(f"{number} \u20ac \U0001f600\n" for number in range(50_000))
    path.write_text(text)
    out = io.StringIO()
    stream(str(path), out)
    assert out.getvalue() == text


def test_a_stream_ends_where_the_file_ended_when_it_began(path: Path) -> None:
    path.write_text("one\n")

    class Growing(io.StringIO):
        def write(self, text: str) -> int:
            add(path, "more\n")
            return super().write(text)

    out = Growing()
    stream(str(path), out)
    assert out.getvalue() == "one\n"


@pytest.mark.fault(143)
def test_what_would_drive_a_terminal_is_escaped_unless_raw(path: Path) -> None:
    evil = "a\x1b]52;c;cm0gLXJm\x07b\r\u202e\u2028\x9b2J\n"
    path.write_text(evil)
    safe = "a\\x1b]52;c;cm0gLXJm\\x07b\\r\\u202e\\u2028\\x9b2J"
    out, raw = io.StringIO(), io.StringIO()
    stream(str(path), out)
    stream(str(path), raw, raw=True)
    assert last_lines(str(path), 1) == [safe]
    assert out.getvalue() == safe + "\n"
    assert raw.getvalue() == evil
    assert last_lines(str(path), 1, raw=True) == [evil[:-1]]
    with following(path) as tailing:
        tailing.wait_for(safe + "\n")
    with following(path, raw=True) as tailing:
        tailing.wait_for(evil)


def test_bytes_that_are_no_text_are_spelled_out(path: Path) -> None:
    path.write_bytes(b"a\xff\xfeb\n")
    assert last_lines(str(path), 1) == ["a\\xff\\xfeb"]


# --- what is not a log ---


def test_a_missing_log_is_told(path: Path) -> None:
    for missing in (path, path / "in" / "no" / "folder"):
        with pytest.raises(TargetNotFound, match="there is no log file"):
            stream(str(missing), io.StringIO())


@pytest.mark.fault(135)
@pytest.mark.parametrize(
    "read",
    [lambda p: last_lines(p, 1), lambda p: stream(p, io.StringIO()), lambda p: next(follow(p))],
    ids=["last lines", "stream", "follow"],
)
def test_links_fifos_sockets_and_folders_are_refused_and_not_waited_for(
    tmp_path: Path, read: Any
) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("link", "fifo", "folder"):
        with pytest.raises(PermissionDenied, match=r"symbolic link|not a regular"):
            read(str(tmp_path / name))
    with pytest.raises(PermissionDenied):
        read("/dev/zero")


@pytest.mark.root
def test_a_log_of_somebody_else_says_who_can_read_it(shared: Path) -> None:
    (shared / "app.log").touch(0o600)
    told = run(
        """
        become_nobody()
        try:
            tail.stream(sys.argv[1], sys.stdout)
        except GinkgoError as error:
            print(error.status, error, error.hint)
        """,
        shared / "app.log",
    ).stdout
    assert told.startswith(f"77 log file {shared}/app.log: this user may not read it")


# --- following ---


@both
@pytest.mark.fault("O19")
def test_the_last_lines_come_first_and_then_what_is_added(path: Path) -> None:
    path.write_text("".join(f"{number}\n" for number in range(100)))
    with following(path, lines=2) as tailing:
        tailing.wait_for("98\n99\n")
        assert tailing.text == "98\n99\n"
        add(path, "100\n")
        tailing.wait_for("100\n")
        add(path, "unfin")
        tailing.wait_for("unfin")
        add(path, "ished\n")
        tailing.wait_for("unfinished\n")


@both
@pytest.mark.fault("O19")
def test_it_follows_through_rotation(path: Path) -> None:
    path.write_text("0\n")
    log = LogFile(str(path))
    with following(path) as tailing:
        for number in range(1, 6):
            tailing.wait_for(f"{number - 1}\n")
            path.rename(path.with_suffix(f".{number}"))
            log.write(b"%d\n" % number)
        tailing.wait_for("5\n")
        assert tailing.text == "0\n1\n2\n3\n4\n5\n"
    log.close()


@both
def test_it_follows_through_the_kinds_of_replacement(path: Path, tmp_path: Path) -> None:
    path.write_text("one\n")
    with following(path) as tailing:
        tailing.wait_for("one\n")
        path.unlink()
        path.write_text("deleted and made anew\n")
        tailing.wait_for("anew\n")
        (tmp_path / "new").write_text("moved over it\n")
        (tmp_path / "new").rename(path)
        tailing.wait_for("over it\n")
        os.truncate(path, 0)
        add(path, "cut\n")
        tailing.wait_for("cut\n")
        assert tailing.text == "one\ndeleted and made anew\nmoved over it\ncut\n"


@both
def test_a_log_that_does_not_exist_yet_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "later" / "app.log"
    with following(path) as tailing:
        path.parent.mkdir()
        path.write_text("born\n")
        tailing.wait_for("born\n")


@both
def test_a_process_that_still_writes_the_old_file_is_heard(path: Path) -> None:
    path.write_text("first\n")
    with path.open("a") as old, following(path) as tailing:
        tailing.wait_for("first\n")
        path.rename(path.with_suffix(".1"))
        path.write_text("new\n")
        tailing.wait_for("new\n")
        old.write("old\n")
        old.flush()
        tailing.wait_for("old\n")
        path.with_suffix(".1").unlink()
        add(path, "newer\n")
        tailing.wait_for("newer\n")
        assert tailing.text == "first\nnew\nold\nnewer\n"


@both
@pytest.mark.fault(135)
def test_what_is_planted_at_the_path_later_is_not_read(path: Path, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("sing\n")
    path.write_text("one\n")
    with following(path) as tailing:
        tailing.wait_for("one\n")
        path.rename(path.with_suffix(".1"))
        path.symlink_to(tmp_path / "canary")
        add(path.with_suffix(".1"), "two\n")
        tailing.wait_for("two\n")
        path.unlink()
        path.write_text("three\n")
        tailing.wait_for("three\n")
        assert tailing.text == "one\ntwo\nthree\n"


@both
def test_a_character_that_comes_in_two_pieces_is_one(path: Path) -> None:
    path.write_bytes(b"")
    with following(path) as tailing, path.open("ab", buffering=0) as file:
        for piece in (b"a\xe2\x82", b"\xac\xf0\x9f", b"\x98\x80\n"):
            file.write(piece)
        tailing.wait_for("a\u20ac\U0001f600\n")


@both
def test_much_at_once_is_whole(path: Path) -> None:
    path.write_text("first\n")
    expected = "".join(f"{number:099}\n" for number in range(100_000))
    with following(path) as tailing:
        tailing.wait_for("first\n")
        add(path, expected)
        tailing.wait_for("99999\n")
        assert tailing.text == "first\n" + expected


@both
@pytest.mark.fault("O19")
def test_a_follower_of_a_quiet_log_costs_no_cpu(path: Path) -> None:
    # 0.6 read in a loop. The time of this thread is compared with what passed meanwhile.
    path.write_text("one\n")
    begun = time.monotonic()
    with following(path) as tailing:
        tailing.wait_for("one\n")
        assert not tailing.ended.wait(1.5)
    assert tailing.cpu < 0.05 * (time.monotonic() - begun)


def test_it_ends_when_the_reader_of_its_output_has_gone(path: Path) -> None:
    path.write_text("one\n")
    reader, writer = os.pipe()
    with open(writer, "w") as out:
        pieces = follow(str(path), out)
        assert next(pieces) == "one\n"
        os.close(reader)
        assert list(pieces) == []


@pytest.mark.parametrize("path_given", ["relative", "absolute"])
def test_it_looks_where_it_was_told_to_although_the_folder_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch, path_given: str
) -> None:
    monkeypatch.chdir(path.parent)
    follower = Follower("app.log" if path_given == "relative" else str(path))
    try:
        monkeypatch.chdir("/")
        path.write_text("one\n")
        assert follower.read() == "one\n"
    finally:
        follower.close()


def test_a_loop_of_ones_own_can_wait_for_it(path: Path) -> None:
    import select

    path.write_text("one\n")
    follower = Follower(str(path))
    try:
        assert follower.read() == "one\n"
        assert follower.read() == ""
        poll = select.poll()
        poll.register(follower.fileno(), select.POLLIN)
        assert poll.poll(0) == []
        add(path, "two\n")
        assert poll.poll(DEADLINE * 1000)
        assert follower.read() == "two\n"
        assert follower.patience >= 0.25
    finally:
        follower.close()


def test_where_the_instances_of_inotify_are_used_up_it_polls(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Inotify) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Inotify, "__init__", refuse)
    path.write_text("one\n")
    with following(path) as tailing:
        tailing.wait_for("one\n")
        add(path, "two\n")
        tailing.wait_for("two\n")


def test_where_the_watches_of_inotify_are_used_up_it_polls(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inotify, "watch_file", lambda self, path: False)
    path.write_text("one\n")
    with following(path) as tailing:
        tailing.wait_for("one\n")
        add(path, "two\n")
        tailing.wait_for("two\n")


def test_an_inotify_that_is_refused_by_the_system_says_so() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            Inotify()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert ctypes.get_errno() >= 0


def test_it_works_in_a_process_that_gevent_has_patched(path: Path) -> None:
    path.write_text("one\n")
    shown = run(
        """
        import gevent
        def write():
            with open(sys.argv[1], "a") as file:
                file.write("two\\n")
        pieces = tail.follow(sys.argv[1])
        print(next(pieces), end="")
        gevent.spawn(write)
        print(next(pieces), end="")
        """,
        path,
        patched=True,
    ).stdout
    assert shown == "one\ntwo\n"


# --- what it costs ---


def test_it_imports_nothing_that_a_command_would_have_to_wait_for() -> None:
    code = """
import sys
import collections.abc, re, typing  # whatever imports argparse has these
import ginkgo.core.errors
before = set(sys.modules)
from ginkgo.logs import tail
print(sorted(name for name in set(sys.modules) - before if name.partition(".")[0] != "ginkgo"))
print(sorted(name for name in set(sys.modules) - before if name.partition(".")[0] == "ginkgo"))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], env=environment(), capture_output=True, text=True
    )
    libraries, own = done.stdout.splitlines()
    assert set(eval(libraries)) <= {"codecs", "errno", "os", "select", "stat"}, done.stderr
    assert eval(own) == ["ginkgo.logs", "ginkgo.logs.escape", "ginkgo.logs.tail"]


def test_sockets_are_no_logs(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(Exception, match="log file"):
            last_lines(str(tmp_path / "s"), 1)
