from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ginkgo.servers.http_fields import LONGEST_LINE, MOST_FIELDS, FieldError, Fields


def read(raw: bytes, version: str = "HTTP/1.1") -> Fields:
    """The fields of a header that has a host already."""
    return Fields.read(io.BytesIO(b"Host: x\r\n" + raw + b"\r\n"), version)


def test_fields_are_read_in_their_order():
    fields = read(b"One: 1\r\ntwo:2\r\nONE: \t one more \t\r\nempty:\r\n")
    assert fields.items[1:] == [("One", "1"), ("two", "2"), ("ONE", "one more"), ("empty", "")]
    assert fields.get("one") == fields.getheader("ONE") == "1"
    assert fields.get("three") is None
    assert fields.get("three", "3") == "3"
    assert fields.all("one") == ["1", "one more"]
    assert fields.headers[1] == "One: 1\r\n"
    assert fields.status == ""


def test_a_bare_newline_ends_a_line_too():
    assert read(b"One: 1\nTwo: 2\n").items[1:] == [("One", "1"), ("Two", "2")]


def test_what_comes_behind_the_header_is_left():
    stream = io.BytesIO(b"Host: x\r\n\r\nbody")
    Fields.read(stream, "HTTP/1.1")
    assert stream.read() == b"body"


def test_bytes_beyond_ascii_are_latin_1():
    assert read("Name: Grün\r\n".encode("latin-1")).get("name") == "Grün"


def test_a_field_can_be_taken_away():
    fields = read(b"a: 1\r\nA: 2\r\nb: 3\r\n")
    del fields["a"]
    assert fields.items[1:] == [("b", "3")] and fields.get("a") is None
    with pytest.raises(KeyError):
        del fields["a"]


def test_the_environ_leaves_out_what_could_be_mistaken():
    fields = read(b"X-User: me\r\nX_User: evil\r\nContent-Type: a/b\r\nContent-Length: 3\r\n")
    assert list(fields.environ()) == [("HTTP_HOST", "x"), ("HTTP_X_USER", "me")]
    assert fields.typeheader == "a/b"


@pytest.mark.parametrize(
    "raw",
    [
        b"no colon\r\n",
        b": no name\r\n",
        b"space : before\r\n",
        b" folded\r\n",
        b"a: 1\r\n folded\r\n",
        b"a: 1\r\n\tfolded\r\n",
        b"n\xc3\xa4me: x\r\n",
        b"na(me: x\r\n",
        b"a: \0\r\n",
        b"a: 1\rb: 2\r\n",
        b"a: " + b"x" * LONGEST_LINE + b"\r\n",
        b"a: 1\r\n" * MOST_FIELDS,
        b"Host: y\r\n",
        b"Host: x\r\n",
        b"Content-Length: x\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +1\r\n",
        b"Content-Length: 1_0\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 1, 1\r\n",
        b"Content-Length: 1\r\nContent-Length: 2\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
    ],
)
def test_what_two_servers_could_understand_differently_is_refused(raw: bytes):
    with pytest.raises(FieldError):
        read(raw)


@pytest.mark.parametrize("raw", [b"", b"Host: x\r\n", b"Host: x\r\nAccept: *"])
def test_a_header_that_is_cut_off_is_refused(raw: bytes):
    with pytest.raises(FieldError, match="cut off"):
        Fields.read(io.BytesIO(raw), "HTTP/1.1")


def test_the_same_length_twice_is_clear():
    assert read(b"Content-Length: 5\r\nContent-Length: 5\r\n").get("content-length") == "5"


def test_chunks_are_for_http_1_1():
    assert read(b"Transfer-Encoding: Chunked\r\n").get("transfer-encoding") == "Chunked"
    with pytest.raises(FieldError, match="transfer coding"):
        read(b"Transfer-Encoding: chunked\r\n", "HTTP/1.0")


def test_a_host_is_needed_since_http_1_1():
    Fields.read(io.BytesIO(b"\r\n"), "HTTP/1.0")
    with pytest.raises(FieldError, match="0 hosts"):
        Fields.read(io.BytesIO(b"\r\n"), "HTTP/1.1")


names = st.from_regex(r"[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]{0,20}", fullmatch=True)
values = st.from_regex(r"([!-~\xa1-\xff]([ -~\xa1-\xff]{0,30}[!-~\xa1-\xff])?)?", fullmatch=True)
framing = {"host", "content-length", "transfer-encoding"}


@given(st.lists(st.tuples(names, values), max_size=20))
def test_well_formed_headers_are_read_as_the_standard_library_reads_them(
    items: list[tuple[str, str]],
):
    items = [item for item in items if item[0].lower() not in framing]
    raw = b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in items)
    theirs = http.client.parse_headers(io.BytesIO(raw + b"\r\n"))
    assert read(raw).items[1:] == theirs.items()


@given(st.binary(max_size=300))
def test_nothing_but_its_own_error_is_raised(raw: bytes):
    try:
        read(raw)
    except FieldError:
        pass
