from __future__ import annotations

import datetime
import enum
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from ginkgo.config.types import Mismatch, accept, describe, parse, type_name


class Mode(enum.Enum):
    FAST = "fast"
    SAFE = "safe"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    A = "x"
    B = 1


class Point(msgspec.Struct):
    x: int


class Own:
    pass


OWN = Own()
Positive = Annotated[int, msgspec.Meta(gt=0)]

ACCEPTED = [
    (5, int, 5),
    (5.0, int, 5),
    (10**30, int, 10**30),
    (5, float, 5.0),
    (5.5, float, 5.5),
    (True, bool, True),
    ("a", str, "a"),
    (None, int | None, None),
    (5.0, int | None, 5),
    ("5", int | str, "5"),
    ([1, 2], list[int], [1, 2]),
    ((1, 2), list[int], [1, 2]),
    ([1, 2], tuple[int, int], (1, 2)),
    ([1, 2], tuple, (1, 2)),
    ({1, 2}, set[int], {1, 2}),
    ({"a": 1}, dict[str, int], {"a": 1}),
    ({"a": OWN}, str | dict[str, Any] | None, {"a": OWN}),
    ("fast", Mode, Mode.FAST),
    (Mode.SAFE, Mode, Mode.SAFE),
    (2, Level, Level.HIGH),
    ("x", Mixed, Mixed.A),
    (["fast"], list[Mode], [Mode.FAST]),
    ("/tmp", Path, Path("/tmp")),
    ("2026-12-31", datetime.date, datetime.date(2026, 12, 31)),
    (b"x", bytes, b"x"),
    (1, Positive, 1),
    ("a", Literal["a", "b"], "a"),
    (OWN, Own, OWN),
    (Own, type[Own], Own),
    (len, Callable[[str], int], len),
    ({"x": 1}, Point, Point(1)),
    (OWN, Any, OWN),
    (OWN, object, OWN),
]

REFUSED = [
    ("5", int, "s must be a whole number (int), not '5' (str)"),
    (5.5, int, "s must be a whole number (int), not 5.5 (float)"),
    (True, int, "s must be a whole number (int), not True (bool)"),
    (True, float, "s must be a number (float), not True (bool)"),
    (
        10**400,
        float,
        "s must be a number (float), not 1" + "0" * 116 + "... (int); it is too large",
    ),
    (1, bool, "s must be True or False (bool), not 1 (int)"),
    ("false", bool, "s must be True or False (bool), not 'false' (str)"),
    (5, str, "s must be text (str), not 5 (int)"),
    (None, str, "s must be text (str), not None"),
    (5, str | None, "s must be text (str) or None, not 5 (int)"),
    ("eA==", bytes, "s must be bytes, not 'eA==' (str)"),
    ([1, "a"], list[int], "s[1] must be int, not str"),
    (5, list[int], "s must be list[int], not 5 (int)"),
    ({"a": "b"}, dict[str, int], "s[...] must be int, not str"),
    ("slow", Mode, "s must be one of 'fast', 'safe', not 'slow' (str)"),
    (3, Level, "s must be one of 1, 2, not 3 (int)"),
    (["slow"], list[Mode], "s[0] must be one of the values that are allowed there"),
    ("c", Literal["a", "b"], "s must be one of 'a', 'b', not 'c' (str)"),
    (0, Positive, "s must be int >= 1, not 0 (int)"),
    ([5, 0], list[Positive], "s[1] must be int >= 1"),
    (5, Path, "s must be a path, not 5 (int)"),
    ("soon", datetime.date, "s must be a date such as 2026-12-31, not 'soon' (str)"),
    (5, Callable[[str], int], "s must be collections.abc.Callable[[str], int], not 5 (int)"),
    (OWN.__class__, Own, "s must be Own, not <class 'test_types.Own'> (type)"),
    ({}, Point, "s must be Point, not {} (dict); Object missing required field x"),
]

PARSED = [
    ("180", int, 180),
    ("0o22", int, 18),
    ("1_000", int, 1000),
    ("-5", int, -5),
    ("1e3", float, 1000.0),
    ("inf", float, float("inf")),
    *((text, bool, True) for text in ("true", "True", "yes", "on", "1", " 1 ")),
    *((text, bool, False) for text in ("false", "FALSE", "no", "off", "0")),
    ("", str, ""),
    ("none", str, "none"),
    ("", str | None, None),
    ("none", str | None, "none"),
    ("", int | None, None),
    ("None", int | None, None),
    ("1000", str | int | None, 1000),
    ("www", str | int | None, "www"),
    ("a, b", list[str], ["a", "b"]),
    ("1,2", list[int], [1, 2]),
    ("", list[int], []),
    ("1,2", tuple[int, ...], (1, 2)),
    ("a,b,a", set[str], {"a", "b"}),
    ("[1, 2]", list, [1, 2]),
    ('["h", 1]', tuple[str, int], ("h", 1)),
    ('{"1": 2}', dict[int, int], {1: 2}),
    ('{"x": 1}', Point, Point(1)),
    ("fast", Mode, Mode.FAST),
    ("SAFE", Mode, Mode.SAFE),
    ("2", Level, Level.HIGH),
    ("HIGH", Level, Level.HIGH),
    ("b", Literal["a", "b"], "b"),
    ("2", Literal[1, 2], 2),
    ("/tmp", Path, Path("/tmp")),
    ("2026-12-31", datetime.date, datetime.date(2026, 12, 31)),
    ("x", bytes, b"x"),
    ("5", Positive, 5),
    ("5", Any, "5"),
]

