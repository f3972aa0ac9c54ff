from __future__ import annotations

import http.client
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import pytest
from gevent import pywsgi
from gevent.event import Event
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers.conftest import open_socket

from ginkgo.core.service import Service
from ginkgo.servers.wsgi import WSGIServer

LOCAL = ("127.0.0.1", 0)
Environ = dict[str, Any]
Start = Callable[..., Any]


def hello(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello World"]


class Client(http.client.HTTPConnection):
    """A client of a server of this process: its socket is gevent's."""

    def __init__(self, server: WSGIServer, raw: Any = None) -> None:
        super().__init__("127.0.0.1")
        self.sock = raw or open_socket(server.address.path or ("127.0.0.1", server.port or 0))
        self.sock.settimeout(10)
        self.auto_open = 0

    def ask(self, path: str = "/", method: str = "GET", **more: Any) -> http.client.HTTPResponse:
        self.request(method, path, **more)
        return self.getresponse()

    def get(self, path: str = "/", method: str = "GET", **more: Any) -> bytes:
        return self.ask(path, method, **more).read()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def answer_to(server: WSGIServer, raw: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    with open_socket(("127.0.0.1", server.port or 0)) as client:
        client.settimeout(10)
        client.sendall(raw)
        got = b""
        try:
            while piece := client.recv(65536):
                got += piece
        except ConnectionResetError:
            pass
    return got


def test_an_application_is_served(run: Any):
    server = run(WSGIServer(LOCAL, hello))
    with Client(server) as client:
        response = client.ask("/path?a=b")
        assert (response.status, response.reason) == (200, "OK")
        assert response.headers["Content-Type"] == "text/plain"
        assert response.headers["Content-Length"] == "11"
        assert response.read() == b"Hello World"
    assert server.requests == 1


def test_the_seeds_web_server_runs(run: Any):
    class HelloWorldWebServer(Service):
        def __init__(self) -> None:
            self.server = self.add_service(WSGIServer(("127.0.0.1", 0), self.handle))

        def handle(self, environ: Environ, start_response: Start) -> Any:
            start_response("200 OK", [("Content-Type", "text/html")])
            return [b"<strong>Hello World</strong>"]

    app = run(HelloWorldWebServer())
    with Client(app.server) as client:
        assert client.get() == b"<strong>Hello World</strong>"


def environ_of(run: Any, raw: bytes, **more: Any) -> Environ:
    seen: list[Environ] = []

    def look(environ: Environ, start_response: Start) -> Iterable[bytes]:
        environ["body"] = environ["wsgi.input"].read()
        seen.append(environ)
        return hello(environ, start_response)

    answer_to(run(WSGIServer(LOCAL, look, **more)), raw)
    [environ] = seen
    return environ


def test_the_environ_is_what_the_standard_asks_for(run: Any):
    environ = environ_of(
        run,
        b"POST /a%20b/?c=d%20e HTTP/1.1\r\nHost: example.org\r\nX-One: 1\r\nx-one: 2\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
    )
    assert environ["REQUEST_METHOD"] == "POST"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["PATH_INFO"] == "/a b/"
    assert environ["QUERY_STRING"] == "c=d%20e"
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["CONTENT_LENGTH"] == "4"
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["SERVER_PORT"].isdigit()
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["HTTP_HOST"] == "example.org"
    assert environ["HTTP_X_ONE"] == "1,2"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["REMOTE_PORT"].isdigit()
    assert environ["wsgi.version"] == (1, 0)
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["wsgi.multithread"] is True
    assert environ["wsgi.multiprocess"] is False
    assert environ["wsgi.run_once"] is False
    assert environ["body"] == b"body"
    assert "HTTP_CONTENT_LENGTH" not in environ and "HTTP_CONTENT_TYPE" not in environ


def test_more_can_be_put_into_the_environ(run: Any):
    environ = environ_of(
        run, b"GET / HTTP/1.0\r\n\r\n", environ={"app.name": "mine", "SERVER_NAME": "public"}
    )
    assert environ["app.name"] == "mine"
    assert environ["SERVER_NAME"] == "public"


def test_no_name_is_looked_up_at_the_start(run: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gevent.socket.getfqdn", None)
    server = run(WSGIServer(":0", hello))
    with Client(server) as client:
        assert client.get() == b"Hello World"


def test_it_listens_on_a_unix_socket(run: Any, tmp_path: Path):
    environs: list[Environ] = []

    def look(environ: Environ, start_response: Start) -> Iterable[bytes]:
        environs.append(environ)
        return hello(environ, start_response)

    server = run(WSGIServer(f"unix:{tmp_path / 'web'}", look))
    with Client(server) as client:
        assert client.get() == b"Hello World"
    assert (environs[0]["SERVER_NAME"], environs[0]["SERVER_PORT"]) == ("localhost", "80")


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, 65536, 65537, 3_000_000])
def test_answers_of_every_size_arrive_whole(run: Any, size: int):
    def big(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(size))])
        return [b"x" * size]

    with Client(run(WSGIServer(LOCAL, big))) as client:
        for _ in range(2):
            assert client.get() == b"x" * size


