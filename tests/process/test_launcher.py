"""Starting a daemon: the launcher knows how it went, and the daemon does not need it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.process.actors import Actor, clean_environment, is_alive

from ginkgo.core.errors import (
    ApplicationFailed,
    ConfigError,
    SystemFailure,
    TemporaryFailure,
    Unavailable,
    UsageError,
)
from ginkgo.process.launcher import READY_FD, Outcome, ReadyPipe, error_of, launch
from ginkgo.process.pids import hold

HEAD = """
import os, sys, time, signal
from ginkgo.core.errors import *
from ginkgo.process.launcher import ReadyPipe
ready = ReadyPipe.inherited()
"""


class Daemons:
    """Launches daemons, and sees to it that none outlives the test."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env
        self.pids: list[int] = []

    def launch(
        self, lines: str, timeout: float | None = 20.0, *args: str, **more: object
    ) -> Outcome:
        code = HEAD + textwrap.dedent(lines)
        outcome = launch([sys.executable, "-c", code, *args], self.env, timeout, **more)  # type: ignore[arg-type]
        if outcome.pid is not None:
            self.pids.append(outcome.pid)
        return outcome

    def close(self) -> None:
        for pid in self.pids:
            process = hold(pid)
            if process is not None:
                with process:
                    process.send(signal.SIGKILL)
                    assert process.wait_gone(20)
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass  # the launcher has collected it, or the test has


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    found = Daemons(clean_environment(str(tmp_path)))
    yield found
    found.close()


