"""How a web server stops: idle connections at once, requests under way to their end."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
import pytest
from gevent.event import Event
from tests.servers.conftest import open_socket

from ginkgo.servers.wsgi import WSGIServer

LOCAL = ("127.0.0.1", 0)
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Environ = dict[str, Any]
Start = Callable[..., Any]


def hello(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello World"]


class Gated:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.gate = Event()
        self.waiting = 0

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        self.waiting += 1
        self.gate.wait()
        return hello(environ, start_response)


def to_the_end(client: Any) -> bytes:
    got = b""
    while piece := client.recv(65536):
        got += piece
    return got


def one_answer(client: Any) -> bytes:
    got = b""
    while not got.endswith(b"Hello World"):
        piece = client.recv(65536)
        assert piece
        got += piece
    return got


def timed(stop: Callable[[], object]) -> float:
    began = time.monotonic()
    stop()
    return time.monotonic() - began


def waits_for_work(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until a server that stops has closed what is idle, and waits for what is at work."""
    while "still at work" not in caplog.text:
        gevent.sleep(0)


@pytest.fixture(autouse=True)
def _stops_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ginkgo.servers.serving")


@pytest.mark.fault(76)
def test_idle_kept_connections_are_closed_at_once(
    run: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ginkgo.servers.serving.FIRST_WORD", 20.0)
    server = run(WSGIServer(LOCAL, hello, drain_timeout=30))
    clients = [connect(server) for _ in range(20)]
    for client in clients:
        client.sendall(ASK)
        assert b"Connection: close" not in one_answer(client)
    assert timed(server.stop) < 3
    assert [client.recv(1) for client in clients] == [b""] * 20
    assert server.cut == 0


@pytest.mark.fault(77)
def test_200_requests_under_way_are_answered_with_connection_close(
    run: Any, connect: Any, caplog: pytest.LogCaptureFixture
):
    app = Gated()
    server = run(WSGIServer(LOCAL, app))
    clients = [connect(server) for _ in range(200)]
    for client in clients:
        client.sendall(ASK)
    while app.waiting < 200:
        gevent.sleep(0)
    stopping = gevent.spawn(server.stop)
    waits_for_work(caplog)
    assert not stopping.ready()
    app.gate.set()
    for client in clients:
        answer = to_the_end(client)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.count(b"\r\nConnection: close\r\n") == 1
        assert answer.endswith(b"Hello World")
    stopping.get()
    assert (server.requests, server.cut) == (200, 0)


@pytest.mark.parametrize(
    "asking", [b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"]
)
def test_an_old_client_that_wants_to_keep_its_connection_is_told_too(
    run: Any, connect: Any, asking: bytes
):
    app = Gated()
    server = run(WSGIServer(LOCAL, app))
    client = connect(server)
    client.sendall(asking)
    while not app.waiting:
        gevent.sleep(0)
    stopping = gevent.spawn(server.stop)
    while not server.draining:
        gevent.sleep(0)
    app.gate.set()
    head = to_the_end(client).partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"connection:") == 1 and b"connection: close" in head
    stopping.get()


def test_a_request_that_has_come_in_part_is_waited_for(
    run: Any, connect: Any, caplog: pytest.LogCaptureFixture
):
    server = run(WSGIServer(LOCAL, hello))
    client = connect(server)
    client.sendall(ASK)
    one_answer(client)
    client.sendall(ASK[:10])
    gevent.sleep(0.01)
    stopping = gevent.spawn(server.stop)
    waits_for_work(caplog)
    client.sendall(ASK[10:])
    assert to_the_end(client).endswith(b"Hello World")
    stopping.get()
    assert server.cut == 0


def test_a_body_that_is_being_sent_is_waited_for(
    run: Any, connect: Any, caplog: pytest.LogCaptureFixture
):
    def length(environ: Environ, start_response: Start) -> Iterable[bytes]:
        size = len(environ["wsgi.input"].read())
        start_response("200 OK", [])
        return [b"%d" % size]

    server = run(WSGIServer(LOCAL, length))
    client = connect(server)
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
    gevent.sleep(0.01)
    stopping = gevent.spawn(server.stop)
    waits_for_work(caplog)
    client.sendall(b"x" * 50_000)
    assert to_the_end(client).endswith(b"100000")
    stopping.get()


def test_an_answer_that_had_begun_is_finished_and_the_connection_closed(run: Any, connect: Any):
    gate = Event()

    def stream(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"begun"
        gate.wait()
        yield b"ended"

    server = run(WSGIServer(LOCAL, stream))
    client = connect(server)
    client.sendall(ASK)
    while b"begun" not in client.recv(1000):
        pass
    stopping = gevent.spawn(server.stop)
    while not server.draining:
        gevent.sleep(0)
    gate.set()
    assert to_the_end(client).endswith(b"5\r\nended\r\n0\r\n\r\n")
    stopping.get()


@pytest.mark.fault(80)
def test_an_upgraded_connection_is_told_the_end_of_its_input(run: Any, connect: Any):
    def upgrade(environ: Environ, start_response: Start) -> Iterable[bytes]:
        write = start_response("101 Switching Protocols", [("Upgrade", "talk")])
        write(b"hi")
        heard = environ["wsgi.input"].read()
        write(b"heard " + heard)
        return []

    server = run(WSGIServer(LOCAL, upgrade))
    client = connect(server)
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: talk\r\n\r\n")
    while b"hi" not in client.recv(1000):
        pass
    client.sendall(b"words")
    gevent.sleep(0.01)
    assert timed(server.stop) < 4
    assert to_the_end(client) == b"heard words"
    assert server.cut == 0


SCRIPT = """
import signal, gevent
from ginkgo.servers.wsgi import WSGIServer
def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"Hello World"]
server = WSGIServer(("127.0.0.1", 0), hello, drain_timeout=60)
server.start()
gevent.signal_handler(signal.SIGTERM, server.stop)
print(server.port, flush=True)
server.wait("stopped")
"""


@pytest.mark.fault(76)
def test_sigterm_with_an_idle_kept_connection_ends_the_process_soon():
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with open_socket(("127.0.0.1", port)) as client:
            client.settimeout(10)
            client.sendall(ASK)
            one_answer(client)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert time.monotonic() - began < 4  # 0.05 on a quiet machine
