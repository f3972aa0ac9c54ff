"""What a process inherits, and what it makes of it."""

from __future__ import annotations

import resource
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.process.actors import Actor

REPORT = """
import os, sys
from ginkgo.process.hygiene import prepare
found = prepare()
"""


def masks(pid: int) -> dict[str, int]:
    """The signal masks of a process: SigBlk, SigIgn, ..."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        line[:6]: int(line.split()[1], 16)
        for line in lines
        if line.startswith(("SigBlk", "SigIgn", "SigCgt"))
    }


def in_mask(mask: int, number: int) -> bool:
    return bool(mask >> (number - 1) & 1)


@pytest.mark.fault(24)
@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "12", "02", "012"])
def test_closed_standard_descriptors_lead_nowhere_and_no_socket_gets_them(
    closed: str, tmp_path: Path, act: Callable[..., Actor]
) -> None:
    report = tmp_path / "report"
    actor = act(
        REPORT
        + textwrap.dedent("""
        import socket
        server = socket.socket()
        print("to stdout", flush=True)
        print("to stderr", file=sys.stderr, flush=True)
        assert sys.stdin is not None
        with open(sys.argv[1], "w") as file:
            print(found.closed, file=file)
            for number in range(3):
                print(os.readlink(f"/proc/self/fd/{number}"), file=file)
            print(server.fileno() > 2, file=file)
            print(*(os.get_inheritable(number) for number in range(3)), file=file)
        """),
        args=[str(report)],
        prefix=["sh", "-c", 'exec "$@" ' + " ".join(f"{fd}>&-" for fd in closed), "sh"],
    )
    assert actor.ends() == 0
    found, *links, apart, inheritable = report.read_text().splitlines()
    assert found == str(tuple(int(fd) for fd in closed))
    for number, link in enumerate(links):
        assert (link == "/dev/null") == (str(number) in closed)
    assert apart == "True"
    assert inheritable == "True True True"


@pytest.mark.fault(25)
def test_blocked_and_ignored_signals_are_as_usual_again(act: Callable[..., Actor]) -> None:
    numbers = [signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGINT, signal.SIGUSR1]

    def spoil() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    actor = act(
        "import signal" + REPORT + "say(*sorted(map(int, found.ignored)))\n"
        "say(signal.SIGTERM in found.blocked)\ninput()",
        preexec_fn=spoil,
    )
    assert actor.says() == " ".join(str(int(number)) for number in sorted(numbers))
    assert actor.says() == "True"
    found = masks(actor.pid)
    assert found["SigBlk"] == 0
    for number in numbers:
        assert not in_mask(found["SigIgn"], number)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python's own
        assert in_mask(found["SigIgn"], number)
    actor.process.send_signal(signal.SIGTERM)
    assert actor.ends() == -signal.SIGTERM


@pytest.mark.fault(25)
def test_a_child_can_be_waited_for_where_sigchld_was_ignored(act: Callable[..., Actor]) -> None:
    actor = act(
        REPORT + "import subprocess; say(subprocess.run(['sh', '-c', 'exit 3']).returncode)",
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )
    assert actor.says() == "3"


def test_a_signal_that_waited_behind_the_mask_arrives(act: Callable[..., Actor]) -> None:
    actor = act(
        "input()" + REPORT + "say('never')",
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]),
    )
    actor.process.send_signal(signal.SIGTERM)
    actor.tell()
    assert actor.ends() == -signal.SIGTERM


def test_handlers_of_our_own_stay(act: Callable[..., Actor]) -> None:
    actor = act(
        "import signal; signal.signal(signal.SIGUSR1, lambda *_: say('heard'))"
        + REPORT
        + "os.kill(os.getpid(), signal.SIGUSR1)"
    )
    assert actor.says() == "heard"


@pytest.mark.fault(25)
def test_a_working_directory_that_was_deleted_is_left(
    tmp_path: Path, act: Callable[..., Actor]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    actor = act("input()" + REPORT + "say(found.cwd, found.cwd_lost, os.getcwd())", cwd=gone)
    gone.rmdir()
    actor.tell()
    assert actor.says() == "/ True /"


def test_a_working_directory_that_is_there_stays(tmp_path: Path, act: Callable[..., Actor]) -> None:
    actor = act(REPORT + "say(found.cwd, found.cwd_lost)", cwd=tmp_path)
    assert actor.says() == f"{tmp_path} False"


@pytest.mark.fault(25)
@pytest.mark.fault("O17")
def test_the_limit_of_descriptors_neither_costs_time_nor_changes(
    act: Callable[..., Actor],
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def raise_limit() -> None:
        most = int(Path("/proc/sys/fs/nr_open").read_text())
        for limit in (most, hard):  # more than `hard` takes root with CAP_SYS_RESOURCE
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
                break
            except (OSError, ValueError):
                continue

    actor = act(
        "import resource, time\nbefore = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "began = time.perf_counter()" + REPORT + "say(time.perf_counter() - began)\n"
        "say(before[0] >= int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE) == before)",
        args=[str(hard)],
        preexec_fn=raise_limit,
    )
    assert float(actor.says()) < 5  # a loop over a thousand million descriptors takes minutes
    assert actor.says() == "True True"


@pytest.mark.fault(26)
@pytest.mark.root
def test_it_works_as_the_first_process_of_a_container(act: Callable[..., Actor]) -> None:
    actor = act(
        "import os" + REPORT + "say(os.getpid(), found.closed, found.cwd_lost)",
        prefix=["unshare", "--pid", "--fork", "--mount-proc"],
    )
    assert actor.says() == "1 () False"


@pytest.mark.fault(25)
def test_unicode_is_written_in_any_locale(act: Callable[..., Actor]) -> None:
    actor = act(REPORT + "say('\N{GREEK SMALL LETTER ALPHA}')", env={"LC_ALL": "C", "LANG": "C"})
    assert actor.says() == "\N{GREEK SMALL LETTER ALPHA}"
