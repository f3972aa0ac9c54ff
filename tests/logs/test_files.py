from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.logs.scripts import run, start

from ginkgo.core.errors import PermissionDenied
from ginkgo.logs import files
from ginkgo.logs.files import LogFile

NOBODY = 65534


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log(tmp_path: Path) -> Any:
    file = LogFile(str(tmp_path / "app.log"))
    yield file
    file.close()


@pytest.mark.fault(45)
def test_a_file_that_was_moved_away_is_made_anew_with_the_next_line(log: LogFile) -> None:
    log.write(b"one\n")
    os.rename(log.path, log.path + ".1")
    log.write(b"two\n")
    assert Path(log.path + ".1").read_text() == "one\n"
    assert Path(log.path).read_text() == "two\n"


@pytest.mark.fault(45)
def test_a_file_that_was_deleted_is_made_anew_with_the_next_line(log: LogFile) -> None:
    log.write(b"one\n")
    os.unlink(log.path)
    log.write(b"two\n")
    assert Path(log.path).read_text() == "two\n"
    assert log.dropped == 0


@pytest.mark.fault(45)
def test_a_file_that_another_took_the_place_of_is_left(log: LogFile) -> None:
    log.write(b"one\n")
    Path(log.path + ".new").write_text("already\n")
    os.rename(log.path + ".new", log.path)
    log.write(b"two\n")
    assert Path(log.path).read_text() == "already\ntwo\n"


@pytest.mark.fault(45)
def test_a_folder_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "logs" / "app.log"))
    os.unlink(log.path)
    (tmp_path / "logs").rmdir()
    log.write(b"two\n")
    log.close()
    assert (tmp_path / "logs" / "app.log").read_text() == "two\n"


@pytest.mark.fault(46)
def test_copytruncate_leaves_no_hole(log: LogFile) -> None:
    for number in range(1000):
        log.write(b"%d\n" % number)
        if number % 100 == 50:
            os.truncate(log.path, 0)
    data = Path(log.path).read_bytes()
    assert b"\0" not in data
    assert data.startswith(b"951\n")