def test_the_old_write_function_works(run: Any):
    def writing(environ: Environ, start_response: Start) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Length", "6")])
        write(b"abc")
        return [b"def"]

    with Client(run(WSGIServer(LOCAL, writing))) as client:
        assert client.get() == client.get() == b"abcdef"


def test_an_answer_without_a_body_is_sent(run: Any):
    def empty(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("204 No Content", [])
        return []

    with Client(run(WSGIServer(LOCAL, empty))) as client:
        for _ in range(3):
            response = client.ask()
            assert (response.status, response.read()) == (204, b"")


def test_a_kept_connection_does_not_wait_for_acknowledgements(run: Any):
    def two_pieces(environ: Environ, start_response: Start) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Length", "6")])
        write(b"abc")
        write(b"def")
        return []

    times = []
    with Client(run(WSGIServer(LOCAL, two_pieces))) as client:
        for _ in range(10):
            began = time.monotonic()
            client.get()
            times.append(time.monotonic() - began)
    assert min(times[1:]) < 0.03  # a delayed acknowledgement takes 0.04


# -- errors --------------------------------------------------------------------------------------


class Unlucky(Exception):
    pass


def unlucky(environ: Environ, start_response: Start) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/late":
        start_response("200 OK", [])(b"something")
    if environ["PATH_INFO"] != "/":
        raise Unlucky("no luck")
    return hello(environ, start_response)


def test_an_application_that_raises_gives_500_and_harms_nobody(
    run: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    server = run(WSGIServer(LOCAL, unlucky))
    with Client(server) as good, Client(server) as bad:
        assert good.get() == b"Hello World"
        response = bad.ask("/fail")
        assert (response.status, response.read()) == (500, b"Internal Server Error")
        assert good.get() == b"Hello World"
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage().startswith(
        'WSGIServer: the application failed at "GET /fail HTTP/1.1" of 127.0.0.1:'
    )
    assert record.getMessage().endswith(": Unlucky: no luck")
    assert record.exc_info is not None and record.exc_info[2] is not None
    assert record.exc_info[2].tb_frame.f_code.co_name == "unlucky"
    assert (server.failed, server.requests, server.lost) == (1, 3, 0)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), gevent.Timeout(5)])
def test_nothing_that_an_application_raises_ends_the_server(run: Any, error: BaseException):
    def application(environ: Environ, start_response: Start) -> Iterable[bytes]:
        raise error

    server = run(WSGIServer(LOCAL, application))
    with Client(server) as client:
        assert client.ask().status == 500
    assert server.ready


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / NOTHTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nNo field\r\n\r\n",
        b"\0\1\2\3\r\n\r\n",
    ],
)
def test_a_request_that_cannot_be_understood_gives_400(
    run: Any,
    raw: bytes,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    server = run(WSGIServer(LOCAL, hello))
    assert answer_to(server, raw).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert capfd.readouterr().err == ""
    assert answer_to(server, b"GET / HTTP/1.0\r\n\r\n").endswith(b"Hello World")


def test_a_line_that_is_too_long_gives_414(run: Any):
    server = run(WSGIServer(LOCAL, hello))
    assert b" 414 " in answer_to(server, b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n")


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=200))
def test_no_bytes_whatever_upset_the_server(garbage_server: WSGIServer, data: bytes):
    with open_socket(("127.0.0.1", garbage_server.port or 0)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + data)
    gevent.sleep(0)
    assert garbage_server.ready


