from __future__ import annotations

import logging
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ginkgo.logs.format import LIMIT, Formatter


def record(message: object = "hello", *args: object, exc: Any = None, **more: Any) -> Any:
    made = logging.LogRecord("app", logging.INFO, "/x/service.py", 7, message, args, exc)
    made.__dict__.update(more)
    return made


def raised(error: BaseException) -> Any:
    try:
        raise error
    except BaseException:
        return sys.exc_info()


class Evil:
    def __str__(self) -> str:
        raise RuntimeError("never")

    __repr__ = __str__


class EvilError(Exception):
    __str__ = Evil.__str__
    __repr__ = Evil.__str__


def test_it_is_the_seeds_format() -> None:
    made = record("Starting up!")
    made.created, made.msecs = 1335633692.608, 608
    line = Formatter().format(made)
    stamp, rest = line[:23], line[23:]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,608", stamp)
    assert rest == "      INFO service: Starting up!"


def test_a_newline_that_ends_a_message_is_no_part_of_it() -> None:
    assert Formatter("%(message)s").format(record("one\ntwo\n")) == r"one\ntwo"


@pytest.mark.fault(142)
@given(st.text(), st.text(), st.text())
def test_one_record_is_one_line(message: str, argument: str, extra: str) -> None:
    for made in (record(message), record("%s", argument), record(message, argument)):
        made.user = extra
        line = Formatter("%(message)s %(user)s").format(made)
        assert len(line.splitlines()) <= 1
        assert "\x1b" not in line


@pytest.mark.fault(142)
@given(st.text(st.characters(codec="utf-8")))
def test_what_an_exception_says_never_begins_a_line(text: str) -> None:
    lines = Formatter().format(record("failed", exc=raised(ValueError(text)))).split("\n")
    assert lines[0].endswith("service: failed")
    assert all(line.startswith("    ") for line in lines[1:])
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", "".join(lines))


@pytest.mark.fault(142)
def test_a_forged_record_is_seen_through() -> None:
    forged = "x\n2012-04-28 17:21:32,608      INFO service: paid"
    assert Formatter().format(record("%s", forged)).count("\n") == 0
    lines = Formatter().format(record("failed", exc=raised(ValueError(forged)))).split("\n")
    assert not any(line.startswith("2012") for line in lines[1:])


def test_a_traceback_follows_indented_and_from_the_users_first_frame() -> None:
    lines = Formatter().format(record("failed", exc=raised(ValueError("x")))).split("\n")
    assert lines[1] == "    Traceback (most recent call last):"
    assert lines[2].startswith(f'      File "{__file__}"')
    assert lines[-1] == "    ValueError: x"


def test_other_handlers_do_not_get_our_form_of_the_traceback() -> None:
    made = record("failed", exc=raised(ValueError("x")))
    Formatter().format(made)
    assert made.exc_text is None
    made.exc_text = "what another formatter left there\x1b"
    assert "another formatter" not in Formatter().format(made)


def test_a_record_that_came_through_a_queue_has_its_traceback_as_text() -> None:
    line = Formatter().format(record("failed", exc_text="Traceback\nValueError: \x1b"))
    assert line.endswith("failed\n    Traceback\n    ValueError: \\x1b")


def test_a_stack_is_indented_as_well() -> None:
    line = Formatter().format(record("here", stack_info="Stack\n  File"))
    assert line.endswith("here\n    Stack\n      File")


@pytest.mark.fault(32)
def test_a_message_that_cannot_be_turned_into_text_is_told() -> None:
    assert "<Evil: its __str__ raises RuntimeError>" in Formatter().format(record(Evil()))
    line = Formatter().format(record("peer %s left", Evil()))
    assert "peer %s left [service.py:7: cannot be formatted: RuntimeError: never]" in line
    assert "EvilError" in Formatter().format(record("x", exc=raised(EvilError())))
    group = ExceptionGroup("both", [EvilError(), ValueError(EvilError())])
    assert "both (2 sub-exceptions)" in Formatter().format(record("x", exc=raised(group)))


@pytest.mark.fault(32)
@pytest.mark.parametrize("args", [("a",), ("a", "b"), (None,), ({},)])
def test_arguments_that_do_not_fit_say_where(args: tuple[object, ...]) -> None:
    made = logging.LogRecord("app", logging.INFO, "/x/service.py", 7, "%d and %d", args, None)
    line = Formatter().format(made)
    assert "%d and %d [service.py:7: cannot be formatted: TypeError" in line


@pytest.mark.fault(32)
@pytest.mark.parametrize("character", ["x", "\x1b", "\u20ac", "\U0001f600", "\ud800"])
@pytest.mark.parametrize("place", ["message", "argument", "exception", "both"])
def test_a_record_has_at_most_64_kib(character: str, place: str) -> None:
    huge = character * 5_000_000
    made = {
        "message": lambda: record(huge),
        "argument": lambda: record("it says %s", huge),
        "exception": lambda: record("failed", exc=raised(ValueError(huge))),
        "both": lambda: record(huge, exc=raised(ValueError(huge))),
    }[place]()
    line = Formatter().format(made)
    assert len((line + "\n").encode("utf-8", "backslashreplace")) <= LIMIT
    assert "cut ...]" in line
    if place in ("exception", "both"):
        assert "Traceback (most recent call last):" in line


def test_a_long_record_that_fits_is_whole() -> None:
    assert "cut" not in Formatter().format(record("x" * 60_000))


def test_a_format_with_colours_keeps_them_and_still_escapes_the_message() -> None:
    formatter = Formatter("\x1b[31m%(levelname)s\x1b[0m %(message)s")
    assert formatter.format(record("a\x1b[2Jb")) == "\x1b[31mINFO\x1b[0m a\\x1b[2Jb"


@pytest.mark.parametrize("style", ["{", "$"])
def test_other_styles_and_date_formats_work(style: Any) -> None:
    fmt = {"{": "{asctime} {message}", "$": "$asctime ${message}"}[style]
    assert re.fullmatch(r"\d\d hi", Formatter(fmt, "%d", style).format(record("hi")))


def test_a_wrong_format_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid format"):
        Formatter("%(message)")
