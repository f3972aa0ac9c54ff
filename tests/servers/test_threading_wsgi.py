"""The web server on threads, and the body of a request."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any
from wsgiref.validate import validator

import pytest
from flask import Flask, request

from ginkgo.async_.threading import WSGIServer
from ginkgo.async_.threading_primitives import Event
from ginkgo.core.errors import ConfigError
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


def test_a_connection_is_kept_for_many_requests(run):
    server = run(WSGIServer(LOCAL, hello))
    client = client_of(server)
    for _ in range(20):
        assert get(client, "/path?a=b") == (200, b"Hello World")
    client.close()
    server.stop()  # counted is what has been answered, a moment later
    assert (server.requests, server.accepted) == (20, 1)


def test_an_application_that_is_looked_at_closely_runs(run):
    server = run(WSGIServer(LOCAL, validator(hello)))
    client = client_of(server)
    assert get(client)[1] == b"Hello World"
    client.close()
    assert not server.failed


def test_flask_runs(run):
    app = Flask(__name__)

    @app.post("/sum")
    def total() -> dict[str, int]:
        return {"sum": sum(request.json)}

    client = client_of(run(WSGIServer(LOCAL, app)))
    status, body = get(
        client, "/sum", method="POST", body="[1, 2]", headers={"Content-Type": "application/json"}
    )
    assert (status, body) == (200, b'{"sum":3}\n')
    client.close()


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


def test_an_application_that_raises_gives_500_and_harms_nobody(run, caplog):
    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/bad":
            raise TimeoutError("of its own")
        return hello(environ, start_response)

    server = run(WSGIServer(LOCAL, application))
    client = client_of(server)
    assert get(client, "/bad")[0] == 500
    client.close()
    assert get(client)[0] == 200
    client.close()
    server.stop()
    assert server.failed == 1
    assert "the application failed at" in caplog.text


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


def test_it_speaks_https(run, authority):
    certfile, keyfile = authority.issue("localhost")
    server = run(WSGIServer(LOCAL, hello, certfile=certfile, keyfile=keyfile))
    context = ssl.create_default_context(cafile=authority.cafile)
    client = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=LIMIT)
    for _ in range(2):
        assert get(client) == (200, b"Hello World")
    client.close()


def test_an_idle_connection_is_closed_in_time(run):
    server = run(WSGIServer(LOCAL, hello, keep_alive=0.05))
    with socket.create_connection(("127.0.0.1", server.port), LIMIT) as client:
        assert client.recv(1) == b""


def test_what_is_written_to_wsgi_errors_goes_to_the_log(run, caplog):
    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["wsgi.errors"].write("odd\n")
        return hello(environ, start_response)

    client = client_of(run(WSGIServer(LOCAL, application)))
    get(client)
    client.close()
    assert "WSGIServer: odd" in caplog.text


def test_a_server_without_an_application_is_refused():
    with pytest.raises(ConfigError, match="has no application"):
        WSGIServer(":0")


# -- stopping ---------------------------------------------------------------------------------


def test_idle_kept_connections_are_closed_at_once(run):
    server = run(WSGIServer(LOCAL, hello))
    clients = [client_of(server) for _ in range(10)]
    for client in clients:
        assert get(client)[0] == 200
    time.sleep(0.1)  # they are not new any more
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 0.5
    assert server.cut == 0
    for client in clients:
        assert client.sock.recv(1) == b""
        client.close()


def test_a_request_under_way_is_answered_with_connection_close(run):
    began, may_end = Event(), Event()

    def application(environ: Any, start_response: Any) -> Iterable[bytes]:
        began.set()
        may_end.wait()
        return hello(environ, start_response)

    server = run(WSGIServer(LOCAL, application))
    client = client_of(server)
    client.request("GET", "/")
    assert began.wait(LIMIT)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    while not server.draining:
        time.sleep(0.001)
    may_end.set()
    response = client.getresponse()
    assert response.headers["Connection"] == "close"
    assert response.read() == b"Hello World"
    stopping.join()
    client.close()
    assert server.cut == 0


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
