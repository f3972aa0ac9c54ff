from __future__ import annotations

import io
import json
import logging
import logging.config
import logging.handlers
import os
from pathlib import Path

import pytest
from tests.logs.scripts import DEADLINE, dict_config, lines, messages, run, start

from ginkgo.logs import setup
from ginkgo.logs.format import Formatter
from ginkgo.logs.handler import LineHandler
from ginkgo.logs.terminal import TextSink

logger = logging.getLogger("app.db")


def ours() -> list[logging.Handler]:
    return [h for h in logging.getLogger().handlers if isinstance(h, LineHandler)]


# --- the simple settings ---


def test_in_the_foreground_it_goes_to_the_terminal() -> None:
    terminal = io.StringIO()
    setup.configure(None, "/nowhere/at/all.log", "info", daemon=False, stream=terminal)
    logger.info("Starting up!")
    assert terminal.getvalue().endswith("      INFO test_setup: Starting up!\n")


def test_a_daemon_logs_to_its_logfile(path: str) -> None:
    setup.configure(None, path, "info", daemon=True)
    logger.info("Starting up!")
    assert lines(path)[0].endswith("      INFO test_setup: Starting up!")
    assert (setup.status().path, setup.status().problem) == (path, None)


def test_the_default_level_is_debug_as_in_the_seed(path: str) -> None:
    setup.configure(None, path, daemon=True)
    logger.debug("a detail")
    assert messages(path) == ["a detail"]


@pytest.mark.parametrize("level", ["warning", "WARNING", "Warn", " warning ", 30])
def test_a_level_may_be_written_in_any_way_that_logging_knows(path: str, level: object) -> None:
    setup.configure(None, path, level, daemon=True)
    logger.info("no")
    logger.warning("yes")
    assert messages(path) == ["yes"]


def test_levels_that_the_application_has_added_are_levels(path: str) -> None:
    logging.addLevelName(5, "Trace")
    setup.configure(None, path, "trace", daemon=True)
    logger.log(5, "fine")
    assert messages(path) == ["fine"]


@pytest.mark.parametrize("root", ["", "root"])
def test_single_loggers_have_their_own_level(path: str, root: str) -> None:
    setup.configure(None, path, {root: "warning", "app.db": "debug", "app": "error"}, daemon=True)
    logging.getLogger("other").info("no")
    logging.getLogger("app.web").warning("no")
    logger.debug("yes")
    assert messages(path) == ["yes"]


def test_a_logger_that_is_not_named_any_more_gets_its_old_level_back(path: str) -> None:
    logger.setLevel("CRITICAL")
    try:
        setup.configure(None, path, {"app.db": "debug"}, daemon=True)
        assert logger.level == logging.DEBUG
        setup.configure(None, path, "info", daemon=True)
        assert logger.level == logging.CRITICAL
    finally:
        logger.setLevel("NOTSET")


# --- the handlers of others ---


def test_the_handlers_of_others_stay(path: str, caplog: pytest.LogCaptureFixture) -> None:
    mine = logging.NullHandler()
    root = logging.getLogger()
    root.addHandler(mine)
    try:
        before = list(root.handlers)
        setup.configure(None, path, "info", daemon=True)
        setup.configure({"format": "%(message)s"}, path, daemon=True)
        setup.configure({"version": 1, "root": {"level": "INFO"}}, path, daemon=True)
        logger.info("seen")
        assert caplog.messages == ["seen"]
        setup.unconfigure()
        assert root.handlers == before
    finally:
        root.removeHandler(mine)


# --- reload ---


def test_a_prepared_configuration_touches_nothing_before_it_is_applied(
    path: str, tmp_path: Path
) -> None:
    setup.configure(None, path, "info", daemon=True)
    prepared = setup.prepare(None, str(tmp_path / "new.log"), "error", daemon=True)
    logger.info("one")
    prepared.discard()
    logger.info("two")
    setup.prepare(None, str(tmp_path / "new.log"), "error", daemon=True).apply()
    logger.info("no")
    logger.error("three")
    assert messages(path) == ["one", "two"]
    assert messages(tmp_path / "new.log") == ["three"]


