"""Servers of streams on threads: what they take in, and how they stop. The clients are plain."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ginkgo.async_.threading import StreamServer
from ginkgo.async_.threading_primitives import Event
from ginkgo.servers import serving, threading_server

LIMIT = 10.0  # seconds


@pytest.fixture
def connect() -> Iterator[Callable[..., socket.socket]]:
    """Connect to a server; what the test leaves open is closed at its end."""
    made: list[socket.socket] = []

    def to(server: StreamServer) -> socket.socket:
        address = server.address.for_connecting
        if address.path:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(LIMIT)
            client.connect(address.path)
        else:
            client = socket.create_connection((address.host, address.port), LIMIT)
        made.append(client)
        return client

    yield to
    for client in made:
        client.close()


def echo(connection: Any, address: Any) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def asked(client: socket.socket, question: bytes) -> bytes:
    client.sendall(question)
    return client.recv(65536)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_answers_many_at_a_time_each_in_a_thread(run, connect):
    seen = set()

    def handle(connection: Any, address: Any) -> None:
        seen.add(threading.get_ident())
        assert address == connection.getpeername()
        echo(connection, address)

    server = run(StreamServer(("127.0.0.1", 0), handle))
    clients = [connect(server) for _ in range(20)]
    for client in clients:
        assert asked(client, b"hello") == b"hello"
    assert len(seen) == 20
    assert (server.accepted, server.active) == (20, 20)
    for client in clients:
        client.close()
    until(lambda: server.active == 0)
    assert server.handled == 20


def test_a_thread_serves_one_connection_after_the_other(run, connect):
    seen = []
    server = run(StreamServer(("127.0.0.1", 0), lambda *_: seen.append(threading.get_ident())))
    for count in range(5):
        connect(server).recv(1)
        until(lambda count=count: server.handled == count + 1 and not server.active)
    assert len(set(seen)) < 5


def test_nagles_algorithm_is_off_and_the_socket_blocks(run, connect):
    told = []

    def handle(connection: Any, address: Any) -> None:
        told.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        told.append(connection.gettimeout())

    connect(run(StreamServer(("127.0.0.1", 0), handle))).recv(1)
    assert told == [1, None]


def test_a_handler_that_reads_on_after_the_end_is_ended(run, connect):
    def handle(connection: Any, address: Any) -> None:
        while True:
            connection.recv(100)

    server = run(StreamServer(("127.0.0.1", 0), handle))
    connect(server).close()
    until(lambda: server.lost == 1)


# -- stopping ---------------------------------------------------------------------------------


class Handlers(dict[Any, None]):
    """Those of a server. One that ends is forgotten only when the stop has looked at them."""

    def __init__(self, server: StreamServer) -> None:
        super().__init__()
        self._server = server
        self.one_ends, self._looked = threading.Event(), threading.Event()

    def __iter__(self) -> Iterator[Any]:
        seen = list(super().__iter__())
        if self._server._emptied is not None:
            self._looked.set()
        return iter(seen)

    def pop(self, *args: Any) -> Any:
        self.one_ends.set()
        assert self._looked.wait(LIMIT)
        return super().pop(*args)


def test_one_that_ends_while_the_stop_begins_is_not_waited_for_any_more(run, connect):
    server = run(StreamServer(("127.0.0.1", 0), echo, drain_timeout=4.0))
    server._handlers = handlers = Handlers(server)
    connect(server).close()
    assert handlers.one_ends.wait(LIMIT)
    before = time.monotonic()
    server.stop()
    assert time.monotonic() - before < 2.0
    assert (server.handled, server.cut) == (1, 0)


@pytest.mark.parametrize("waits_by", ["facade", "socket"])
def test_one_that_does_not_finish_is_cut(run, connect, caplog, waits_by):
    began, never = Event(), Event()

    def handle(connection: Any, address: Any) -> None:
        began.set()
        if waits_by == "facade":
            never.wait()
        while True:
            connection.sendall(bytes(100_000))  # nobody reads it

    server = run(StreamServer(("127.0.0.1", 0), handle, drain_timeout=0.05))
    connect(server)
    began.wait(LIMIT)
    before = time.monotonic()
    server.stop()
    assert time.monotonic() - before < 3
    assert server.cut == 1


@pytest.mark.fault(72)
def test_one_that_lets_nothing_end_it_is_shown_and_left_behind(run, connect, caplog, monkeypatch):
    monkeypatch.setattr(serving, "CUT_TIME", 0.05)
    began, may_end = Event(), threading.Event()

    def hang_in_c(connection: Any, address: Any) -> None:
        began.set()
        may_end.wait()

    server = run(StreamServer(("127.0.0.1", 0), hang_in_c, drain_timeout=0.05))
    connect(server)
    began.wait(LIMIT)
    server.stop()
    may_end.set()
    assert server.cut == 1
    assert "does not end, and is left behind" in caplog.text
    assert "in hang_in_c" in caplog.text


# -- without resources ------------------------------------------------------------------------


def test_without_threads_it_drops_and_tries_again(run, connect, caplog, monkeypatch):
    monkeypatch.setattr(threading_server, "BREATHER", 0.02)
    server = run(StreamServer(("127.0.0.1", 0), echo))
    start, failed = threading_server.Worker.start, []

    def fails_once(self: Any, name: str) -> None:
        if not failed:
            failed.append(1)
            raise RuntimeError("can't start new thread")
        start(self, name)

    monkeypatch.setattr(threading_server.Worker, "start", fails_once)
    assert connect(server).recv(1) == b""
    assert asked(connect(server), b"x") == b"x"
    assert "can't start new thread" in caplog.text


# -- TLS --------------------------------------------------------------------------------------
