"""How the commands print."""

import io
import json

import pytest

from ginkgo.cli.output import Output, coloured, duration, print_error
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
