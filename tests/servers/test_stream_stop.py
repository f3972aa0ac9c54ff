"""How a server stops: who waits in its queue, who is idle, who is at work, and who will not end."""

from __future__ import annotations

import logging
import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event
from tests.servers.conftest import open_socket

from ginkgo.core.errors import GinkgoError
from ginkgo.core.service import Service
from ginkgo.servers.server import FIRST_WORD
from ginkgo.servers.stream import StreamServer

LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give newcomers so much time for their first word that nobody else may have waited for it."""
    monkeypatch.setattr("ginkgo.servers.server.FIRST_WORD", 20.0)


def echo(connection: Any, address: Any) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


class Timed:
    """How long the body took."""

    seconds = 0.0

    def __enter__(self) -> Timed:
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.began


@pytest.mark.fault(76)
def test_idle_connections_are_closed_at_once(run: Any, connect: Any, patience: None):
    server = run(StreamServer(LOCAL, echo, drain_timeout=30))
    clients = [connect(server) for _ in range(10)]
    for client in clients:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    with Timed() as stop:
        server.stop()
    assert stop.seconds < 3
    assert [client.recv(1) for client in clients] == [b""] * 10
    assert (server.cut, server.handled, server.active) == (0, 10, 0)


def test_connections_that_never_said_a_word_are_closed_soon(run: Any, connect: Any):
    server = run(StreamServer(LOCAL, echo, drain_timeout=30))
    client = connect(server)
    with Timed() as stop:
        server.stop()
    assert FIRST_WORD <= stop.seconds < 3
    assert client.recv(1) == b""
    assert server.cut == 0


def test_a_stop_without_connections_takes_no_time(run: Any, patience: None):
    server = run(StreamServer(LOCAL, echo, drain_timeout=30))
    with Timed() as stop:
        server.stop()
    assert stop.seconds < 3


def test_an_idle_handler_can_still_say_goodbye(run: Any, connect: Any):
    def polite(connection: Any, address: Any) -> None:
        echo(connection, address)
        connection.sendall(b"goodbye")

    server = run(StreamServer(LOCAL, polite))
    client = connect(server)
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    server.stop()
    assert client.makefile("rb").read() == b"goodbye"


@pytest.mark.fault(77)
def test_200_requests_under_way_are_all_answered(run: Any, connect: Any):
    gate = Event()

    def slow(connection: Any, address: Any) -> None:
        while question := connection.recv(100):
            gate.wait()
            connection.sendall(b"answer to " + question)

    server = run(StreamServer(LOCAL, slow))
    clients = [connect(server) for _ in range(200)]
    for number, client in enumerate(clients):
        client.sendall(b"%d" % number)
    while server.active < 200 or any(not h.socket.reads for h in server._handlers):
        gevent.sleep(0)
    stopping = gevent.spawn(server.stop)
    gevent.sleep(0.15)
    assert not stopping.ready() and server.draining
    gate.set()
    answers = [client.makefile("rb").read() for client in clients]
    assert answers == [b"answer to %d" % number for number in range(200)]
    stopping.get()
    assert (server.cut, server.handled) == (0, 200)


@pytest.mark.fault(78)
@pytest.mark.parametrize("max_connections", [None, 7])
def test_60_clients_in_the_queue_are_all_answered(run: Any, max_connections: int | None):
    server = run(StreamServer(LOCAL, echo, max_connections=max_connections))
    with ExitStack() as stack:
        clients = []
        for number in range(60):  # nobody takes them in: the loop has no turn
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(b"%d" % number)
            clients.append(client)
        assert server.accepted == 0
        server.stop()
        answers = [client.makefile("rb").read() for client in clients]
    assert answers == [b"%d" % number for number in range(60)]
    assert (server.accepted, server.cut) == (60, 0)


@pytest.mark.fault(78)
def test_a_newcomers_first_request_is_answered_even_if_it_arrives_during_the_stop(
    run: Any, connect: Any
):
    server = run(StreamServer(LOCAL, echo))
    client = connect(server)
    stopping = gevent.spawn(server.stop)
    while not server.draining:
        gevent.sleep(0)
    client.sendall(b"just in time")
    assert client.recv(100) == b"just in time"
    stopping.get()


def test_nobody_new_is_let_in_while_it_drains(run: Any, connect: Any, tmp_path: Path):
    gate = Event()
    server = run(StreamServer(f"unix:{tmp_path / 'a'}", lambda *_: gate.wait()))
    address = server.address.path
    connect(server)
    gevent.sleep(0.01)
    stopping = gevent.spawn(server.stop)
    gevent.sleep(0.01)
    with pytest.raises(FileNotFoundError):
        open_socket(address)
    gate.set()
    stopping.get()


@pytest.mark.fault(76)
def test_what_does_not_finish_in_time_is_cut_counted_and_told(
    run: Any, connect: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    server = run(StreamServer(LOCAL, lambda *_: Event().wait(), drain_timeout=0.2))
    clients = [connect(server) for _ in range(3)]
    gevent.sleep(0.01)
    with Timed() as stop:
        server.stop()
    assert 0.2 <= stop.seconds < 3
    assert server.cut == 3
    assert [client.recv(1) for client in clients] == [b""] * 3
    told = [re.sub(r"after [0-9.]+ s", "after TIME", m) for m in caplog.messages]
    assert "StreamServer: 3 still at work, and has up to 0.2 s to finish" in told
    assert "StreamServer: cut 3 connections after TIME" in told
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.fault(76)
def test_a_client_that_does_not_read_is_cut(run: Any, connect: Any):
    def big(connection: Any, address: Any) -> None:
        connection.recv(1)
        connection.sendall(b"x" * 50_000_000)

    server = run(StreamServer(LOCAL, big, drain_timeout=0.2))
    client = connect(server)
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    with Timed() as stop:
        server.stop()
    assert stop.seconds < 3
    assert server.cut == 1


@pytest.mark.fault(71)
def test_a_handler_that_swallows_its_end_meets_a_closed_socket(run: Any, connect: Any):
    def stubborn(connection: Any, address: Any) -> None:
        for _ in range(2):
            try:
                Event().wait()
            except gevent.GreenletExit:
                break
        connection.settimeout(60)
        connection.recv(1)
        while True:
            try:
                connection.recv(1)
            except gevent.GreenletExit:
                pass

    server = run(StreamServer(LOCAL, stubborn, drain_timeout=0.1))
    connect(server)
    gevent.sleep(0.01)
    with Timed() as stop:
        server.stop()
    assert stop.seconds < 4
    assert (server.cut, server.active) == (1, 0)


@pytest.mark.fault(71)
def test_a_handler_that_will_not_end_is_left_behind_with_its_stack(
    run: Any, connect: Any, caplog: pytest.LogCaptureFixture
):
    over = Event()

    def immortal(connection: Any, address: Any) -> None:
        while not over.is_set():
            try:
                over.wait()
            except BaseException:
                pass

    server = run(StreamServer(LOCAL, immortal, drain_timeout=0.1))
    client = connect(server)
    gevent.sleep(0.01)
    with Timed() as stop:
        server.stop()
    assert stop.seconds < 4
    assert client.recv(1) == b""
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "does not end, and is left behind" in record.getMessage()
    assert "over.wait()" in record.getMessage()
    over.set()


def test_a_stop_that_is_broken_into_cuts_at_once(run: Any, connect: Any):
    server = StreamServer(LOCAL, lambda *_: Event().wait(), drain_timeout=60)
    server.stop_timeout = 0.2
    run(server)
    client = connect(server)
    gevent.sleep(0.01)
    with Timed() as stop, pytest.raises(GinkgoError, match=r"do_stop did not return within 0\.2 s"):
        server.stop()
    assert stop.seconds < 4
    assert client.recv(1) == b""
    assert (server.cut, server.active) == (1, 0)


def test_its_stop_timeout_leaves_room_for_a_long_drain():
    assert StreamServer(LOCAL, echo).stop_timeout is None
    assert StreamServer(LOCAL, echo, drain_timeout=30).stop_timeout == 32


@pytest.mark.fault(80)
def test_a_subclass_says_how_a_handler_comes_to_its_end(run: Any, connect: Any):
    class Pushing(StreamServer):
        def do_start(self) -> Any:
            self.over = Event()
            return super().do_start()

        def handle(self, connection: Any, address: Any) -> None:
            while not self.over.wait(0.01):
                connection.sendall(b"tick\n")
            connection.sendall(b"over\n")

        def wind_down(self, connection: Any) -> None:
            self.over.set()

    server = run(Pushing(LOCAL))
    client = connect(server)
    assert client.recv(5) == b"tick\n"
    server.stop()
    assert client.makefile("rb").read().endswith(b"tick\nover\n")
    assert server.cut == 0


def test_killing_a_handler_from_outside_closes_its_connection(run: Any, connect: Any):
    greenlets: list[gevent.Greenlet] = []

    def handler(connection: Any, address: Any) -> None:
        greenlets.append(gevent.getcurrent())
        connection.recv(1)

    server = run(StreamServer(LOCAL, handler))
    client = connect(server)
    while not greenlets:
        gevent.sleep(0)
    greenlets[0].kill()
    assert client.recv(1) == b""
    assert (server.active, server.failed, server.handled) == (0, 0, 0)


def test_a_tree_with_a_server_stops_in_order(run: Any, connect: Any):
    events: list[str] = []

    class App(Service):
        def __init__(self) -> None:
            self.server = self.add_service(StreamServer(LOCAL, self.handle))

        def handle(self, connection: Any, address: Any) -> None:
            echo(connection, address)
            events.append("handler")

        def do_stop(self) -> None:
            events.append("app")

    app = run(App())
    client = connect(app.server)
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    app.stop()
    assert events == ["app", "handler"]


def test_ten_cycles_leave_what_one_did(run: Any, connect: Any):
    server = StreamServer(LOCAL, echo)
    for _ in range(10):
        run(server)
        client = connect(server)
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.stop()
        assert server.active == 0
    assert server.handled == 10