def test_no_line_is_lost_or_doubled_while_logging_is_reloaded(path: str, patched: bool) -> None:
    code = """
    import threading
    path = sys.argv[1]
    setup.configure(None, path, "info", daemon=True)
    stop = threading.Event()
    def log(who):
        number = 0
        while not stop.is_set():
            logging.info("%s %d", who, number)
            number += 1
            if number % 10 == 0:
                time.sleep(0)
    threads = [threading.Thread(target=log, args=(who,)) for who in "ab"]
    for thread in threads:
        thread.start()
    for number in range(100):
        config = {"format": "%(message)s", "level": "INFO"} if number % 2 else None
        setup.configure(config, path, "info", daemon=True)
        time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    """
    run(code, path, patched=patched)
    seen: dict[str, list[int]] = {"a": [], "b": []}
    for line in lines(path):
        who, number = line.rpartition(": ")[2].split()
        seen[who].append(int(number))
    for numbers in seen.values():
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > 100


def test_a_line_on_its_way_through_an_old_handler_arrives(path: str, tmp_path: Path) -> None:
    setup.configure(None, path, "info", daemon=True)
    (old,) = ours()
    setup.configure(None, str(tmp_path / "new.log"), "info", daemon=True)
    old.handle(logging.LogRecord("x", 20, "x.py", 1, "late", None, None))
    assert messages(path) == ["late"]


# --- rotation ---


@pytest.mark.fault(65)
def test_no_line_is_lost_or_doubled_around_rotations(tmp_path: Path, patched: bool) -> None:
    code = """
    import signal, threading
    reopened = []
    setup.configure(None, sys.argv[1], "info", daemon=True)
    def on_signal(*_):
        setup.reopen()
        reopened.append(1)
    signal.signal(signal.SIGUSR1, on_signal)
    print("ready", flush=True)
    number = told = 0
    while told < 20:
        logging.info("%d", number)
        number += 1
        if len(reopened) > told:
            told += 1
            print(told, flush=True)
    print(number, flush=True)
    """
    path = tmp_path / "app.log"
    with start(code, path, patched=patched) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        for rotation in range(1, 21):
            os.rename(path, tmp_path / f"app.log.{rotation:02}")
            child.send_signal(10)
            assert int(child.stdout.readline()) == rotation
        total = int(child.stdout.readline())
        assert child.wait(DEADLINE) == 0
    files = [*sorted(tmp_path.glob("app.log.*")), path]
    numbers = [int(number) for file in files for number in messages(file)]
    assert numbers == list(range(total))


def test_reopening_reaches_the_file_handlers_of_a_dict_config(path: str) -> None:
    setup.configure(dict_config(path), daemon=False)
    logger.info("one")
    os.rename(path, path + ".1")
    setup.reopen()
    logger.info("two")
    assert lines(path) == ["INFO two"]


