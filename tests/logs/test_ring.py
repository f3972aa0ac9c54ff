"""The last log lines in memory, what is hidden in them, and levels for now."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ginkgo.core.errors import ConfigError
from ginkgo.logs import hiding, levels, setup
from ginkgo.logs.before import lines_before
from ginkgo.logs.format import Formatter
from ginkgo.logs.json_format import JsonLines
from ginkgo.logs.ring import KEPT, Line, Ring, rfc3339

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


def record(message: str, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    """A record of the logger of these tests."""
    exc_info = more.get("exc_info")
    return logging.LogRecord("test.ring", level, __file__, 1, message, (), exc_info)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("test.ring")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.handlers.clear()


@pytest.fixture
def ring(logger: logging.Logger) -> Ring:
    ring = Ring("App")
    logger.addHandler(ring)
    return ring


@pytest.fixture
def _secret() -> Iterator[None]:
    hiding.learn(["canary-1"])
    yield
    hiding.forget()


def test_a_line_is_what_the_log_has_and_what_is_known_of_it(logger: logging.Logger, ring: Ring):
    logger.warning("App/db-2: it is %s", "late")
    [line] = ring.lines()
    assert re.fullmatch(r"\S+ \S+   WARNING test_ring: App/db-2: it is late", line.text)
    told = line.to_dict()
    assert told.pop("time").endswith("Z")
    assert told == {
        "text": line.text,
        "level": "WARNING",
        "logger": "test.ring",
        "service": "App/db-2",
    }


@pytest.mark.parametrize(
    ("message", "service"),
    [
        ("App: x", "App"),
        ("App/db: x", "App/db"),
        ("App/db failed because", "App/db"),
        ("Apple: x", None),
        ("x App: y", None),
        ("", None),
    ],
)
def test_a_service_is_known_by_the_path_at_the_beginning(
    logger: logging.Logger, ring: Ring, message: str, service: str | None
):
    logger.info(message)
    assert ring.lines()[0].service == service


def test_only_the_last_lines_are_kept(logger: logging.Logger, ring: Ring):
    for number in range(KEPT + 5):
        logger.info("line %d", number)
    kept = ring.lines()
    assert len(kept) == KEPT
    assert (kept[0].number, kept[-1].number) == (6, KEPT + 5)
    assert ring.dropped


def test_long_lines_do_not_fill_the_memory(logger: logging.Logger, ring: Ring):
    for _ in range(100):
        logger.info("x" * 60_000)
    assert sum(len(line.text) for line in ring.lines()) < 3 << 20


def test_who_listens_hears_each_line_until_it_ends(logger: logging.Logger, ring: Ring):
    heard: list[Line] = []
    end = ring.listen(heard.append)
    logger.info("one")
    end()
    logger.info("two")
    assert [line.text.rpartition(" ")[2] for line in heard] == ["one"]


def test_threads_that_log_at_once_lose_no_line(logger: logging.Logger, ring: Ring):
    def log() -> None:
        for _ in range(100):
            logger.info("x")

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line.number for line in ring.lines()) == list(range(1, 401))


@pytest.mark.fault(117)
@pytest.mark.usefixtures("_secret")
def test_a_secret_is_hidden_in_messages_and_tracebacks(logger: logging.Logger, ring: Ring):
    try:
        raise ValueError("cannot log in as canary-1")
    except ValueError:
        logger.exception("with %s", "canary-1")
    [line] = ring.lines()
    assert "canary-1" not in line.text
    assert line.text.count("****") == 3  # in the line of the source, too


@pytest.mark.usefixtures("_secret")
def test_a_secret_is_hidden_in_data_but_not_in_its_keys():
    data = {"canary-1": ["a canary-1", 1, None, {"x": "canary-1"}]}
    assert hiding.hide_all(data) == {"canary-1": ["a ****", 1, None, {"x": "****"}]}


def test_what_was_a_secret_stays_one():
    hiding.learn(["first-secret"])
    hiding.learn(["second-secret"])
    assert hiding.hide("first-secret second-secret") == "**** ****"
    hiding.forget()


# -- the file


def logged(*messages: str) -> str:
    formatter = Formatter()
    text = ""
    for number, message in enumerate(messages):
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, message, None, None)
        record.created = 1_000_000.0 + number
        text += formatter.format(record) + "\n"
    return text


def test_the_file_has_what_was_before_the_first_line_that_is_kept(tmp_path: Path):
    file = tmp_path / "app.log"
    text = logged("App/db: one", "two", "three")
    file.write_text(text)
    first = Line(1, None, None, None, None, text.splitlines()[2])
    ring = Ring("App")
    before = lines_before(str(file), first, 10, ring.parse)
    assert [line.text for line in before] == text.splitlines()[:2]
    assert [(line.level, line.service) for line in before] == [("ERROR", "App/db"), ("ERROR", None)]
    assert [line.text for line in lines_before(str(file), first, 1, ring.parse)] == [
        text.splitlines()[1]
    ]


def test_a_traceback_in_the_file_belongs_to_its_line(tmp_path: Path):
    file = tmp_path / "app.log"
    file.write_text("one\n    Traceback\n      more\ntwo\n")
    texts = [line.text for line in lines_before(str(file), None, 10, Ring().parse)]
    assert texts == ["one\n    Traceback\n      more", "two"]


@pytest.mark.usefixtures("_secret")
def test_a_secret_in_the_file_is_hidden_as_well(tmp_path: Path):
    file = tmp_path / "app.log"
    file.write_text("it is canary-1\n")
    [line] = lines_before(str(file), None, 10, Ring().parse)
    assert line.text == "it is ****"


def json_log(tmp_path: Path, *records: logging.LogRecord) -> str:
    """A log file that has these records as JSON."""
    file = tmp_path / "app.log"
    lines = JsonLines()
    file.write_text("".join(f"{lines.format(record)}\n" for record in records))
    return str(file)


def test_a_line_of_json_is_read_as_what_it_was(tmp_path: Path):
    try:
        raise OSError("no route")
    except OSError:
        failed = record("App/db: it\nbroke", logging.ERROR, exc_info=sys.exc_info())
    file = json_log(tmp_path, record("App/db: fine"), failed)
    first, second = lines_before(file, None, 10, Ring("App").parse)
    assert (first.number, first.level, first.logger, first.service) == (
        0,
        "INFO",
        "test.ring",
        "App/db",
    )
    assert first.time == pytest.approx(failed.created, abs=60)
    assert re.fullmatch(rf"{TIME}      INFO ring: App/db: fine", first.text)
    line, *traceback = second.text.split("\n")
    assert re.fullmatch(rf"{TIME}     ERROR ring: App/db: it\\nbroke", line)
    assert traceback[0] == "    Traceback (most recent call last):"
    assert traceback[-1] == "    OSError: no route"


def test_lines_of_json_come_before_the_first_that_is_kept(tmp_path: Path):
    ring = Ring("App")
    records = [record(f"App: number {number}") for number in range(4)]
    for each in records[2:]:
        ring.emit(each)
    file = json_log(tmp_path, *records)
    before = lines_before(file, ring.lines()[0], 10, ring.parse)
    assert [line.text.rpartition(" ")[2] for line in before] == ["0", "1"]


@pytest.mark.parametrize(
    "text",
    ['{"a": 1}', '{"ts": 1, "level": "INFO", "logger": "x", "msg": "y"}', "{", '["ts"]', "{}", "1"],
)
def test_another_json_is_a_line_of_text(text: str):
    line = Ring("App").parse(text)
    assert (line.text, line.time, line.level, line.logger) == (text, None, None, None)


@pytest.mark.usefixtures("_secret")
def test_a_secret_in_a_line_of_json_is_hidden_as_well(tmp_path: Path):
    file = tmp_path / "app.log"
    told = {
        "ts": "2026-11-24T22:41:33.002Z",
        "level": "INFO",
        "logger": "a",
        "msg": "it is canary-1",
    }
    file.write_text(json.dumps(told))
    [line] = lines_before(str(file), None, 10, Ring().parse)
    assert line.text.endswith(" a: it is ****")


def test_a_line_of_text_tells_its_time(tmp_path: Path):
    ring = Ring("App")
    ring.emit(record("App: now"))
    [kept] = ring.lines()
    told = ring.parse(kept.text)
    assert told.time == pytest.approx(kept.time, abs=0.002)
    assert ring.parse("2026-99-24 22:41:33,002      INFO a: b").time is None


def test_no_link_is_followed_and_what_is_no_file_says_nothing(tmp_path: Path):
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    for name in ("link", "missing", "."):
        assert lines_before(str(tmp_path / name), None, 10, Ring().parse) == []


def test_a_file_without_the_first_line_says_nothing(tmp_path: Path):
    file = tmp_path / "app.log"
    file.write_text("of another\n")
    first = Line(1, None, None, None, None, "mine")
    assert lines_before(str(file), first, 10, Ring().parse) == []


# -- levels


@pytest.fixture
def _configured() -> Iterator[None]:
    setup.configure(loglevel={"root": "info", "test.ring": "error"}, daemon=False)
    yield
    for name in ("root", "test.ring"):
        levels.release(name)
    setup.unconfigure()


@pytest.mark.usefixtures("_configured")
def test_a_level_holds_until_it_is_taken_back(logger: logging.Logger):
    logger.setLevel(logging.ERROR)
    levels.hold("test.ring", "debug")
    assert logger.level == logging.DEBUG
    levels.hold("test.ring", "warning")
    levels.release("test.ring")
    assert logger.level == logging.ERROR


@pytest.mark.usefixtures("_configured")
def test_a_reload_leaves_a_level_and_what_it_says_comes_back_after_it():
    logger = logging.getLogger("test.ring")
    levels.hold("test.ring", "DEBUG")
    levels.hold("root", 10)
    setup.configure(loglevel={"root": "critical", "test.ring": "warning"}, daemon=False)
    assert (logger.level, logging.root.level) == (logging.DEBUG, 10)
    levels.release("test.ring")
    levels.release("root")
    assert (logger.level, logging.root.level) == (logging.WARNING, logging.CRITICAL)


def test_there_has_to_be_such_a_logger_and_such_a_level(logger: logging.Logger):
    with pytest.raises(ConfigError, match=r"no logger 'test\.rung'") as refused:
        levels.hold("test.rung", "debug")
    assert refused.value.hint == "Did you mean test.ring?"
    with pytest.raises(ConfigError, match="is not a log level"):
        levels.hold("test.ring", "loud")
    assert logger.level == logging.DEBUG


def test_times_are_rfc_3339_in_utc():
    assert rfc3339(0.25) == "1970-01-01T00:00:00.250Z"
