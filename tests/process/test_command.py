"""A command from its start to its end, on every backend."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
from pathlib import Path

import pytest
from tests.dialects import World, done
from tests.process.commands import (
    OF_THE_C_LIBRARY,
    SLEEP,
    alive,
    logged,
    python,
    sh,
    told,
)
from tests.workshop import eventually, free_port

import ginkgo
from ginkgo import Service
from ginkgo.async_.bridge import bridge
from ginkgo.core.failure import Abandoned, StartTimeout
from ginkgo.process.command import Command, CommandFailed
from ginkgo.process.command_guardian import guardian
from ginkgo.process.pids import state_letter

pytestmark = pytest.mark.usefixtures("_nothing_of_commands_left")


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ginkgo.command")


def test_it_is_one_of_ginkgos_names():
    assert ginkgo.Command is Command


async def test_a_command_runs_while_its_service_does(world: World):
    command = sh(SLEEP)
    await done(command.start())
    pid = command.pid
    assert command.ready
    assert alive(pid)
    await done(command.stop())
    assert command.state == "stopped"
    assert command.pid is None
    assert command.returncode == -signal.SIGTERM
    assert not alive(pid)


async def test_it_starts_again_after_a_stop(world: World):
    command = sh("echo up; exec sleep 1000", ready="^up$")
    pids = []
    for _ in range(3):
        await done(command.start())
        pids.append(command.pid)
        await done(command.stop())
    assert len(set(pids)) == 3


async def test_it_leads_a_process_group_and_a_session_of_its_own(world: World):
    command = sh(SLEEP)
    await done(command.start())
    assert os.getpgid(command.pid) == os.getsid(command.pid) == command.pid
    await done(command.stop())


async def test_each_line_is_one_in_the_log(world: World, caplog: pytest.LogCaptureFixture):
    command = sh(
        "echo one; echo two >&2; printf '%s\\r\\n' three; printf four; echo up >&2; sleep 9"
    )
    command.ready_when = "up"
    await done(command.start())
    await done(command.stop())
    levels = {record.getMessage(): record.levelname for record in caplog.records}
    assert levels["sh: one"] == levels["sh: three"] == "INFO"
    assert levels["sh: two"] == "WARNING"
    assert levels["sh: four"] == "INFO"  # it had no end
    assert command.last_lines[-1] in ("four", "up")


async def test_a_level_can_be_chosen_and_output_be_thrown_away(
    world: World, caplog: pytest.LogCaptureFixture
):
    command = sh("echo one; echo two >&2; exec sleep 9", stdout_level=None, ready="two")
    command.stderr_level = logging.ERROR
    await done(command.start())
    await done(command.stop())
    assert told(caplog) == ["two"]
    assert next(r for r in caplog.records if "two" in r.getMessage()).levelname == "ERROR"


# -- readiness -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", ["r.ady", re.compile("^ready$")])
async def test_it_is_ready_when_it_has_said_so(world: World, ready: object):
    command = python("sys.stdin.read()\nsay('not yet')\nsay('ready')\ntime.sleep(99)", ready=ready)
    await done(command.start())
    assert command.last_lines == ("not yet", "ready")
    await done(command.stop())


LISTEN = """
import _socket
listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
time.sleep(0.1)
listener.bind(("127.0.0.1", int(sys.argv[1]))); listener.listen(9)
time.sleep(99)
"""


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "{}"])
async def test_it_is_ready_when_its_port_accepts(world: World, form: str):
    port = free_port()
    command = python(LISTEN, ready=form.format(port))
    command.argv = [*command.argv, str(port)]
    await done(command.start())
    socket.create_connection(("127.0.0.1", port)).close()
    await done(command.stop())


async def test_a_port_that_somebody_else_has_fails_the_start(world: World):
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = sh(SLEEP, ready=other.getsockname()[1])
        with pytest.raises(ginkgo.GinkgoError, match="somebody does already") as raised:
            await done(command.start())
    assert raised.value.status == 69
    assert command.state == "failed"


async def test_it_is_ready_when_a_function_says_so(world: World, tmp_path: Path):
    file = tmp_path / "there"
    asked = []

    def there() -> bool:
        asked.append(1)
        return file.exists()

    command = sh(f"sleep 0.1; touch {file}; exec sleep 99", ready=there)
    await done(command.start())
    assert len(asked) > 1
    await done(command.stop())


async def test_the_function_may_be_a_coroutine_function(world: World, tmp_path: Path):
    file = tmp_path / "there"

    class Waits(Command):
        argv = ["sh", "-c", f"sleep 0.05; touch {file}; exec sleep 99"]

        async def ready_when(self) -> bool:
            await asyncio.sleep(0)
            return file.exists()

    command = Waits()
    assert command.name == "Waits"
    await done(command.start())
    assert file.exists()
    await done(command.stop())
    bridge.close()  # where it was used


async def test_a_function_that_raises_fails_the_start(world: World):
    def wrong() -> bool:
        raise ValueError("wrong")

    command = sh(SLEEP, ready=wrong)
    with pytest.raises(ValueError, match="wrong"):
        await done(command.start())
    assert command.state == "failed"


@pytest.mark.parametrize("status", [0, 3])
async def test_a_program_that_ends_before_it_is_ready_fails_the_start(world: World, status: int):
    command = sh(f"echo no such table >&2; exit {status}", ready="up")
    with pytest.raises(CommandFailed) as raised:
        await done(command.start())
    said = str(raised.value)
    assert f"ended with status {status} before it was ready" in said
    assert said.endswith("its last lines:\n  no such table")
    assert raised.value.returncode == status
    assert raised.value.status == 70
    assert command.state == "failed"


async def test_a_program_that_is_not_ready_in_time_fails_the_start(world: World):
    command = sh("echo loading; exec sleep 99", ready="up")
    command.start_timeout = 0.3
    with pytest.raises(StartTimeout) as raised:
        await done(command.start())
    assert "not ready within 0.3 s: it waits for a line of its output with 'up'" in str(
        raised.value
    )
    assert "loading" in str(raised.value)
    assert command.state == "failed"


async def test_a_stop_ends_a_start_that_waits(world: World):
    command = sh(SLEEP, ready="never")
    starting = world.ask(command.start)
    while command.pid is None:
        await world.sleep(0.01)
    await done(command.stop())
    with pytest.raises(Abandoned):
        await starting.result()
    assert command.state == "stopped"


# -- what is wrong before the start --------------------------------------------------------------


async def test_a_program_that_is_not_there_fails_the_start(world: World):
    command = Command(["no-such-program"], env={"PATH": "/nowhere:/usr/bin"})
    with pytest.raises(ginkgo.GinkgoError) as raised:
        await done(command.start())
    assert str(raised.value) == (
        "no-such-program: there is no program 'no-such-program' in PATH=/nowhere:/usr/bin"
    )
    assert raised.value.status == 66
    assert command.state == "failed"


async def test_a_file_that_is_no_program_fails_the_start(world: World, tmp_path: Path):
    script = tmp_path / "script"
    script.write_text("echo")
    script.chmod(0o755)
    with pytest.raises(ginkgo.GinkgoError, match="Exec format error") as raised:
        await done(Command([script]).start())
    assert raised.value.status == 78
    script.write_text("#!/no/such/interpreter")
    with pytest.raises(ginkgo.GinkgoError, match="cannot start") as raised:
        await done(Command([script]).start())
    assert "interpreter" in str(raised.value.hint)


@pytest.mark.fault(43)
async def test_without_descriptors_the_start_fails_and_another_one_works(world: World):
    import resource

    command = sh(SLEEP)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.dup(0)
    os.close(taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 3, hard))
    try:
        with pytest.raises(ginkgo.GinkgoError) as raised:
            await done(command.start())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Too many open files" in str(raised.value)
    assert command.state == "failed"
    await done(command.start())
    await done(command.stop())


# -- the end -------------------------------------------------------------------------------------


async def test_a_program_that_fails_fails_its_service(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = sh("read line < $GATE; echo disk full; exit 7", env={"GATE": str(gate)})
    await done(command.start())
    gate.write_text("go\n")
    await done(command.wait("failed"))
    error = command.failure.error
    assert isinstance(error, CommandFailed)
    assert "ended with status 7; its last lines:\n  disk full" in str(error)
    assert command.returncode == error.returncode == 7
    assert sum("ended with status 7" in line for line in logged(caplog, logging.ERROR)) == 1


async def test_a_signal_that_ends_it_is_named(world: World):
    command = sh(SLEEP)
    await done(command.start())
    os.kill(command.pid, signal.SIGSEGV)
    await done(command.wait("failed"))
    assert "was ended by SIGSEGV" in str(command.failure.error)
    assert command.returncode == -signal.SIGSEGV


async def test_a_program_that_ends_well_stops_its_service(world: World):
    parent = Service()
    command = parent.add_service(sh("echo done"))
    await done(parent.start())
    await done(command.wait("stopped"))
    assert command.returncode == 0
    assert command.failure is None
    assert parent.ready
    await done(parent.stop())


async def test_one_that_fails_at_once_has_been_started_first(world: World):
    command = sh("exit 3")
    await done(command.start())
    await done(command.wait("failed"))
    assert command.returncode == 3


@pytest.mark.fault(67)
async def test_a_flood_of_ends_loses_no_status(world: World):
    parent = Service()
    commands = [
        parent.add_service(sh(f"kill -STOP $$; exit {n}", restart="temporary"))
        for n in range(1, 31)
    ]
    await done(parent.start())
    while not all(state_letter(command.pid) == "T" for command in commands):
        await world.sleep(0.01)
    for command in commands:
        os.kill(command.pid, signal.SIGCONT)
    for command in commands:
        await done(command.wait("failed"))
    assert [command.returncode for command in commands] == list(range(1, 31))
    await done(parent.stop())


@pytest.mark.fault(67)
async def test_a_status_that_somebody_else_took_is_known_where_the_kernel_tells(world: World):
    command = sh(SLEEP)
    await done(command.start())

    def steal() -> None:  # as libev does for gevent.subprocess: it waits for any child
        pid = command.pid
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[0] == pid

    if world.name == "threading":
        with world.still():
            steal()
    else:
        steal()
    await done(command.wait("failed"))
    known = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)
    assert command.returncode == (-9 if known else None)


async def test_it_is_told_to_reload(world: World):
    lines = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\nsay('up')\n"
    lines += "signal.sigwait([signal.SIGUSR1])\nsay('again')\ntime.sleep(99)"
    command = python(lines, ready="up", reload_signal="USR1")
    await done(command.start())
    await done(command.reload())
    while "again" not in command.last_lines:
        await world.sleep(0.01)
    assert command.ready
    await done(command.stop())


# -- what it inherits ----------------------------------------------------------------------------


@pytest.mark.fault(50)
async def test_no_signal_is_ignored_or_blocked(world: World, caplog: pytest.LogCaptureFixture):
    command = sh("grep -E '^Sig(Blk|Ign)' /proc/self/status; echo up; exec sleep 9", ready="up")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    try:
        await done(command.start())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    await done(command.stop())
    masks = [line.split() for line in told(caplog) if line.startswith("Sig")]
    found = [(name, int(mask, 16) & ~OF_THE_C_LIBRARY) for name, mask in masks]
    assert found == [("SigBlk:", 0), ("SigIgn:", 0)]


@pytest.mark.fault(54)
async def test_it_has_no_descriptor_of_ours(world: World):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        command = sh("echo up; exec sleep 99", ready="up")
        await done(command.start())
        links = {int(fd): os.readlink(f"/proc/{command.pid}/fd/{fd}") for fd in range(3)}
        # It may still be loading `sleep`, and have its libraries open.
        eventually(lambda: sorted(os.listdir(f"/proc/{command.pid}/fd")) == ["0", "1", "2"])
        assert links[0] == "/dev/null"
        assert links[1].startswith("pipe:")
        guard = guardian._process.pid
        assert sorted(map(int, os.listdir(f"/proc/{guard}/fd")))[:3] == [0, 1, 2]
        assert not [each for each in open_files(guard) if each.startswith("socket:")]
        await done(command.stop())


def open_files(pid: int) -> list[str]:
    """What a process has open, which may read some file at this moment and close it."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


