"""The web server on threads, and the body of a request."""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Iterable
from typing import Any

import pytest

from ginkgo.async_.threading import WSGIServer
from ginkgo.servers.http_body import Body, BodyError

LOCAL = ("127.0.0.1", 0)
LIMIT = 10.0  # seconds


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello World"]


def echo(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read()]


def client_of(server: WSGIServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT)


def get(client: http.client.HTTPConnection, path: str = "/", **more: Any) -> tuple[int, bytes]:
    client.request(more.pop("method", "GET"), path, **more)
    response = client.getresponse()
    return response.status, response.read()


def answer_to(server: WSGIServer, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as client:
        client.sendall(raw)
        got = b""
        while piece := client.recv(65536):
            got += piece
    return got


def test_bodies_come_by_length_and_in_chunks(run):
    client = client_of(run(WSGIServer(LOCAL, echo)))
    assert get(client, method="POST", body=b"x" * 100_000)[1] == b"x" * 100_000
    pieces = [b"one", b"two" * 1000]
    assert get(client, method="POST", body=iter(pieces), encode_chunked=True)[1] == b"".join(pieces)
    assert get(client, method="POST")[1] == b""
    client.close()


def test_a_body_that_nobody_reads_does_not_become_the_next_request(run):
    client = client_of(run(WSGIServer(LOCAL, hello)))
    for _ in range(3):
        assert get(client, method="POST", body=b"GET / HTTP/1.1\r\n\r\n")[0] == 200
    client.close()


def test_a_client_that_asks_first_is_told_to_go_on(run):
    server = run(WSGIServer(LOCAL, echo))
    got = answer_to(
        server,
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
        b"Expect: 100-continue\r\n\r\nhi",
    )
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert got.endswith(b"hi")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_of_unknown_length_arrives_whole(run, version: str):
    def pieces(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"a" * 70_000
        yield b""
        yield b"b"

    server = run(WSGIServer(LOCAL, pieces))
    raw = f"GET / HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    head, _, body = answer_to(server, raw).partition(b"\r\n\r\n")
    assert (b"chunked" in head) is (version == "1.1")
    if version == "1.1":
        assert body == b"11170\r\n" + b"a" * 70_000 + b"\r\n1\r\nb\r\n0\r\n\r\n"
    else:
        assert body == b"a" * 70_000 + b"b"


def test_the_answer_to_head_and_one_without_content_have_no_body(run):
    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        empty = environ["PATH_INFO"] == "/empty"
        start_response("204 No Content" if empty else "200 OK", [])
        return [] if empty else [b"text"]

    client = client_of(run(WSGIServer(LOCAL, application)))
    assert get(client, method="HEAD") == (200, b"")
    assert get(client, "/empty") == (204, b"")
    assert get(client) == (200, b"text")
    client.close()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505"),
        (b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    ],
)
def test_a_request_that_cannot_be_understood_is_refused(run, raw: bytes, status: bytes):
    server = run(WSGIServer(LOCAL, echo))
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as client:
        client.sendall(raw)
        assert client.recv(100).split()[1] == status
    assert not server.failed


def test_an_answer_cannot_be_split(run):
    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("X", "a\r\nSet-Cookie: b")])
        return []

    server = run(WSGIServer(LOCAL, application))
    client = client_of(server)
    assert get(client)[0] == 500
    client.close()


def test_an_idle_connection_is_closed_in_time(run):
    server = run(WSGIServer(LOCAL, hello, keep_alive=0.05))
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as client:
        assert client.recv(1) == b""


# -- stopping ---------------------------------------------------------------------------------


# -- the body ---------------------------------------------------------------------------------


def chunks(raw: bytes) -> Body:
    return Body(io.BytesIO(raw), length=0, chunked=True, before=None)


def test_a_body_is_read_like_a_file():
    for body in (
        Body(io.BytesIO(b"one\ntwo\nthreeBEHIND"), length=13, chunked=False, before=None),
        chunks(b"5\r\none\nt\r\n8;x=y\r\nwo\nthree\r\n0\r\nA: b\r\n\r\nBEHIND"),
    ):
        assert body.readline(2) == b"on"
        assert body.readline() == b"e\n"
        assert body.read(3) == b"two"
        assert list(body) == [b"\n", b"three"]
        assert body.read() == body.readline() == b""
        assert body.skip()
        assert body._stream.read() == b"BEHIND"


@pytest.mark.parametrize(
    "raw", [b"", b"x\r\n", b"-1\r\n", b"5\r\nab", b"2\r\nabc\r\n0\r\n\r\n", b"0\r\nA: b"]
)
def test_chunks_that_are_none_are_an_error(raw: bytes):
    with pytest.raises(BodyError):
        chunks(raw).read()
