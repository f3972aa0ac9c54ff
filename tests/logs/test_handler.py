from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
from tests.logs.scripts import run

from ginkgo.logs.files import LogFile
from ginkgo.logs.format import Formatter
from ginkgo.logs.handler import LineHandler


class Memory:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.dropped = 0
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def flush(self, timeout: float) -> None: ...

    def close(self) -> None: ...


def record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("app", logging.INFO, "service.py", 1, message, args, None)


def test_a_record_becomes_bytes_with_a_newline() -> None:
    sink = Memory()
    LineHandler(sink, logging.Formatter("%(message)s")).handle(record("caf\xe9 %s", "\ud800"))
    assert sink.data == b"caf\xc3\xa9 \\ud800\n"


def test_encodings_are_those_of_the_file() -> None:
    sink = Memory()
    handler = LineHandler(sink, logging.Formatter("%(message)s"), "latin-1", "replace")
    handler.handle(record("caf\xe9 \u20ac"))
    assert sink.data == b"caf\xe9 ?\n"


def test_what_a_filter_refuses_is_not_written() -> None:
    sink = Memory()
    handler = LineHandler(sink, Formatter())
    handler.addFilter(lambda _: False)
    assert not handler.handle(record("x"))
    assert sink.data == b""


@pytest.mark.fault(32)
@pytest.mark.parametrize("errors", ["strict", "backslashreplace"])
def test_a_formatter_that_raises_does_not_cost_the_line(errors: str) -> None:
    sink = Memory()
    formatter = logging.Formatter("%(nothing)s") if errors != "strict" else Formatter()
    LineHandler(sink, formatter, "ascii", errors).handle(record("caf\xe9"))
    assert b"service: caf\xc3\xa9 [the formatter raised " in sink.data


def test_formatting_holds_no_lock() -> None:
    # A __str__ may take long, or wait for a thread that logs as well.
    sink = Memory()
    handler = LineHandler(sink, Formatter())

    class Waiting:
        def __str__(self) -> str:
            other = threading.Thread(target=handler.handle, args=(record("other"),))
            other.start()
            other.join(20)
            assert not other.is_alive()
            return "this"

    handler.handle(record("%s", Waiting()))
    lines = sink.data.decode().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["other", "this"]


def test_a_greenlet_that_switches_while_it_formats_blocks_no_thread(tmp_path: Path) -> None:
    run(
        """
        import gevent
        from ginkgo.async_ import native
        setup.configure(None, sys.argv[1], "info", daemon=True)

        class Switching:
            def __str__(self):
                gevent.sleep(0)
                thread = native.start_thread(logging.info, "from a thread", name="other")
                assert thread.join(10)
                gevent.sleep(0)
                return "from a greenlet"

        gevent.joinall([gevent.spawn(logging.info, "%s", Switching()) for _ in range(5)],
                       raise_error=True)
        """,
        tmp_path / "app.log",
        patched=True,
    )
    text = (tmp_path / "app.log").read_text()
    assert text.count("from a thread") == text.count("from a greenlet") == 5


def test_a_forked_child_can_log_although_another_thread_was_logging(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "app.log"))
    handler = LineHandler(log, Formatter())
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with log.lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    pid = os.fork()
    if pid == 0:
        handler.handle(record("from the child"))
        os._exit(0)
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        done.set()
        thread.join()
        log.close()
    assert (tmp_path / "app.log").read_text().endswith("from the child\n")


def test_a_logger_that_logs_while_it_is_interrupted_writes_both(tmp_path: Path) -> None:
    run(
        """
        import signal
        setup.configure(None, sys.argv[1], "info", daemon=True)
        signal.signal(signal.SIGALRM, lambda *_: logging.info("from the handler"))
        write = os.write
        def interrupted(fd, data):
            if b"from the program" in data:
                signal.raise_signal(signal.SIGALRM)
            return write(fd, data)
        os.write = interrupted
        logging.info("from the program")
        """,
        tmp_path / "app.log",
    )
    lines = (tmp_path / "app.log").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["handler", "program"]