async def test_the_environment_is_ours_without_what_is_ours_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("GINKGO_DB__PASSWORD", "secret")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("TAKEN", "taken")
    command = sh("env; pwd; echo up", env={"ADDED": "added", "TAKEN": None}, cwd="/usr")
    command.ready_when = "^up$"
    await done(command.start())
    await done(command.stop())
    lines = told(caplog)
    assert {"KEPT=kept", "ADDED=added", "/usr"} <= set(lines)
    assert not [line for line in lines if re.match("GINKGO_DB|NOTIFY|TAKEN", line)]


@pytest.mark.root
async def test_it_runs_as_another_user(world: World, caplog: pytest.LogCaptureFixture):
    command = sh("id -u; id -G; env; echo up; sleep 9", user="nobody", ready="^up$", cwd="/")
    command.env = {"ADDED": "added"}
    os.environ["LD_LIBRARY_PATH"] = "/nowhere"
    try:
        await done(command.start())
    finally:
        del os.environ["LD_LIBRARY_PATH"]
    await done(command.stop())
    lines = told(caplog)
    assert lines[:2] == ["65534", "65534"]
    assert "USER=nobody" in lines
    assert "ADDED=added" in lines
    assert not [line for line in lines if line.startswith("LD_")]


async def test_a_user_that_is_not_there_fails_the_start(world: World):
    with pytest.raises(ginkgo.GinkgoError, match="sh: there is no user 'no-such'") as raised:
        await done(sh(SLEEP, user="no-such").start())
    assert raised.value.status == 67


async def test_arguments_may_come_from_a_method(world: World):
    class Sleeps(Command):
        seconds = 99

        def argv(self) -> list[str]:
            return ["sh", "-c", f"echo {self.seconds}; exec sleep {self.seconds}"]

    command = Sleeps(ready="^99$")
    await done(command.start())
    await done(command.stop())
