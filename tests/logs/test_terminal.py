from __future__ import annotations

import io
import os
import pty
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.logs.scripts import DEADLINE, start

from ginkgo.logs.terminal import BrokenPipe, Terminal, TextSink


class Pipe:
    """A pipe whose reader reads when it is told to."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def read_until(self, ending: bytes) -> bytes:
        data = b""
        while not data.endswith(ending):
            piece = os.read(self.reader, 65536)
            assert piece, data[-200:]
            data += piece
        return data

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def test_lines_arrive_at_once(pipe: Pipe) -> None:
    Terminal(pipe.writer, BrokenPipe()).write(b"one\n")
    assert os.read(pipe.reader, 100) == b"one\n"


@pytest.mark.fault(49)
def test_a_reader_that_has_gone_is_told_once(pipe: Pipe) -> None:
    told: list[str] = []
    terminal = Terminal(pipe.writer, BrokenPipe(lambda: told.append("gone")))
    pipe.close_reader()
    for _ in range(3):
        terminal.write(b"x\n")
    assert told == ["gone"]
    assert terminal.dropped == 2


@pytest.mark.fault(49)
def test_two_outputs_to_the_same_reader_tell_once(pipe: Pipe) -> None:
    told: list[str] = []
    broken = BrokenPipe(lambda: told.append("gone"))
    pipe.close_reader()
    for terminal in (Terminal(pipe.writer, broken), Terminal(pipe.writer, broken)):
        terminal.write(b"x\n")
    assert told == ["gone"]


@pytest.mark.fault(47)
def test_a_reader_that_does_not_read_stops_nobody_and_gets_everything_later(pipe: Pipe) -> None:
    terminal = Terminal(pipe.writer, BrokenPipe())
    lines = [b"%d %s\n" % (number, b"x" * 1000) for number in range(500)]
    for line in lines:
        terminal.write(line)  # far more than a pipe holds: it would block
    assert pipe.read_until(lines[-1]) == b"".join(lines)
    assert terminal.dropped == 0


@pytest.mark.fault(47)
def test_what_waits_has_a_limit_and_what_is_lost_is_counted(pipe: Pipe) -> None:
    terminal = Terminal(pipe.writer, BrokenPipe(), backlog=10_000)
    for _ in range(200):
        terminal.write(b"x" * 999 + b"\n")
    assert 100 <= terminal.dropped < 200
    data = b""
    while len(data) < (200 - terminal.dropped) * 1000:
        data += os.read(pipe.reader, 65536)
    assert data == (b"x" * 999 + b"\n") * (200 - terminal.dropped)
    terminal.flush(DEADLINE)
    terminal.write(b"on again\n")
    told = pipe.read_until(b"on again\n").decode()
    assert f"{terminal.dropped} log lines were lost" in told
    assert told.count("\n") == 2


@pytest.mark.fault(47)
def test_a_line_longer_than_the_pipe_has_room_for_stops_nobody(pipe: Pipe) -> None:
    os.write(pipe.writer, b"x" * 60_000)
    terminal = Terminal(pipe.writer, BrokenPipe())
    terminal.write(b"y" * 60_000 + b"\n")
    assert len(pipe.read_until(b"\n")) == 120_001


@pytest.mark.fault(47)
def test_a_reader_that_goes_while_lines_wait_is_told(pipe: Pipe) -> None:
    gone = threading.Event()
    terminal = Terminal(pipe.writer, BrokenPipe(gone.set))
    for _ in range(200):
        terminal.write(b"x" * 999 + b"\n")
    pipe.close_reader()
    assert gone.wait(DEADLINE)


def test_flush_waits_for_the_reader_and_not_for_ever(pipe: Pipe) -> None:
    terminal = Terminal(pipe.writer, BrokenPipe())
    for _ in range(200):
        terminal.write(b"x" * 999 + b"\n")
    terminal.flush(0.01)
    reader = threading.Thread(target=pipe.read_until, args=(b"end\n",))
    terminal.write(b"end\n")
    reader.start()
    terminal.flush(DEADLINE)
    reader.join(DEADLINE)
    assert not reader.is_alive()


def test_there_is_a_thread_only_while_lines_wait(pipe: Pipe) -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    terminal = Terminal(pipe.writer, BrokenPipe())
    terminal.write(b"one\n")
    assert threads() == before
    for _ in range(200):
        terminal.write(b"x" * 999 + b"\n")
    assert threads() == before + 1
    terminal.write(b"end\n")
    pipe.read_until(b"end\n")
    terminal.flush(DEADLINE)
    poll = threading.Event()
    for _ in range(2000):  # it is on its way out
        if threads() == before:
            return
        poll.wait(0.01)
    raise AssertionError("the thread is still there")


def test_a_pipe_that_somebody_made_non_blocking_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    terminal = Terminal(pipe.writer, BrokenPipe())
    lines = b"".join(b"%d\n" % number for number in range(50_000))
    for line in lines.splitlines(keepends=True):
        terminal.write(line)
    assert pipe.read_until(b"49999\n") == lines


def test_a_terminal_that_was_closed_is_no_reason_to_fail() -> None:
    told: list[str] = []
    master, slave = pty.openpty()
    terminal = Terminal(slave, BrokenPipe(lambda: told.append("gone")))
    os.close(master)
    terminal.write(b"x\n")
    os.close(slave)
    assert terminal.dropped == 1
    assert not told  # whoever started it in the background wants it to go on


def test_a_stream_without_a_descriptor_gets_text() -> None:
    stream = io.StringIO()
    sink = TextSink(stream)
    sink.write("caf\xe9\n".encode())
    assert stream.getvalue() == "caf\xe9\n"
    stream.close()
    sink.write(b"late\n")
    assert sink.dropped == 1


@pytest.mark.fault(47)
def test_a_service_goes_on_while_its_terminal_is_stuck(patched: bool) -> None:
    code = """
    setup.configure(None, None, "info", daemon=False)
    for number in range(3000):
        logging.info("%d %s", number, "x" * 100)
    print("still here", flush=True)
    sys.stdin.read()
    setup.shutdown(10)
    """
    with start(code, patched=patched) as child:
        assert child.stdin and child.stdout and child.stderr
        assert child.stdout.readline() == b"still here\n"
        collected: list[Any] = []
        reader = threading.Thread(target=lambda: collected.append(child.stderr.read()))  # type: ignore[union-attr]
        child.stdin.close()
        reader.start()
        assert child.wait(DEADLINE) == 0
        reader.join(DEADLINE)
        lines = collected[0].decode().splitlines()
        assert [int(line.split()[4]) for line in lines] == list(range(3000))
