"""Servers of streams on threads: what they take in, and how they stop. The clients are plain."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ginkgo import Service
from ginkgo.async_.threading import StreamServer
from ginkgo.async_.threading_primitives import Event
from ginkgo.core.errors import ConfigError, Unavailable
from ginkgo.servers import threading_server

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


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0", "[::1]:0", 0], ids=str)
def test_it_listens_at_every_kind_of_address(run, connect, address):
    server = run(StreamServer(address, echo))
    assert asked(connect(server), b"x") == b"x"
    assert server.port


def test_a_unix_socket_is_removed_at_the_end(connect, tmp_path: Path):
    path = tmp_path / "socket"
    with StreamServer(f"unix:{path}", echo) as server:
        assert path.stat().st_mode & 0o777 == 0o600
        assert asked(connect(server), b"x") == b"x"
    assert not path.exists()


def test_clients_can_connect_from_the_bind_on(connect):
    server = StreamServer(("127.0.0.1", 0), echo)
    server.bind()
    client = connect(server)
    client.sendall(b"early")
    with server:
        assert client.recv(5) == b"early"


def test_a_port_that_is_taken_fails_the_start(run):
    first = run(StreamServer(("127.0.0.1", 0), echo))
    second = StreamServer(("127.0.0.1", first.port), echo)
    with pytest.raises(Unavailable, match="is in use"):
        second.start()
    assert second.state == "failed"


def test_nagles_algorithm_is_off_and_the_socket_blocks(run, connect):
    told = []

    def handle(connection: Any, address: Any) -> None:
        told.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        told.append(connection.gettimeout())

    connect(run(StreamServer(("127.0.0.1", 0), handle))).recv(1)
    assert told == [1, None]


def test_a_limit_of_connections_lets_the_others_wait(run, connect):
    server = run(StreamServer(("127.0.0.1", 0), echo, max_connections=2))
    first, second, third = (connect(server) for _ in range(3))
    assert asked(first, b"1") == asked(second, b"1") == b"1"
    third.sendall(b"3")
    until(lambda: server.active == 2)
    first.close()
    assert third.recv(1) == b"3"


def test_a_handler_that_raises_harms_nobody_else(run, connect, caplog):
    def handle(connection: Any, address: Any) -> None:
        if connection.recv(1) == b"!":
            raise ValueError("bad")
        connection.sendall(b"good")

    server = run(StreamServer(("127.0.0.1", 0), handle))
    bad, good = connect(server), connect(server)
    assert asked(bad, b"!") == b""
    assert asked(good, b"?") == b"good"
    until(lambda: server.handled == server.failed == 1)
    (record,) = caplog.records
    assert "failed: ValueError: bad" in record.getMessage()
    assert server.ready


def test_a_connection_that_is_lost_is_no_failure(run, connect, caplog):
    server = run(StreamServer(("127.0.0.1", 0), echo))
    client = connect(server)
    assert asked(client, b"x") == b"x"
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()  # with a reset
    until(lambda: server.lost == 1)
    assert not caplog.records


def test_a_handler_that_reads_on_after_the_end_is_ended(run, connect):
    def handle(connection: Any, address: Any) -> None:
        while True:
            connection.recv(100)

    server = run(StreamServer(("127.0.0.1", 0), handle))
    connect(server).close()
    until(lambda: server.lost == 1)


@pytest.mark.fault(30)
def test_a_handler_that_ends_the_process_stops_the_tree():
    def handle(connection: Any, address: Any) -> None:
        raise SystemExit(3)

    class App(Service):
        backend = "threading"

        def __init__(self) -> None:
            self.server = self.add_service(StreamServer(("127.0.0.1", 0), handle))

        def do_start(self) -> None:
            self.spawn(self.connect)

        def connect(self) -> None:
            self.wait("ready")
            socket.create_connection(("127.0.0.1", self.server.port), LIMIT).close()

    with pytest.raises(SystemExit):
        App().serve_forever()


# -- stopping ---------------------------------------------------------------------------------


def test_idle_connections_end_at_once(run, connect):
    server = run(StreamServer(("127.0.0.1", 0), echo))
    clients = [connect(server) for _ in range(10)]
    for client in clients:
        assert asked(client, b"x") == b"x"
    time.sleep(threading_server.FIRST_WORD)  # they are not new any more
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 0.5
    assert all(client.recv(1) == b"" for client in clients)
    assert (server.handled, server.cut) == (10, 0)


def test_a_handler_at_work_may_finish(run, connect):
    began, may_end = Event(), Event()

    def handle(connection: Any, address: Any) -> None:
        connection.recv(1)
        began.set()
        may_end.wait()
        connection.sendall(b"done")

    server = run(StreamServer(("127.0.0.1", 0), handle))
    client = connect(server)
    client.sendall(b"x")
    began.wait(LIMIT)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    server.wait("stopping")
    with pytest.raises(OSError):
        until(lambda: connect(server) is None)  # nobody new
    may_end.set()
    stopping.join()
    assert client.recv(4) == b"done"
    assert server.cut == 0


def test_what_waits_in_the_queue_is_served_before_the_stop(run, connect):
    began, may_end = Event(), Event()

    def handle(connection: Any, address: Any) -> None:
        began.set()
        may_end.wait()
        echo(connection, address)

    server = run(StreamServer(("127.0.0.1", 0), handle, max_connections=1))
    clients = [connect(server) for _ in range(4)]
    for client in clients:
        client.sendall(b"x")
    began.wait(LIMIT)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    server.wait("stopping")
    may_end.set()
    stopping.join()
    assert [client.recv(1) for client in clients] == [b"x"] * 4
    assert server.handled == 4


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
    monkeypatch.setattr(threading_server, "CUT_TIME", 0.05)
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


def test_a_handler_may_stop_its_server(connect):
    def handle(connection: Any, address: Any) -> None:
        server.stop()
        connection.sendall(b"stopped")

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    assert connect(server).recv(7) == b"stopped"
    server.wait("stopped")


def test_it_starts_again(connect):
    server = StreamServer(("127.0.0.1", 0), echo)
    for _ in range(3):
        with server:
            assert asked(connect(server), b"x") == b"x"


# -- without resources ------------------------------------------------------------------------


@pytest.mark.fault(42)
def test_without_descriptors_it_waits_and_tries_again(run, connect, caplog, monkeypatch):
    monkeypatch.setattr(threading_server, "BREATHER", 0.02)
    server = run(StreamServer(("127.0.0.1", 0), echo))
    accept, tried = server._raw._accept, []

    class NoDescriptors:
        def _accept(self) -> Any:
            tried.append(1)
            if len(tried) < 4:
                raise OSError(24, "Too many open files")
            return accept()

    server._raw = NoDescriptors()  # type: ignore[assignment]
    assert asked(connect(server), b"x") == b"x"
    (record,) = caplog.records
    assert "cannot take in what waits" in record.getMessage()


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


def test_it_speaks_tls(run, connect, authority):
    certfile, keyfile = authority.issue("localhost")
    server = run(StreamServer(("127.0.0.1", 0), echo, certfile=certfile, keyfile=keyfile))
    context = ssl.create_default_context(cafile=authority.cafile)
    with context.wrap_socket(connect(server), server_hostname="localhost") as client:
        assert asked(client, b"secret") == b"secret"
        time.sleep(threading_server.FIRST_WORD)
        server.stop()
        assert client.recv(1) == b"", "it says goodbye"
    assert server.handled == 1


def test_a_client_without_a_handshake_is_dropped_in_time(run, connect, authority, caplog):
    caplog.set_level(logging.INFO)
    certfile, keyfile = authority.issue("localhost")
    server = run(
        StreamServer(
            ("127.0.0.1", 0), echo, certfile=certfile, keyfile=keyfile, handshake_timeout=0.05
        )
    )
    silent, wrong = connect(server), connect(server)
    wrong.sendall(b"GET / HTTP/1.0\r\n\r\n")
    silent.recv(1)
    until(lambda: server.lost == 2)
    assert not caplog.records


def test_a_server_without_a_handler_is_refused():
    with pytest.raises(ConfigError, match="has no handler"):
        StreamServer(":0")