@pytest.mark.fault(48)
def test_a_line_is_one_write_and_at_most_one_stat(
    log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Counted:
        def __getattr__(self, name: str) -> Any:
            function = getattr(os, name)
            if not callable(function) or isinstance(function, type):
                return function

            def call(*args: Any, **kwargs: Any) -> Any:
                calls.append(name)
                return function(*args, **kwargs)

            return call

    monkeypatch.setattr(files, "os", Counted())
    log.write(b"x" * 60_000 + b"\n")
    assert calls == ["lstat", "write"]


@pytest.mark.fault(48)
def test_processes_that_share_a_log_do_not_mix_their_lines(tmp_path: Path, patched: bool) -> None:
    code = """
    setup.configure(None, sys.argv[1], "info", daemon=True)
    who = sys.argv[2]
    sys.stdin.read()
    for number in range(2500):
        logging.info("%s %d %s", who, number, who * (number % 3000))
    """
    path = tmp_path / "app.log"
    with ExitStack() as stack:
        writers = [stack.enter_context(start(code, path, name, patched=patched)) for name in "abcd"]
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.close()
        for writer in writers:
            assert writer.wait(60) == 0
    seen: dict[str, list[int]] = {name: [] for name in "abcd"}
    for line in path.read_text().splitlines():
        match = re.fullmatch(r".{23}      INFO \S+: ([abcd]) (\d+) (\1*)", line)
        assert match, line
        assert len(match[3]) == int(match[2]) % 3000
        seen[match[1]].append(int(match[2]))
    assert all(numbers == list(range(2500)) for numbers in seen.values())


@pytest.mark.fault(135)
def test_a_link_that_is_planted_later_is_not_followed(
    log: LogFile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = tmp_path / "canary"
    canary.write_text("sing")
    log.write(b"one\n")
    os.rename(log.path, log.path + ".1")
    os.symlink(canary, log.path)
    log.write(b"two\n")
    log.write(b"three\n")
    with pytest.raises(PermissionDenied, match="symbolic link"):
        log.reopen()
    assert canary.read_text() == "sing"
    assert Path(log.path + ".1").read_text() == "one\ntwo\nthree\n"  # nothing is lost
    assert capsys.readouterr().err.count("symbolic link") == 1
    assert log.problem is not None
    os.unlink(log.path)
    log.write(b"four\n")
    assert Path(log.path).read_text() == "four\n"
    assert log.problem is None


@pytest.mark.fault(44)
def test_a_full_disk_costs_lines_and_is_told_once_a_minute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # /dev/full behind a folder that is swapped for a good one: the disk has space again.
    clock = Clock()
    (tmp_path / "good").mkdir()
    (tmp_path / "logs").symlink_to("/dev")
    log = LogFile(str(tmp_path / "logs" / "full"), clock=clock)
    for _ in range(100):
        log.write(b"lost\n")
        clock.now += 1
    assert log.dropped == 100
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert "No space left on device" in told[0]
    assert log.problem is not None
    (tmp_path / "logs").unlink()
    (tmp_path / "logs").symlink_to("good")
    log.write(b"back\n")
    log.write(b"again\n")
    log.close()
    note, *lines = (tmp_path / "good" / "full").read_text().splitlines()
    assert "WARNING files: 100 log lines were lost before this one" in note
    assert "No space left" in note
    assert lines == ["back", "again"]
    assert log.problem is None


@pytest.mark.fault(44)
def test_a_line_that_was_cut_by_a_full_disk_does_not_run_into_the_next(tmp_path: Path) -> None:
    run(
        """
        import resource
        log = LogFile(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
        log.write(b"one\\n")
        log.write(b"two is too long\\n")
        log.write(b"three\\n")
        assert log.dropped == 2, log.dropped
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        log.write(b"four\\n")
        """,
        tmp_path / "app.log",
    )
    lines = (tmp_path / "app.log").read_text().splitlines()
    assert lines[:2] == ["one", "two is"]
    assert "2 log lines were lost before this one: " in lines[2]
    assert "File too large" in lines[2]
    assert lines[3:] == ["four"]


def test_what_goes_into_a_deleted_file_counts_as_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    log = LogFile(str(tmp_path / "logs" / "app.log"))
    os.unlink(log.path)
    (tmp_path / "logs").rmdir()
    (tmp_path / "logs").write_text("a file where the folder was")
    log.write(b"lost\n")
    assert log.dropped == 1
    assert "no folder" in capsys.readouterr().err
    (tmp_path / "logs").unlink()
    log.write(b"back\n")
    log.close()
    text = (tmp_path / "logs" / "app.log").read_text()
    assert "1 log line was lost before this one: logfile " in text
    assert text.endswith("\nback\n")


def test_the_descriptor_keeps_its_number(log: LogFile) -> None:
    fd = log.fileno()
    os.rename(log.path, log.path + ".1")
    log.reopen()
    assert log.fileno() == fd
    assert os.fstat(fd).st_ino == os.stat(log.path).st_ino
    assert not os.get_inheritable(fd)


def test_captured_descriptors_follow(log: LogFile) -> None:
    fd = os.open(os.devnull, os.O_WRONLY)
    try:
        log.capture(fd)
        os.rename(log.path, log.path + ".1")
        log.write(b"one\n")
        os.write(fd, b"two\n")
        assert Path(log.path).read_text() == "one\ntwo\n"
        assert os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_a_line_that_comes_after_the_end_is_written_all_the_same(log: LogFile) -> None:
    log.write(b"one\n")
    log.close()
    log.close()
    log.write(b"late\n")
    log.reopen()
    assert Path(log.path).read_text() == "one\nlate\n"
    assert log.fileno() == -1


def test_a_relative_path_stays_where_it_was(tmp_path: Path) -> None:
    run(
        """
        log = LogFile("app.log")
        os.chdir("/")
        os.unlink(log.path)
        log.write(b"one\\n")
        """,
        cwd=tmp_path,
    )
    assert (tmp_path / "app.log").read_text() == "one\n"


@pytest.mark.root
@pytest.mark.fault(138)
def test_after_the_privileges_are_dropped_the_file_can_be_opened_anew(shared: Path) -> None:
    run(
        """
        log = LogFile(sys.argv[1], owner=65534)
        log.write(b"root\\n")
        log.give_to(65534, 65534)
        become_nobody()
        log.write(b"nobody\\n")
        log.reopen()
        log.write(b"reopened\\n")
        os.rename(log.path, log.path + ".1")
        log.write(b"rotated\\n")
        """,
        shared / "logs" / "app.log",
    )
    first, second = shared / "logs" / "app.log.1", shared / "logs" / "app.log"
    assert first.read_text() == "root\nnobody\nreopened\n"
    assert second.read_text() == "rotated\n"
    assert (first.stat().st_uid, second.stat().st_uid) == (NOBODY, NOBODY)
    # and the next start, as root again, finds the file of its own user there
    again = LogFile(str(second), owner=NOBODY)
    again.close()


@pytest.mark.root
def test_a_device_is_not_given_away() -> None:
    before = os.stat("/dev/null").st_uid
    log = LogFile("/dev/null")
    log.give_to(NOBODY, NOBODY)
    log.close()
    assert os.stat("/dev/null").st_uid == before
