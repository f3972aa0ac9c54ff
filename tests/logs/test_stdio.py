from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.logs.scripts import DEADLINE, run, start


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_printed_line_appears_at_once_when_piped(stream: str, patched: bool) -> None:
    code = """
    stdio.unbuffer()
    print("now", file=getattr(sys, sys.argv[1]))
    sys.stdin.read()
    """
    with start(code, stream, patched=patched) as child:
        assert getattr(child, stream).readline() == b"now\n"  # while it still runs
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(DEADLINE) == 0


def test_a_print_is_one_write(tmp_path: Path) -> None:
    done = run(
        """
        writes = []
        write = os.write
        stdio.unbuffer()
        os.write = lambda fd, data: writes.append(data) or write(fd, data)
        print("one", 2, "three")
        os.write = write
        print(writes)
        """
    )
    assert done.stdout == "one 2 three\n[b'one 2 three\\n']\n"


def test_the_streams_stay_text_streams() -> None:
    run(
        """
        encoding = sys.stdout.encoding
        stdio.unbuffer()
        out = sys.stdout
        assert (out.fileno(), sys.stderr.fileno()) == (1, 2)
        assert out.encoding == encoding and out.name == "<stdout>" and out.isatty() is False
        assert out.writable() and not out.readable() and not out.closed
        out.buffer.write(b"bytes\\n"), out.write("text\\n"), out.writelines(["a", "b\\n"])
        out.flush()
        out.reconfigure(line_buffering=False)
        """
    )


@pytest.mark.fault(25)
def test_text_that_the_locale_has_no_characters_for_is_printed_anyway() -> None:
    done = run(
        "stdio.unbuffer(); print('caf\\xe9 \\u20ac \\ud800')",
        LC_ALL="POSIX",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
    )
    assert done.stdout.startswith("caf")


@pytest.mark.fault(49)
@pytest.mark.parametrize("with_log", [False, True], ids=["printing", "printing and logging"])
def test_a_reader_that_has_seen_enough_ends_the_program_in_order(
    with_log: bool, patched: bool
) -> None:
    code = """
    import signal
    asked = []
    broken = BrokenPipe(lambda: asked.append("stop"))
    stdio.unbuffer(broken)
    setup.configure(None, None, "info", daemon=False, broken=broken)
    while not asked:
        print("a line")
        if sys.argv[1:]:
            logging.info("a record")
    print("goes nowhere"), logging.info("goes nowhere"), sys.stderr.write("nor this\\n")
    setup.shutdown()
    os._exit(0) if len(asked) != 1 else sys.exit(3)
    """
    reader, writer = os.pipe()
    more = {"stderr": writer} if with_log else {}
    with start(code, *(["log"] * with_log), patched=patched, stdout=writer, **more) as child:
        os.close(writer)
        assert os.read(reader, 1)
        os.close(reader)
        assert child.wait(DEADLINE) == 3
        if child.stderr is not None:  # it has a reader of its own, and goes on
            told = child.stderr.read()
            assert told.endswith(b"goes nowhere\nnor this\n")
            assert b"Traceback" not in told


@pytest.mark.fault(49)
def test_head_gets_its_line_and_the_program_its_end(tmp_path: Path) -> None:
    # The interpreter's own last flush must not complain either (it would exit with 120).
    code = """
    stdio.unbuffer(BrokenPipe(lambda: sys.exit(0)))
    while True:
        print("a line")
    """
    reader, writer = os.pipe()
    with start(code, stdout=writer) as child:
        os.close(writer)
        assert os.read(reader, 7) == b"a line\n"
        os.close(reader)
        assert child.wait(DEADLINE) == 0
        assert child.stderr is not None
        assert child.stderr.read() == b""


@pytest.mark.fault("O18")
def test_everything_a_daemon_prints_ends_in_its_log(tmp_path: Path, patched: bool) -> None:
    done = run(
        """
        import subprocess, faulthandler
        setup.configure(None, sys.argv[1], "info", daemon=True)
        setup.capture_output()
        print("printed")
        print("complained", file=sys.stderr)
        logging.info("logged")
        subprocess.run(["sh", "-c", "echo from a child; echo its stderr >&2"])
        os.write(1, b"raw\\n")
        """,
        tmp_path / "app.log",
        patched=patched,
    )
    assert done.stdout == done.stderr == ""
    lines = (tmp_path / "app.log").read_text().splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [
        "printed",
        "complained",
        "logged",
        "from a child",
        "its stderr",
        "raw",
    ]


@pytest.mark.fault(65)
def test_what_is_printed_follows_the_log_through_rotation_and_reload(tmp_path: Path) -> None:
    run(
        """
        path = sys.argv[1]
        setup.configure(None, path, "info", daemon=True)
        setup.capture_output()
        os.rename(path, path + ".1")
        setup.reopen()
        os.system("echo after the signal")
        setup.configure(None, path + ".other", "info", daemon=True)
        os.system("echo after the reload")
        print("printed")
        """,
        tmp_path / "app.log",
    )
    assert (tmp_path / "app.log").read_text() == "after the signal\n"
    assert (tmp_path / "app.log.other").read_text() == "after the reload\nprinted\n"


def test_a_daemon_without_a_log_prints_nowhere() -> None:
    done = run(
        """
        setup.configure({"handlers": [logging.NullHandler()]}, None, daemon=True)
        setup.capture_output()
        print("x"), os.system("echo x; echo y >&2")
        """
    )
    assert done.stdout == done.stderr == ""


@pytest.mark.fault(44)
def test_a_full_disk_does_not_make_print_raise() -> None:
    run(
        """
        setup.configure(None, "/dev/full", "info", daemon=True)
        setup.capture_output()
        for _ in range(10000):
            print("x" * 100)
        logging.info("and this")
        assert setup.status().dropped >= 10001
        assert "No space left" in setup.status().problem
        """
    )
    code = "stdio.unbuffer(); print('x' * 10000)"
    with open("/dev/full", "w") as full, start(code, stdout=full) as child:
        assert child.wait(DEADLINE) == 0


def test_streams_that_were_replaced_or_closed_are_left_alone() -> None:
    run(
        """
        import io
        sys.stdout = mine = io.StringIO()
        sys.stderr = None
        stdio.unbuffer()
        assert sys.stdout is mine and sys.stderr is None
        """
    )


def test_a_signal_handler_may_print_in_the_midst_of_a_print() -> None:
    # A buffered stream would raise "reentrant call inside".
    code = """
    import signal
    stdio.unbuffer()
    signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
    print("ready")
    while True:
        print("x" * 100)
    """
    with start(code) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        handled = 0
        for _ in range(50):
            child.send_signal(signal.SIGUSR1)
            while b"handled" not in child.stdout.readline():
                pass
            handled += 1
        child.kill()
        child.stdout.read()
        assert handled == 50