MISREAD = [
    ("fast", int, "s must be a whole number, not 'fast'"),
    ("", int, "s must be a whole number, not ''"),
    ("022", int, "s must be a whole number, not '022'; octal is written 0o22"),
    ("1.5", int, "s must be a whole number, not '1.5'"),
    ("nan", float, "s must be a number, not 'nan'"),
    ("maybe", bool, "s must be true or false, not 'maybe'"),
    ("x", int | float, "s must be a whole number (int) or a number (float), not 'x'"),
    ("1,x", list[int], "s must be a whole number, not '1,x'"),
    ("1,2", list, "s must be a list, not '1,2'; write it as JSON, such as [1, 2]"),
    ("a=1", dict, "s must be a dict, not 'a=1'; write it as JSON, such as {\"a\": 1}"),
    ("[1,", list[int], "s must be list[int], not '[1,'; it is not JSON: Input data was truncated"),
    ('["a"]', list[int], "s[0] must be int, not str"),
    ("slow", Mode, "s must be one of 'fast', 'safe', not 'slow'"),
    ("c", Literal["a", "b"], "s must be one of 'a', 'b', not 'c'"),
    ("0", Positive, "s must be int >= 1, not '0'"),
    ("x", Own, "s must be Own, not 'x'"),
]


@pytest.mark.parametrize(("value", "wanted", "result"), ACCEPTED)
def test_a_value_of_the_type_is_accepted(value: Any, wanted: Any, result: Any) -> None:
    accepted = accept(value, wanted)
    assert accepted == result
    assert type(accepted) is type(result)


@pytest.mark.parametrize(("value", "wanted", "told"), REFUSED)
def test_a_value_of_another_type_is_refused_and_never_cast(
    value: Any, wanted: Any, told: str
) -> None:
    with pytest.raises(Mismatch) as caught:
        accept(value, wanted)
    # Under pytest this module is not called what it is called elsewhere.
    said = caught.value.explain("s", value, secret=False).replace(f"{__name__}.", "test_types.")
    assert said == told
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(("text", "wanted", "result"), PARSED)
def test_text_is_read_as_the_type_says(text: str, wanted: Any, result: Any) -> None:
    parsed = parse(text, wanted)
    assert parsed == result
    assert type(parsed) is type(result)


@pytest.mark.parametrize(("text", "wanted", "told"), MISREAD)
def test_text_that_does_not_say_anything_of_the_type_is_refused(
    text: str, wanted: Any, told: str
) -> None:
    with pytest.raises(Mismatch) as caught:
        parse(text, wanted)
    assert caught.value.explain("s", text, secret=False, text=True) == told


@pytest.mark.fault(117)
@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("canary", int),
        ("canary", Mode),
        (["canary"], list[Mode]),
        ({"canary": 1}, Point),
        (["canary"], Annotated[list[str], msgspec.Meta(max_length=0)]),
    ],
)
def test_a_secret_value_is_in_no_explanation(value: Any, wanted: Any) -> None:
    with pytest.raises(Mismatch) as caught:
        accept(value, wanted)
    assert "canary" not in caught.value.explain("s", value, secret=True)


@pytest.mark.fault(117)
@pytest.mark.parametrize(
    ("text", "wanted"), [("0123", int), ("[0123", list[int]), ('{"0123": 1}', Point)]
)
def test_a_secret_text_is_in_no_explanation(text: str, wanted: Any) -> None:
    with pytest.raises(Mismatch) as caught:
        parse(text, wanted)
    assert "123" not in caught.value.explain("s", text, secret=True, text=True)


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (int, "int"),
        (type(None), "None"),
        (int | None, "int | None"),
        (typing.Optional[int], "int | None"),  # noqa: UP045 - as older code has it
        (list[int], "list[int]"),
        (dict[str, Any], "dict[str, Any]"),
        (Any, "Any"),
    ],
)
def test_a_type_is_written_as_in_an_annotation(wanted: Any, name: str) -> None:
    assert type_name(wanted) == name
    assert describe(wanted)
