from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ginkgo.logs.escape import escape, escape_lines

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROLS = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    "\u2028",
    "\u2029",
    *BIDI,
]


@pytest.mark.fault(142)
@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: f"U+{ord(c):04X}")
def test_a_control_character_is_spelled_out(control: str) -> None:
    assert escape(f"a{control}b").isprintable()
    assert escape(f"a{control}b") == "a" + control.encode("unicode_escape").decode() + "b"


@pytest.mark.fault(142)
@given(st.text())
def test_what_comes_out_is_one_line_without_controls(text: str) -> None:
    line = escape(text)
    assert line.splitlines() in ([line], [])
    assert not any(unicodedata.category(c) == "Cc" or c in BIDI for c in line)


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_text_for_people_stays_as_it_is(text: str) -> None:
    assert escape(text) == text
    assert escape(text + " \\n " + text) == text + " \\n " + text


def test_lines_keep_their_newlines_and_tabs_and_nothing_else() -> None:
    assert escape_lines("a\n\tb\r\x1b[31m\u2028") == "a\n\tb\\r\\x1b[31m\\u2028"
