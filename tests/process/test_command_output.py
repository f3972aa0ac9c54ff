"""What a command prints, however it prints it."""

from __future__ import annotations

import logging
import time

import pytest
from tests.dialects import World, done
from tests.process.commands import python, sh, told

from ginkgo.process.command_output import LONGEST, Lines


def lines(*pieces: bytes) -> list[str]:
    made = Lines()
    return [line for piece in pieces for line in made.feed(piece)] + list(made.rest())


def test_pieces_make_lines():
    assert lines(b"on", b"e\ntw", b"o\n\nthree") == ["one", "two", "", "three"]
    assert lines(b"") == []
    assert lines(b"dos\r\n") == ["dos"]


def test_a_letter_may_come_in_two_pieces():
    assert lines(b"caf\xc3", b"\xa9\n") == ["café"]
    assert lines(b"caf\xe9\n") == ["caf\\xe9"]


def test_a_line_without_end_is_kept_to_its_beginning():
    made = Lines()
    for _ in range(1000):
        assert not list(made.feed(b"x" * 4096))
    assert len(made._begun) == LONGEST
    (line,) = made.feed(b"\n")
    assert line == "x" * LONGEST + f" ... and {4096 * 1000 - LONGEST} bytes more"


@pytest.fixture
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ginkgo.command")


@pytest.mark.usefixtures("_nothing_of_commands_left", "_log")
async def test_the_last_words_are_heard(world: World, caplog: pytest.LogCaptureFixture):
    command = sh("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; printf end; exit 1")
    await done(command.start())
    await done(command.wait("failed"))
    assert told(caplog)[:3001] == [*map(str, range(1, 3001)), "end"]


@pytest.mark.usefixtures("_nothing_of_commands_left")
async def test_one_that_prints_without_end_holds_nobody_up(world: World):
    logger = logging.getLogger("ginkgo.command")
    logger.setLevel(logging.ERROR)
    try:
        command = sh("exec yes")
        await done(command.start())
        late = []
        for _ in range(50):
            began = time.monotonic()
            await world.sleep(0.01)
            late.append(time.monotonic() - began)
        assert sorted(late)[25] < 0.2
        assert len(command.last_lines) == 10
        await done(command.stop())
    finally:
        logger.setLevel(logging.NOTSET)


@pytest.mark.usefixtures("_nothing_of_commands_left", "_log")
async def test_binary_output_is_a_line_too(world: World, caplog: pytest.LogCaptureFixture):
    command = python(
        "sys.stdout.buffer.write(bytes(range(128, 140)) + b'\\0\\n')\nsay('up')\ntime.sleep(99)",
        ready="up",
    )
    await done(command.start())
    await done(command.stop())
    assert told(caplog, "python")[0].startswith("\\x80\\x81")


@pytest.mark.usefixtures("_nothing_of_commands_left", "_log")
async def test_one_that_closes_its_output_runs_on(world: World):
    command = sh("echo up; exec >/dev/null 2>&1; exec sleep 99", ready="up")
    await done(command.start())
    await world.breathe() if world.turns else await world.sleep(0.05)
    assert command.ready
    assert command.pid is not None
    await done(command.stop())
