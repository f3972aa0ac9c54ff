"""Whatever bytes come, the control server answers with one error or closes, and goes on."""

import contextlib
import json
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.control.conftest import Serve
from tests.control.harness import Served

from ginkgo.control.connection import Limits

bounded = settings(
    max_examples=400,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

names = st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"Expect", b"Upgrade"]
)
values = st.one_of(
    st.sampled_from([b"a", b"0", b"-1", b"99999999999999999999", b"chunked", b"100-continue"]),
    st.binary(max_size=20),
)
headers = st.lists(
    st.tuples(st.one_of(names, st.binary(max_size=8)), values).map(lambda pair: b": ".join(pair)),
    max_size=6,
)
requests = st.builds(
    lambda method, target, version, lines, body: b"\r\n".join(
        [b" ".join([method, target, version]), *lines, b"", body]
    ),
    st.one_of(st.sampled_from([b"GET", b"HEAD", b"POST", b"CONNECT"]), st.binary(max_size=6)),
    st.one_of(
        st.sampled_from([b"/api/v1/status", b"/api/v1/tree", b"/api/v1/stop", b"*", b"http://["]),
        st.binary(max_size=30),
    ),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b""]),
    headers,
    st.binary(max_size=60),
)


def exchange(served: Served, data: bytes) -> bytes:
    """Send bytes and an end of file; return everything that comes back until the server closes."""
    with served.client() as client:
        # Cut off while sending: the answer says why.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(data)
            client.sock.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.sock.recv(65536):
                answer += part
        return answer


@pytest.mark.fault(104)
@given(data=st.one_of(st.binary(max_size=300), requests, st.lists(requests).map(b"".join)))
@bounded
def test_any_bytes(served: Served, data: bytes) -> None:
    answer = exchange(served, data)
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert served.reports == []
    assert served.json("GET /api/v1/status")[0] == 200


@pytest.mark.fault(104)
@given(body=st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,0e-.NaN tf', max_size=60)))
@bounded
def test_any_body(served: Served, body: bytes | str) -> None:
    body = body.encode() if isinstance(body, str) else body
    status = served.json("POST /api/v1/stop", body)[0]
    assert status in (202, 400)
    if status == 202 and body.strip():
        assert isinstance(json.loads(body), dict)
    assert served.reports == []


CORPUS = {
    "a frame of another protocol": b"\xff\xff\xff\xff{}",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "zeros": b"\0" * 100_000,
    "lines": b"\r\n" * 50_000,
    "no end": b"GET /" + b"a" * 100_000,
    "smuggling": b"POST /api/v1/stop HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /api/v1/status HTTP/1.1\r\n\r\n",
    "a header split": b"GET /nothing HTTP/1.1\r\nHost: a\r\nX: a\n b\r\n\r\n",
}


@pytest.mark.fault(104)
@pytest.mark.parametrize("data", CORPUS.values(), ids=CORPUS)
def test_known_nuisances(served: Served, data: bytes) -> None:
    answer = exchange(served, data)
    assert answer[9:12] in (b"", b"400", b"404", b"415", b"431", b"501"), answer
    assert served.json("GET /api/v1/status")[0] == 200
    assert served.instance.stops == 0


@pytest.mark.fault(106)
def test_a_request_in_single_bytes_is_a_request(serve: Serve, tmp_path: Path) -> None:
    served = serve(tmp_path, limits=Limits(request_time=20))
    with served.client() as client:
        for byte in b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\n\r\n":
            client.send(bytes([byte]))
        assert client.read()[0] == 200
