"""How the commands print."""

import io
import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from ginkgo.cli import events
from ginkgo.cli.instance import for_now, state_since, trouble
from ginkgo.cli.output import Output, coloured, cut, duration, fold, print_error, span
from ginkgo.cli.texts import since
from ginkgo.core.errors import ConfigError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.9, "59.9 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (86_400, "1 d 00 h"),
        (10_000_000, "115 d 17 h"),
    ],
)
def test_a_time_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert coloured(Terminal()) is wanted
    assert coloured(io.StringIO()) is False


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [
        ("as it is", 8, "as it is"),
        ("too long", 7, "too lo\u2026"),
        ("\u6f22\u5b57\u6f22\u5b57", 8, "\u6f22\u5b57\u6f22\u5b57"),
        ("\u6f22\u5b57\u6f22\u5b57", 7, "\u6f22\u5b57\u6f22\u2026"),
        ("\u6f22\u5b57\u6f22\u5b57", 6, "\u6f22\u5b57\u2026"),
        ("e\u0301" * 8, 8, "e\u0301" * 8),
        ("too long", 1, ""),
    ],
)
def test_a_text_is_cut_at_the_columns_that_it_takes(
    text: str, room: int, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert cut(text, room) == shown
    assert span(shown) <= room


def test_a_line_is_folded_at_its_words() -> None:
    told = "  why       the database is away and so is the other one"
    assert list(fold(told, 32, 12)) == [
        "  why       the database is away",
        "            and so is the other",
        "            one",
    ]
    assert list(fold(told, None, 12)) == [told]
    assert list(fold("  log       /" + "x" * 30, 32, 12)) == [
        "  log       /" + "x" * 19,
        " " * 12 + "x" * 11,
    ]
    (*_, last) = fold("  why       " + "\u6f22" * 25, 32, 12)
    assert last == " " * 12 + "\u6f22" * 5
    narrow = "a terminal that is too narrow for it"
    assert list(fold(narrow, 13, 12)) == [narrow]


def ago(seconds: float) -> str:
    """A time as the API tells it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def test_since_is_a_time_of_the_clock_and_how_long_ago_it_was() -> None:
    moment = ago(245)
    then = datetime.fromisoformat(moment).astimezone()
    day = "" if then.date() == datetime.now().date() else f"{then:%Y-%m-%d} "
    assert re.fullmatch(rf"since {day}{then:%H:%M:%S} \(4 min 0[5-9] s\)", since(moment))
    assert re.fullmatch(r"since \d{4}-\d\d-\d\d [\d:]{8} \(10 d 00 h\)", since(ago(864_001)))
    assert re.fullmatch(r"since [\d: -]+ \(0\.0 s\)", since(ago(-60)))  # a clock that was put back
    assert since(None) == since("nonsense") == ""


@pytest.mark.parametrize(("state", "word"), [("failed", "down "), ("starting", ""), ("ready", "")])
def test_what_is_wrong_is_told_with_since_when(state: str, word: str) -> None:
    one = {"path": "App/Db", "state": state, "since": ago(245), "why": "App/Db: it broke"}
    assert re.fullmatch(
        rf"App/Db  {state}  {word}since [\d: -]+ \(4 min \d\d s\)  it broke", trouble(one)
    )
    assert trouble(one | {"since": None}) == f"App/Db  {state}  it broke"


def test_since_when_a_state_is_told_where_it_is_not_the_one_to_be_in() -> None:
    told = state_since({"state": "degraded", "since": ago(245)})
    assert re.fullmatch(r"degraded since [\d: -]+ \(4 min \d\d s\)", told)
    assert state_since({"state": "ready", "since": ago(245)}) == ""
    assert state_since({"state": "degraded"}) == ""


def test_what_is_changed_for_now_is_told_with_what_comes_after_it() -> None:
    change = {"what": "set", "name": "rate", "value": 2, "until": "T1", "back_to": 1}
    assert for_now([change | {"back_until": "T2"}]) == "set rate 2 until T1, then 1 until T2"
    assert for_now([change | {"until": None, "back_to": None}]) == "set rate 2"
    assert for_now([{"what": "set", "name": "rate", "until": "T1"}]) == "set rate until T1"


def test_an_event_is_cut_and_what_somebody_did_is_told_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "columns", lambda: 60)
    by = "uid 0 (pid 4711, ginkgoctl)"
    event = {
        "time": "2026-11-24T12:00:00Z",
        "path": "App",
        "state": "ready",
        "text": f"set: rate is 180 for 600 s, it was 60; by {by}",
    }
    assert len(events.line(event)) <= 60
    told = events.line({**event, "by": by}).split("\n")
    assert len(told) == 2 and all(len(each) <= 60 for each in told)
    assert told[0].endswith("set: rate is 180 for 600 s, it was")
    assert told[1] == f"    60; by {by}"


def test_an_error_is_what_happened_and_then_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("ginkgo", ConfigError("app.conf.py:3: no", hint="mend it"))
    assert capsys.readouterr().err == "ginkgo: app.conf.py:3: no\nmend it\n"


@pytest.mark.fault(143)
def test_an_error_drives_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("ginkgo", ConfigError("\x1b]52;c;evil\x07"))
    assert "\x1b" not in capsys.readouterr().err


def test_json_is_one_object_and_remarks_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(as_json=True)
    out.say("on the way")
    out.result({"schema": "x/1", "name": "ü\x1b"}, "for people")
    printed, remarks = capsys.readouterr()
    assert json.loads(printed) == {"schema": "x/1", "name": "ü\x1b"}
    assert printed.isascii()
    assert json.loads(remarks)["note"] == "on the way"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.say("on the way")
    out.result({}, "for people")
    assert capsys.readouterr() == ("", "")
