"""Processes, held by more than their number."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.process.actors import Actor

from ginkgo.process.pids import (
    has_open,
    hold,
    name_of,
    parse_pid,
    start_ticks,
    state_letter,
    user_of,
    wait_gone,
)


@pytest.fixture(params=["pidfd", "no pidfd"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With pidfds, and on a kernel that has none."""
    if request.param == "no pidfd":

        def missing(pid: int) -> int:
            raise OSError(38, os.strerror(38))

        monkeypatch.setattr(os, "pidfd_open", missing)
    return str(request.param)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("text", "pid"),
    [
        (b"4711", 4711),
        (b" 4711\n", 4711),
        (b"1", 1),
        (b"0", None),
        (b"-1", None),
        (b"+1", None),
        (b"1 2", None),
        (b"0x10", None),
        (b"1_000", None),
        ("\u0664".encode(), None),
        (b"", None),
        (b"2147483647", 2147483647),
        (b"2147483648", None),
        (b"9" * 5000, None),
    ],
)
@pytest.mark.fault(16)
def test_a_pid_is_plain_digits_above_nothing(text: bytes, pid: int | None) -> None:
    assert parse_pid(text) == pid


def test_a_process_is_signalled_and_waited_for(
    kernel: str, sleeper: subprocess.Popen[bytes]
) -> None:
    process = hold(sleeper.pid, start_ticks(sleeper.pid))
    assert process is not None
    with process:
        assert (process.fd is None) == (kernel == "no pidfd")
        assert not process.wait_gone(0.01)
        assert process.send(signal.SIGTERM)
        assert process.wait_gone(20)
        assert sleeper.wait() == -signal.SIGTERM
        assert not process.send(signal.SIGTERM)
        assert process.gone()


def test_a_zombie_counts_as_gone(kernel: str, sleeper: subprocess.Popen[bytes]) -> None:
    process = hold(sleeper.pid)
    assert process is not None
    with process:
        sleeper.kill()
        assert process.wait_gone(20)
        assert state_letter(sleeper.pid) == "Z"
        assert hold(sleeper.pid) is None


@pytest.mark.fault(84)
def test_a_process_that_is_not_our_child_is_waited_for(
    kernel: str, act: Callable[..., Actor]
) -> None:
    actor = act(
        """
        import subprocess
        child = subprocess.Popen(["sleep", "1000"])
        say(child.pid)
        child.wait()
        """
    )
    process = hold(int(actor.says()))
    assert process is not None
    with process:
        process.send(signal.SIGKILL)
        assert process.wait_gone(20)


@pytest.mark.fault(15)
def test_a_process_that_started_at_another_time_is_another_one(
    kernel: str, sleeper: subprocess.Popen[bytes]
) -> None:
    ticks = start_ticks(sleeper.pid)
    assert ticks is not None
    assert hold(sleeper.pid, ticks - 1) is None
    assert hold(sleeper.pid, ticks + 1) is None
    assert sleeper.poll() is None


@pytest.mark.fault(16)
@pytest.mark.parametrize("pid", [0, -1, -4711])
def test_a_group_of_processes_cannot_be_held(kernel: str, pid: int) -> None:
    with pytest.raises(ValueError, match="not the number of a process"):
        hold(pid)


def test_a_number_without_a_process_cannot_be_held(kernel: str) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert hold(process.pid) is None
    assert start_ticks(process.pid) is None
    assert state_letter(process.pid) is None
    assert name_of(process.pid) is None
    assert user_of(process.pid) is None


def test_a_stopped_process_is_seen_to_be_stopped(sleeper: subprocess.Popen[bytes]) -> None:
    sleeper.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    assert state_letter(sleeper.pid) == "T"


def test_a_name_with_brackets_and_spaces_hides_nothing(act: Callable[..., Actor]) -> None:
    actor = act(
        """
        open("/proc/self/comm", "w").write(") T 1 2 (\\n")
        say(open("/proc/self/stat").read().rpartition(")")[2].split()[19])
        input()
        """
    )
    assert start_ticks(actor.pid) == int(actor.says())
    assert name_of(actor.pid) == ") T 1 2 ("
    assert state_letter(actor.pid) in ("S", "R")


def test_what_a_process_has_open_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open(path, "w") as file:
        found = os.stat(path)
        assert has_open(os.getpid(), found, "lock")
        file.flush()
    assert has_open(os.getpid(), found, "lock") is False
    other = tmp_path / "other" / "lock"
    other.parent.mkdir()
    with open(other, "w"):
        assert has_open(os.getpid(), found, "lock") is False


def test_a_pidfd_alone_can_be_waited_for(sleeper: subprocess.Popen[bytes]) -> None:
    fd = os.pidfd_open(sleeper.pid)
    try:
        assert not wait_gone(fd, 0)
        sleeper.kill()
        assert wait_gone(fd, None)
    finally:
        os.close(fd)
