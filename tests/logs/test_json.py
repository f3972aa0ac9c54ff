"""A log of JSON lines: one record is one line, whatever is in it."""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ginkgo.core.context import context
from ginkgo.core.errors import ConfigError
from ginkgo.core.service import Service
from ginkgo.logs import hiding, setup
from ginkgo.logs.build import formatter_of
from ginkgo.logs.format import LIMIT
from ginkgo.logs.json_format import JsonLines


def record(message: object, *args: object, level: int = logging.INFO, **extra: Any) -> Any:
    made = logging.LogRecord("app.db", level, "db.py", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def data_of(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonLines().format(made)
    assert "\n" not in line
    assert line.isascii()
    assert len(line) < LIMIT
    data = json.loads(line, parse_constant=pytest.fail)
    assert isinstance(data, dict)
    return data


def test_a_line_has_the_fields_that_are_known() -> None:
    made = record("gone: %s", "db", level=logging.ERROR)
    made.created = 1_000_000_000.25
    assert data_of(made) == {
        "ts": "2001-09-09T01:46:40.250Z",
        "level": "ERROR",
        "logger": "app.db",
        "msg": "gone: db",
    }


def test_the_service_is_the_one_that_the_message_begins_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class App(Service):
        pass

    monkeypatch.setattr(context, "root", App())
    assert data_of(record("App/Db: gone"))["service"] == "App/Db"
    assert data_of(record("App/Db is gone"))["service"] == "App/Db"
    assert "service" not in data_of(record("Error: gone"))
    assert data_of(record("gone", service="App/Other"))["service"] == "App/Other"


def test_what_comes_along_is_a_field_of_its_own() -> None:
    data = data_of(record("x", user={"id": 3}, ratio=0.5, trace_id="abc", ts="mine"))
    assert data["user"] == {"id": 3}
    assert (data["ratio"], data["trace_id"]) == (0.5, "abc")
    assert data["extra_ts"] == "mine"


def test_a_thread_is_told_and_a_task() -> None:
    assert data_of(record("x", taskName="Task-3"))["task"] == "Task-3"
    lines: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: lines.append(data_of(record("x"))), name="worker-1")
    thread.start()
    thread.join()
    assert lines[0]["thread"] == "worker-1"


def test_a_traceback_is_in_the_line() -> None:
    try:
        raise OSError("no\ndatabase")
    except OSError:
        data = data_of(record("failed", exc_info=sys.exc_info()))
    assert data["error"].startswith("Traceback (most recent call last):\n")
    assert data["error"].endswith("OSError: no\ndatabase")


class Evil:
    def __str__(self) -> str:
        raise ValueError("never")

    __repr__ = __str__


@pytest.mark.fault(32)
def test_what_raises_costs_its_own_field() -> None:
    circle: list[object] = []
    circle.append(circle)
    data = data_of(record("x", evil=Evil(), circle=circle, nan=float("nan"), raw=b"\xff"))
    assert data["msg"] == "x"
    assert data["nan"] == "nan"
    assert {"evil", "circle", "raw"} <= set(data)
    assert "cannot be formatted" in data_of(record("%s", Evil()))["msg"]


@pytest.mark.fault(32)
@pytest.mark.parametrize("text", ["a" * 50_000_000, "\u202e" * 200_000, "\U0001f600" * 200_000])
def test_a_long_text_is_cut_in_the_middle(text: str) -> None:
    data = data_of(record("%s", text, other=text[:100_000]))
    assert "characters cut" in data["msg"]


@pytest.mark.fault(32)
def test_very_many_fields_are_left_out() -> None:
    data = data_of(record("x", **{f"field{each}": "y" * 50 for each in range(5_000)}))
    assert data["cut"] is True
    assert data["msg"] == "x"


@pytest.mark.fault(117)
def test_no_secret_is_in_it() -> None:
    hiding.learn(["canary"])
    try:
        try:
            raise OSError("canary")
        except OSError:
            made = record("a canary", exc_info=sys.exc_info(), where={"in": ["canary"]})
        assert "canary" not in JsonLines().format(made)
    finally:
        hiding.forget()


@pytest.mark.fault(142)
@given(st.text(), st.dictionaries(st.text(min_size=1), st.text() | st.floats() | st.binary()))
def test_one_record_is_one_line(text: str, extra: dict[str, Any]) -> None:
    known = logging.makeLogRecord({}).__dict__
    safe = {name: value for name, value in extra.items() if name not in known}
    assert data_of(record("%s", text, **{f"x{name}": value for name, value in safe.items()}))


def test_a_process_logs_json_when_it_is_told_to(capfd: pytest.CaptureFixture[str]) -> None:
    setup.configure(None, None, "info", daemon=False, logformat="json")
    logging.getLogger("app").info("one\ntwo")
    setup.configure(None, None, "info", daemon=False, logformat="text")
    logging.getLogger("app").info("three")
    first, second = capfd.readouterr().err.splitlines()
    assert json.loads(first)["msg"] == "one\ntwo"
    assert second.endswith("INFO test_json: three")


def test_without_the_package_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ginkgo.logs.json_format", None)
    monkeypatch.setitem(sys.modules, "pythonjsonlogger", None)
    monkeypatch.delitem(sys.modules, "ginkgo.logs.json_format")
    for name in [each for each in sys.modules if each.startswith("pythonjsonlogger.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ConfigError, match="python-json-logger is not installed") as caught:
        formatter_of("json")
    assert 'pip install "ginkgo[json]"' in str(caught.value.hint)