@pytest.fixture
def garbage_server(run: Any, capfd: pytest.CaptureFixture[str]) -> Any:
    server = run(WSGIServer(LOCAL, hello))
    yield server
    with Client(server) as client:
        assert client.get() == b"Hello World"
    assert server.failed == 0
    assert capfd.readouterr().err == ""


@pytest.mark.fault(50)
def test_a_client_that_goes_away_is_no_failure(
    run: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    gone = gevent.event.Event()

    def slow(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        gone.wait()
        for _ in range(100):
            yield b"x" * 10_000

    server = run(WSGIServer(LOCAL, slow))
    client = Client(server)
    client.request("GET", "/")
    gevent.sleep(0.01)
    client.close()
    gone.set()
    while server.active:
        gevent.sleep(0.001)
    half = open_socket(("127.0.0.1", server.port))
    half.sendall(b"GET / HTTP/1.1\r\nHost:")
    half.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: the close is a reset
    gevent.sleep(0.01)
    half.close()
    while server.active:
        gevent.sleep(0.001)
    assert server.failed == 0
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert capfd.readouterr().err == ""


# -- the log of requests -------------------------------------------------------------------------


def test_requests_are_not_logged_unless_asked_for(run: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with Client(run(WSGIServer(LOCAL, hello))) as client:
        client.get()
    assert not caplog.records


def test_requests_are_logged_when_asked_for(run: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "ginkgo.servers.wsgi.access")
    with Client(run(WSGIServer(LOCAL, hello, access_log=True))) as client:
        client.get("/path")
    [record] = caplog.records
    assert record.name == "ginkgo.servers.wsgi.access"
    peer, rest = record.getMessage().split(" ", 1)
    assert peer.startswith("127.0.0.1:")
    assert rest.startswith('"GET /path HTTP/1.1" 200 ')
    assert 0 <= float(rest.split()[-1]) < 5


# -- fairness ------------------------------------------------------------------------------------


def test_a_connection_with_requests_without_end_lets_others_have_their_turn(run: Any):
    served: list[str] = []
    gate = Event()

    def application(environ: Environ, start_response: Start) -> Iterable[bytes]:
        served.append(environ["PATH_INFO"])
        gate.wait()
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    server = run(WSGIServer(LOCAL, application))
    address = ("127.0.0.1", server.port)
    with open_socket(address) as greedy, open_socket(address) as other:
        greedy.sendall(b"GET /greedy HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        while not served:
            gevent.sleep(0)
        other.sendall(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
        gate.set()
        assert other.recv(15) == b"HTTP/1.1 200 OK"
        assert served.index("/other") < 200  # the greedy one was not through yet
        greedy.recv(10)


def test_the_handler_class_can_be_ones_own(run: Any):
    class Shouting(pywsgi.WSGIHandler):
        def get_environ(self) -> Environ:
            environ = super().get_environ()
            environ["shout"] = "HELLO"
            return environ

    def application(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "5")])
        return [environ["shout"].encode()]

    server = run(WSGIServer(LOCAL, application, handler_class=Shouting))
    with Client(server) as client:
        assert client.get() == b"HELLO"
        server.stop()
        assert server.cut == 0


def test_a_thousand_requests_leave_nothing(run: Any):
    server = run(WSGIServer(LOCAL, hello))
    before = len(os.listdir("/proc/self/fd"))

    def some() -> None:
        for _ in range(5):
            with Client(server) as client:
                for _ in range(10):
                    client.get()

    gevent.joinall([gevent.spawn(some) for _ in range(20)], raise_error=True)
    while server.active:
        gevent.sleep(0.001)
    assert server.requests == 1000
    assert not server._idle
    assert len(os.listdir("/proc/self/fd")) == before
