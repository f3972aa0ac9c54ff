from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest
from tests.logs.scripts import run

from ginkgo.core.errors import CannotCreate, GinkgoError, PermissionDenied
from ginkgo.logs.files import LogFile
from ginkgo.logs.opening import open_log_file

NOBODY = 65534


def opened(path: Path, owners: set[int] | None = None) -> os.stat_result:
    fd = open_log_file(str(path), owners or {os.geteuid()})
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def refused(path: Path, kind: type[GinkgoError] = PermissionDenied) -> str:
    with pytest.raises(kind) as caught:
        opened(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return str(caught.value)


def test_a_new_log_is_ours_and_not_everybodys(shared: Path) -> None:
    before = os.umask(0)
    try:
        status = opened(shared / "app.log")
    finally:
        os.umask(before)
    assert stat.S_IMODE(status.st_mode) == 0o640


def test_it_is_appended_to_and_neither_inherited_nor_non_blocking(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("old\n")
    fd = open_log_file(str(tmp_path / "app.log"), {os.geteuid()})
    try:
        os.write(fd, b"new\n")
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        assert flags & os.O_APPEND
        assert not flags & os.O_NONBLOCK
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
    assert (tmp_path / "app.log").read_text() == "old\nnew\n"


@pytest.mark.fault(135)
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_a_planted_symbolic_link_is_refused(shared: Path, there: bool) -> None:
    canary = shared / "canary"
    if there:
        canary.write_text("sing")
    (shared / "app.log").symlink_to(canary)
    assert "symbolic link" in refused(shared / "app.log")
    assert canary.exists() == there
    assert not there or canary.read_text() == "sing"


@pytest.mark.fault(135)
def test_a_planted_hard_link_is_refused(shared: Path) -> None:
    (shared / "canary").write_text("sing")
    os.link(shared / "canary", shared / "app.log")
    assert "hard link" in refused(shared / "app.log")
    assert (shared / "canary").read_text() == "sing"


@pytest.mark.root
@pytest.mark.fault(135)
def test_somebody_elses_file_is_refused_in_a_shared_folder(shared: Path) -> None:
    (shared / "app.log").touch(0o666)
    os.chown(shared / "app.log", NOBODY, NOBODY)
    assert "belongs to" in refused(shared / "app.log")


@pytest.mark.root
def test_the_file_of_the_user_that_one_is_about_to_become_is_taken(shared: Path) -> None:
    (shared / "app.log").touch()
    os.chown(shared / "app.log", NOBODY, NOBODY)
    assert opened(shared / "app.log", {0, NOBODY}).st_uid == NOBODY


@pytest.mark.root
def test_a_folder_of_another_user_is_shared_with_that_user(shared: Path) -> None:
    shared.chmod(0o755)
    os.chown(shared, NOBODY, NOBODY)
    (shared / "canary").touch()
    os.link(shared / "canary", shared / "app.log")
    refused(shared / "app.log")


@pytest.mark.root
def test_in_a_folder_of_ones_own_whatever_was_put_there_is_right(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "app.log").touch()
    os.chown(tmp_path / "app.log", NOBODY, NOBODY)
    os.link(tmp_path / "app.log", tmp_path / "backup")
    assert opened(tmp_path / "app.log").st_uid == NOBODY


@pytest.mark.fault(47)
def test_a_fifo_is_refused_and_not_waited_for(shared: Path) -> None:
    os.mkfifo(shared / "app.log")
    assert "not a regular file" in refused(shared / "app.log")
    reader = os.open(shared / "app.log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert "not a regular file" in refused(shared / "app.log")
    finally:
        os.close(reader)


def test_a_socket_and_a_folder_are_refused(shared: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(shared / "app.log"))
        assert "not a regular file" in refused(shared / "app.log")
    assert "directory" in refused(shared, CannotCreate)


@pytest.mark.fault(18)
def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    assert f"no folder {tmp_path / 'a' / 'b'}" in refused(
        tmp_path / "a" / "b" / "x.log", CannotCreate
    )


@pytest.mark.fault(18)
def test_one_missing_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    LogFile(str(tmp_path / "logs" / "app.log")).close()
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    with pytest.raises(CannotCreate, match="no folder"):
        LogFile(str(tmp_path / "a" / "b" / "app.log"))


@pytest.mark.root
@pytest.mark.fault(18)
def test_a_folder_that_may_not_be_written_says_who_may_not(shared: Path) -> None:
    shared.chmod(0o755)
    told = run(
        """
        become_nobody()
        for path in sys.argv[1:]:
            try:
                LogFile(path)
            except GinkgoError as error:
                print(error.status, error)
        """,
        shared / "app.log",
        shared / "logs" / "app.log",
    ).stdout.splitlines()
    assert len(told) == 2
    assert all(line.startswith("77 logfile /") for line in told)
    assert all(line.endswith(f"nobody may not make a file in {shared}") for line in told)


@pytest.mark.root
@pytest.mark.fault(135)
def test_an_ordinary_user_is_not_led_astray_either(shared: Path) -> None:
    canary = shared / "canary"
    canary.write_text("sing")
    canary.chmod(0o666)
    os.link(canary, shared / "hard.log")
    (shared / "soft.log").symlink_to(canary)
    (shared / "theirs.log").touch()
    (shared / "theirs.log").chmod(0o666)
    told = run(
        """
        become_nobody()
        for path in sys.argv[1:]:
            try:
                LogFile(path)
            except GinkgoError as error:
                print(error.status)
        """,
        *(shared / name for name in ("hard.log", "soft.log", "theirs.log")),
    ).stdout
    assert told.split() == ["77", "77", "77"]
    assert canary.read_text() == "sing"


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_may_be_a_log(device: str) -> None:
    opened(Path(device))


@pytest.mark.fault(24)
def test_the_log_never_takes_the_place_of_a_standard_stream(tmp_path: Path) -> None:
    done = run(
        """
        os.close(0), os.close(1)
        fd = LogFile(sys.argv[1]).fileno()
        os.write(2, str(fd).encode())
        """,
        tmp_path / "app.log",
    )
    assert int(done.stderr) > 2


@pytest.mark.fault(43)
def test_a_process_without_descriptors_keeps_its_log(tmp_path: Path) -> None:
    run(
        """
        import resource
        log = LogFile(sys.argv[1])
        log.write(b"one\\n")
        os.rename(log.path, log.path + ".1")
        taken = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        try:
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        log.write(b"two\\n")
        assert "Too many open files" in log.problem, log.problem
        for fd in taken:
            os.close(fd)
        log.write(b"three\\n")
        assert log.problem is None
        assert log.dropped == 0
        """,
        tmp_path / "app.log",
    )
    assert (tmp_path / "app.log.1").read_text() == "one\ntwo\n"
    assert (tmp_path / "app.log").read_text() == "three\n"
