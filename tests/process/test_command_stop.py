"""How a command is brought to its end, with all that it has started."""

from __future__ import annotations

import logging
import os
import signal
import time

import pytest
from tests.dialects import World, done
from tests.process.commands import DEAF, SLEEP, alive, children, logged, marked, python, sh

from ginkgo import Service
from ginkgo.process.command_guardian import guardian
from ginkgo.process.pids import state_letter

pytestmark = pytest.mark.usefixtures("_nothing_of_commands_left")


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ginkgo.command")


async def test_the_signal_can_be_chosen(world: World):
    command = python("say('up')\ntime.sleep(99)", ready="up", stop_signal="SIGINT")
    await done(command.start())
    await done(command.stop())
    assert command.returncode == -signal.SIGINT  # as Python ends on a KeyboardInterrupt


async def test_a_program_that_cleans_up_has_the_time_for_it(world: World):
    command = sh("trap 'sleep 0.3; echo bye; exit 5' TERM; echo up; while :; do sleep 0.02; done")
    command.ready_when = "up"
    await done(command.start())
    await done(command.stop())
    assert command.last_lines[-1] == "bye"
    assert command.returncode == 5
    assert command.state == "stopped"


@pytest.mark.fault(81)
async def test_one_that_does_not_end_is_killed(world: World, caplog: pytest.LogCaptureFixture):
    command = python(DEAF, ready="up")
    command.stop_timeout = 0.3
    await done(command.start())
    pid, began = command.pid, time.monotonic()
    await done(command.stop())
    assert time.monotonic() - began >= 0.3
    assert command.returncode == -signal.SIGKILL
    (warning,) = logged(caplog, logging.WARNING)
    assert warning.startswith("python: the program did not end within 0.3 s of SIGTERM, and was")
    assert warning.endswith(f"killed: pid {pid}")


@pytest.mark.fault(81)
async def test_one_that_is_stopped_hears_the_signal(world: World):
    command = sh(SLEEP)
    await done(command.start())
    os.kill(command.pid, signal.SIGSTOP)
    while state_letter(command.pid) != "T":
        await world.sleep(0.01)
    await done(command.stop())
    assert command.returncode == -signal.SIGTERM


ESCAPES = {
    "in its group": "sleep 1000 &",
    "in a session of its own": "setsid sleep 1000 &",
    "with its parent gone": "(setsid sh -c 'sleep 1000 & exit' &)",
    "in a group of its own": "set -m; sleep 1000 &",
    "without the mark": "env -i setsid sh -c 'sleep 1000; :' &",
}


@pytest.mark.fault(82)
@pytest.mark.parametrize("script", ESCAPES.values(), ids=ESCAPES)
async def test_what_it_has_started_ends_with_it(world: World, script: str):
    before = set(map(int, filter(str.isdigit, os.listdir("/proc"))))
    own = script.replace("1000", SECONDS)  # those of a test beside this one are not ours
    command = sh(f"{own}\nsleep 0.1; echo up; sleep {SECONDS}", ready="up")
    await done(command.start())
    await done(command.stop())
    after = set(map(int, filter(str.isdigit, os.listdir("/proc")))) - before
    assert not [pid for pid in after if sleeps(pid)]


SECONDS = str(10_000_000 + os.getpid())


def sleeps(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().startswith(f"sleep\0{SECONDS}\0".encode())
    except OSError:
        return False


@pytest.mark.fault(82)
async def test_what_a_program_that_has_ended_left_behind_ends_too(world: World):
    command = sh("setsid sleep 1000 & sleep 1000 & exit 1")
    await done(command.start())
    await done(command.wait("failed"))
    assert not marked()


@pytest.mark.fault(82)
async def test_a_grandchild_that_does_not_listen_is_killed(
    world: World, caplog: pytest.LogCaptureFixture
):
    lines = "if os.fork() == 0: os.setsid()\nelse: signal.pause()\n"
    command = python(lines + DEAF, ready="up")
    command.stop_timeout = 1.0
    await done(command.start())
    await done(command.stop())
    assert command.returncode == -signal.SIGTERM
    (warning,) = logged(caplog, logging.WARNING)
    assert "what it has started did not end within 1 s of SIGTERM, and was killed" in warning


@pytest.mark.fault(82)
async def test_what_is_started_because_of_the_stop_is_killed_too(world: World):
    lines = "told = []\nsignal.signal(signal.SIGTERM, lambda *_: told.append(1))\nsay('up')\n"
    lines += "while not told: time.sleep(0.01)\n"
    lines += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    lines += "if os.fork() == 0:\n    os.setsid()\n    while True: time.sleep(1000)"
    command = python(lines, ready="up")
    command.stop_timeout = 2.0
    await done(command.start())
    await done(command.stop())
    assert command.returncode == 0
    assert not marked()


async def test_a_program_that_ends_while_others_stop_is_no_failure(world: World):
    root = Service()
    first, second = root.add_service(sh(SLEEP)), root.add_service(sh(SLEEP))
    await done(root.start())
    os.kill(first.pid, signal.SIGTERM)
    await done(root.stop())
    assert root.state == first.state == second.state == "stopped"


async def test_twenty_stop_and_leave_nothing(world: World):
    root = Service()
    commands = [root.add_service(sh(SLEEP)) for _ in range(20)]
    await done(root.start())
    assert len({command.pid for command in commands}) == 20
    guards = [pid for pid in children() if pid not in {command.pid for command in commands}]
    assert guardian._process.pid in guards
    pids = [command.pid for command in commands]
    await done(root.stop())
    assert not [pid for pid in pids if alive(pid)]


async def test_a_guardian_that_was_killed_is_replaced(world: World):
    root = Service()
    root.add_service(sh(SLEEP))
    await done(root.start())
    first = guardian._process.pid
    os.kill(first, signal.SIGKILL)
    while alive(first):
        await world.sleep(0.01)
    await done(root.add_service(sh(SLEEP)).wait("ready"))
    assert guardian._process.pid != first
    await done(root.stop())


@pytest.mark.fault(54)
async def test_a_forked_child_has_no_part_in_the_commands(world: World):
    command = sh(SLEEP)
    await done(command.start())
    pipe = guardian._pipe
    pid = os.fork()
    if pid == 0:
        try:
            os.fstat(pipe)
        except OSError:
            os._exit(0 if guardian._process is None else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert alive(command.pid)
    await done(command.stop())