def test_a_file_that_cannot_be_reopened_is_told_once_in_the_old_one(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.configure(None, path, "info", daemon=True)
    os.rename(path, path + ".1")
    os.symlink(tmp_path / "canary", path)
    setup.reopen()
    logger.info("next")
    assert Path(path + ".1").read_text().count("symbolic link") == 1
    assert "stays in use" in Path(path + ".1").read_text()
    assert capsys.readouterr().err == ""  # of a daemon, that is the same file


@pytest.mark.root
@pytest.mark.fault(138)
def test_after_the_drop_a_reload_and_a_reopening_need_no_root(shared: Path) -> None:
    run(
        """
        path = sys.argv[1]
        config = {"version": 1, "root": {"handlers": ["f"], "level": "INFO"},
                  "handlers": {"f": {"class": "logging.FileHandler", "filename": path + ".dict"}}}
        setup.configure(None, path, "info", daemon=True, owner=65534)
        setup.give_to(65534, 65534)
        logging.info("as root")
        become_nobody()
        setup.configure(None, path, "info", daemon=True)
        setup.reopen()
        logging.info("as nobody")
        """,
        shared / "app.log",
    )
    assert messages(shared / "app.log") == ["as root", "as nobody"]
    assert (shared / "app.log").stat().st_uid == 65534


@pytest.mark.root
@pytest.mark.fault(138)
def test_the_files_of_a_dict_config_are_given_away_too(shared: Path) -> None:
    run(
        """
        path = sys.argv[1]
        config = {"version": 1, "root": {"handlers": ["f"], "level": "INFO"},
                  "handlers": {"f": {"class": "logging.FileHandler", "filename": path}}}
        setup.configure(config, None, daemon=False)
        setup.give_to(65534, 65534)
        become_nobody()
        setup.configure(config, None, daemon=False)
        setup.reopen()
        logging.info("as nobody")
        setup.shutdown()
        """,
        shared / "app.log",
    )
    assert lines(shared / "app.log") == ["as nobody"]


# --- the daemon's output ---


def test_what_a_daemon_prints_goes_to_the_log_file_of_its_dict_config(path: str) -> None:
    run(
        """
        path = sys.argv[1]
        config = {"version": 1, "root": {"handlers": ["f"], "level": "INFO"},
                  "handlers": {"f": {"class": "logging.FileHandler", "filename": path}}}
        setup.configure(config, path + ".unused", daemon=True)
        setup.capture_output()
        print("printed")
        logging.info("logged")
        os.system("echo from a child")
        assert setup.status().path == path
        """,
        path,
    )
    assert lines(path) == ["printed", "logged", "from a child"]
    assert not Path(path + ".unused").exists()


def test_what_a_daemon_prints_goes_to_the_logfile_where_the_config_has_none(path: str) -> None:
    run(
        """
        config = {"version": 1, "root": {"handlers": ["e"], "level": "INFO"},
                  "handlers": {"e": {"class": "logging.StreamHandler"}}}
        setup.configure(config, sys.argv[1], daemon=True)
        setup.capture_output()
        logging.info("logged to stderr")
        """,
        path,
    )
    assert lines(path) == ["logged to stderr"]


# --- the end ---


@pytest.mark.fault(83)
@pytest.mark.fault("O23")
def test_the_last_line_is_on_disk_whatever_way_the_process_ends(path: str, patched: bool) -> None:
    code = """
    from logging.handlers import MemoryHandler
    slow = MemoryHandler(1000, target=logging.FileHandler(sys.argv[1] + "2"))
    logging.getLogger().addHandler(slow)
    setup.configure(None, sys.argv[1], "info", daemon=True)
    logging.info("stopped")
    setup.shutdown()
    os._exit(0)
    """
    run(code, path, patched=patched)
    assert messages(path) == ["stopped"]
    assert messages(path + "2") == ["stopped"]


@pytest.mark.fault(83)
def test_a_handler_that_hangs_or_raises_does_not_hold_up_the_end(path: str, patched: bool) -> None:
    code = """
    class Hanging(logging.Handler):
        def emit(self, record): ...
        def flush(self):
            if sys.argv[2] == "raise":
                raise RuntimeError("no")
            from ginkgo.async_ import native
            native.sleep(1000)
    logging.getLogger().addHandler(Hanging())
    setup.configure(None, sys.argv[1], "info", daemon=True)
    logging.info("stopped")
    setup.shutdown(0.1)
    logging.info("and still there")
    os._exit(0)
    """
    assert "not flushed within 0.1 s" in run(code, path, "hang", patched=patched).stderr
    assert "Hanging could not be flushed" in run(code, path, "raise", patched=patched).stderr
    assert messages(path) == ["stopped", "and still there"] * 2


def test_a_line_from_an_exit_hook_is_written(path: str, patched: bool) -> None:
    code = """
    import atexit
    atexit.register(logging.info, "at exit")
    setup.configure(None, sys.argv[1], "info", daemon=True)
    atexit.register(logging.shutdown)
    setup.shutdown()
    """
    run(code, path, patched=patched)
    assert messages(path) == ["at exit"]


# --- how it fares ---


@pytest.mark.fault(44)
def test_what_was_lost_is_still_counted_after_the_file_was_changed(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = setup.status().dropped
    setup.configure(None, "/dev/full", "info", daemon=True)
    logger.info("lost")
    assert setup.status().dropped == before + 1
    setup.configure(None, path, "info", daemon=True)
    logger.info("kept")
    assert setup.status() == setup.Status(path, before + 1, None)


def test_json_from_the_application_passes_as_it_is(path: str) -> None:
    class Json(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return json.dumps({"message": record.getMessage()})

    handler = LineHandler(io_sink := TextSink(io.StringIO()), Json())
    handler.handle(logging.LogRecord("x", 20, "x.py", 1, "a\n\x1b", None, None))
    assert json.loads(io_sink.stream.getvalue()) == {"message": "a\n\x1b"}  # type: ignore[attr-defined]


def test_our_formatter_is_the_default_one() -> None:
    setup.configure(daemon=False, stream=io.StringIO())
    assert isinstance(ours()[0].formatter, Formatter)