class Clock:
    """The launcher's clock; the test lets time pass."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.passed

    def jump(self, *_: object) -> None:
        self.passed += 3600.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("ginkgo.process.launcher.time", found)
    return found


def message(outcome: Outcome) -> str:
    assert outcome.error is not None
    return str(outcome.error)


@pytest.mark.fault("O1")
def test_the_launcher_returns_when_the_daemon_is_ready(daemons: Daemons) -> None:
    outcome = daemons.launch("ready.progress('app/db'); ready.ready(); signal.pause()")
    assert outcome.ready
    assert outcome.status == 0
    assert outcome.pid is not None
    assert is_alive(outcome.pid)
    assert os.getsid(outcome.pid) == outcome.pid != os.getsid(0)


@pytest.mark.fault("O1")
def test_the_launcher_waits_for_as_long_as_it_takes(daemons: Daemons, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    progress: list[str] = []

    def open_gate(text: str) -> None:
        progress.append(text)
        gate.write_text("go\n")  # only now the daemon goes on

    outcome = daemons.launch(
        "ready.progress('app/db'); open(sys.argv[1]).read(); ready.ready(); signal.pause()",
        None,
        str(gate),
        on_progress=open_gate,
    )
    assert outcome.ready
    assert progress == ["app/db"]


@pytest.mark.fault("O1")
def test_an_error_arrives_with_its_status_hint_and_traceback(daemons: Daemons) -> None:
    outcome = daemons.launch(
        """
        print("a last word")
        ready.fail(Unavailable("app/http: port 80 is taken", hint="stop nginx"), "Traceback: ü\\n")
        """
    )
    assert isinstance(outcome.error, Unavailable)
    assert outcome.status == 69
    assert message(outcome) == "app/http: port 80 is taken"
    assert outcome.error.hint == "stop nginx"
    assert outcome.traceback == "Traceback: ü\n"
    assert outcome.output == ()


def test_a_daemon_that_has_told_its_error_is_gone_when_the_launcher_returns(
    daemons: Daemons,
) -> None:
    outcome = daemons.launch("ready.fail(ConfigError('bad'))")
    assert outcome.pid is not None
    assert not is_alive(outcome.pid)


def test_an_exception_of_the_application_is_status_70(daemons: Daemons) -> None:
    outcome = daemons.launch("ready.fail(ValueError('no good'))")
    assert isinstance(outcome.error, ApplicationFailed)
    assert message(outcome) == "ValueError: no good"


@pytest.mark.fault(32)
def test_an_error_that_cannot_be_told_is_an_error_all_the_same(daemons: Daemons) -> None:
    outcome = daemons.launch(
        """
        class Evil(Exception):
            def __str__(self): raise RuntimeError
        ready.fail(Evil(), "x" * 10_000_000)
        """
    )
    assert message(outcome) == "Evil: (its message cannot be told: RuntimeError)"
    assert 0 < len(outcome.traceback) < 65536


@pytest.mark.fault(32)
def test_a_huge_message_arrives_cut(daemons: Daemons) -> None:
    outcome = daemons.launch("ready.fail(ConfigError('\\ud800x\\n' * 10_000_000))")
    assert isinstance(outcome.error, ConfigError)
    assert 1000 < len(message(outcome)) < 65536


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("death", "said"),
    [
        ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("os.abort()", "was killed by SIGABRT"),
        ("os.kill(os.getpid(), 9)", r"was killed by SIGKILL \(out of memory\?\)"),
        ("os.kill(os.getpid(), 40)", "was killed by signal 40"),
        ("os._exit(5)", "ended with status 5"),
        ("os._exit(0)", "ended with status 0"),
        ("raise ValueError", "ended with status 1"),
    ],
)
def test_a_death_before_ready_is_told_with_its_cause_and_the_last_lines(
    death: str, said: str, daemons: Daemons
) -> None:
    outcome = daemons.launch(
        f"""
        for number in range(100):
            print("line", number, flush=True)
        ready.progress("app/db")
        {death}
        """
    )
    assert isinstance(outcome.error, ApplicationFailed)
    assert re.fullmatch(
        f"the daemon {said} before it was ready, while starting app/db", message(outcome)
    )
    assert outcome.status == 70
    lines = [line for line in outcome.output if line.startswith("line")]
    assert len(outcome.output) == 20
    assert lines[-1] == "line 99"


@pytest.mark.fault(22)
@pytest.mark.parametrize(("status", "kind"), [(78, ConfigError), (2, UsageError)])
def test_the_status_of_a_daemon_that_says_nothing_is_kept(
    status: int, kind: type[Exception], daemons: Daemons
) -> None:
    outcome = daemons.launch(f"sys.exit({status})")
    assert isinstance(outcome.error, kind)
    assert outcome.status == status


@pytest.mark.fault(22)
def test_a_death_is_noticed_although_a_child_keeps_the_pipe_open(daemons: Daemons) -> None:
    outcome = daemons.launch(
        """
        import subprocess
        os.set_inheritable(ready._fd, True)
        child = subprocess.Popen(["sleep", "1000"], close_fds=False, stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
        os._exit(3)
        """,
        None,
    )
    os.kill(int(outcome.output[-1]), signal.SIGKILL)
    assert "ended with status 3" in message(outcome)


def test_a_program_that_the_daemon_starts_does_not_get_the_pipe(daemons: Daemons) -> None:
    outcome = daemons.launch(
        """
        import subprocess
        code = "import os; print(os.environ.get('GINKGO_READY_FD'))"
        code += "; print([n for n in os.listdir('/proc/self/fd') if 'pipe' in os.path.realpath("
        code += "'/proc/self/fd/' + n)])"
        subprocess.run([sys.executable, "-c", code], close_fds=False)
        os._exit(1)
        """
    )
    assert outcome.output == ("None", "[]")


def test_a_death_right_after_ready_is_no_success(daemons: Daemons) -> None:
    def wait_for_its_end(pid: str) -> None:
        with contextlib.suppress(ChildProcessError):  # the launcher has collected it already
            os.waitid(os.P_PID, int(pid), os.WEXITED | os.WNOWAIT)

    outcome = daemons.launch(
        "ready.progress(str(os.getpid())); ready.ready(); os._exit(3)",
        on_progress=wait_for_its_end,
    )
    assert not outcome.ready
    assert message(outcome) == "the daemon ended with status 3 right after it was ready"


def test_the_end_of_the_log_explains_a_death(daemons: Daemons, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("of an earlier run\n")
    outcome = daemons.launch(
        """
        ready.logfile(sys.argv[1])
        with open(sys.argv[1], "a") as file:
            file.write("no database\\x1b]52;\\n")
        os._exit(1)
        """,
        20.0,
        str(log),
    )
    assert outcome.output == ("no database\\x1b]52;",)


@pytest.mark.parametrize("kind", ["fifo", "missing"])
def test_a_log_that_is_no_file_holds_nobody_up(kind: str, daemons: Daemons, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    if kind == "fifo":
        os.mkfifo(log)
    outcome = daemons.launch("ready.logfile(sys.argv[1]); os._exit(1)", 20.0, str(log))
    assert outcome.output == ()


@pytest.mark.fault(23)
def test_a_late_daemon_is_left_alone_and_what_it_does_is_named(
    daemons: Daemons, clock: Clock
) -> None:
    outcome = daemons.launch(
        "ready.progress('app/db'); signal.pause()", 30.0, on_progress=clock.jump
    )
    assert isinstance(outcome.error, TemporaryFailure)
    assert outcome.status == 75
    assert outcome.pid is not None
    assert message(outcome) == (
        f"the daemon (pid {outcome.pid}) is not ready after 30 s: still starting app/db"
    )
    assert is_alive(outcome.pid)
    assert "it goes on" in str(outcome.error.hint)


@pytest.mark.fault(23)
def test_a_late_daemon_that_is_stopped_by_a_signal_is_told_so(
    daemons: Daemons, clock: Clock
) -> None:
    def stop(pid: str) -> None:
        os.kill(int(pid), signal.SIGSTOP)
        os.waitid(os.P_PID, int(pid), os.WSTOPPED | os.WNOWAIT)
        clock.jump()

    outcome = daemons.launch(
        "ready.progress(str(os.getpid())); signal.pause()", 30.0, on_progress=stop
    )
    assert message(outcome).endswith("(it is stopped by a signal: state T)")


@pytest.mark.fault(23)
@pytest.mark.parametrize("stubborn", ["", "signal.signal(15, signal.SIG_IGN)", "stop = 19"])
def test_a_late_daemon_is_ended_where_that_is_asked_for(
    stubborn: str, daemons: Daemons, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ginkgo.process.launcher._FAREWELL", 0.1)
    outcome = daemons.launch(
        f"""
        stop = 0
        {stubborn}
        ready.progress("app")
        os.kill(os.getpid(), stop)
        signal.pause()
        """,
        30.0,
        on_progress=clock.jump,
        kill_on_timeout=True,
    )
    assert isinstance(outcome.error, TemporaryFailure)
    assert message(outcome).endswith("it was ended")
    assert outcome.pid is not None
    assert not is_alive(outcome.pid)


def test_a_daemon_that_closes_the_pipe_is_waited_for(daemons: Daemons) -> None:
    outcome = daemons.launch("ready.close(); os._exit(4)")
    assert "ended with status 4" in message(outcome)


@pytest.mark.fault(21)
def test_a_daemon_goes_on_when_its_launcher_is_killed(
    tmp_path: Path, act: Callable[..., Actor]
) -> None:
    gate, report = tmp_path / "gate", tmp_path / "report"
    os.mkfifo(gate)
    os.mkfifo(report)
    daemon = HEAD + (
        "ready.progress(str(os.getpid())); open(sys.argv[1]).read()\n"
        "print('nobody reads this', flush=True)\n"
        "ready.progress('x'); ready.ready()\n"
        "open(sys.argv[2], 'w').write('still there'); signal.pause()"
    )
    launcher = act(
        """
        import sys
        from ginkgo.process.launcher import launch
        launch([sys.executable, "-c", *sys.argv[1:]], on_progress=say)
        """,
        args=[daemon, str(gate), str(report)],
    )
    pid = int(launcher.says())
    process = hold(pid)
    assert process is not None
    with process:
        launcher.kill()
        gate.write_text("go\n")
        assert report.read_text() == "still there"
        assert not process.gone()
        process.send(signal.SIGKILL)
        assert process.wait_gone(20)


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    outcome = launch([str(tmp_path / "missing")], {}, 1.0)
    assert outcome.pid is None
    assert isinstance(outcome.error, SystemFailure)
    assert "missing: No such file or directory" in message(outcome)


def test_the_launcher_leaves_no_descriptor_open(daemons: Daemons) -> None:
    before = os.listdir("/proc/self/fd")
    daemons.launch("ready.ready()")
    daemons.launch("os._exit(1)")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_the_daemon_prints_without_end_blocks_nobody(daemons: Daemons) -> None:
    outcome = daemons.launch("print('x' * 10_000_000, flush=True); ready.ready(); signal.pause()")
    assert outcome.ready


def test_lines_from_a_daemon_out_of_its_mind_are_ignored(daemons: Daemons) -> None:
    outcome = daemons.launch(
        """
        for text in (b"\\xff\\xfe\\n", b"\\n", b"LOG x\\n", b"READYX\\n", b"x" * 3_000_000, b"\\n"):
            os.set_blocking(ready._fd, True)
            os.write(ready._fd, text)
        os.write(ready._fd, b"ERROR {broken\\n")
        """
    )
    assert isinstance(outcome.error, ApplicationFailed)
    assert message(outcome) == "the daemon failed, and said: {broken"


# The daemon's side, on its own


def test_without_a_launcher_there_is_no_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(READY_FD, raising=False)
    assert ReadyPipe.inherited() is None


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "1", "2", "9999999", "9" * 99, "\u0663"])
def test_a_variable_that_leads_to_no_pipe_is_ignored(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(READY_FD, text)
    assert ReadyPipe.inherited() is None
    assert READY_FD not in os.environ


def test_a_variable_that_leads_to_a_file_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(tmp_path / "file", "w") as file:
        monkeypatch.setenv(READY_FD, str(file.fileno()))
        assert ReadyPipe.inherited() is None


@pytest.fixture
def pipe() -> Iterator[tuple[ReadyPipe, int]]:
    reader, writer = os.pipe()
    ready = ReadyPipe(writer)
    yield ready, reader
    ready.close()
    try:
        os.close(reader)
    except OSError:
        pass  # the test has closed it


@pytest.mark.fault(21)
def test_nobody_reads_and_nothing_is_raised(pipe: tuple[ReadyPipe, int]) -> None:
    ready, reader = pipe
    os.close(reader)
    ready.progress("x")
    ready.logfile("x")
    ready.ready()
    ready.fail(ValueError("too late"))
    ready.close()


def test_a_launcher_that_is_stopped_does_not_stop_the_daemon(pipe: tuple[ReadyPipe, int]) -> None:
    ready, reader = pipe
    began = time.monotonic()
    for _ in range(10_000):
        ready.progress("x" * 100)
    assert time.monotonic() - began < 10
    assert select.select([reader], [], [], 0)[0]
    received = os.read(reader, 10_000_000)
    assert received.endswith(b"\n")
    assert set(received.splitlines()) == {b"PROGRESS " + b"x" * 100}


def test_progress_is_one_line_whatever_its_text(pipe: tuple[ReadyPipe, int]) -> None:
    ready, reader = pipe
    ready.progress("a\nREADY 1\r\n" + "x" * 100_000)
    received = os.read(reader, 1_000_000)
    assert received.count(b"\n") == 1
    assert received.startswith(b"PROGRESS a READY 1")


def test_no_error_means_success() -> None:
    for status in (0, 1, 3, 255, -9):
        assert error_of(status, "x").status == 70
    assert error_of(77, "x", "y").hint == "y"
