from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent.event import Event

from ginkgo.core.errors import ConfigError, Unavailable
from ginkgo.servers.datagram import DatagramServer

LOCAL = ("127.0.0.1", 0)


class Echo(DatagramServer):
    def handle(self, data: bytes, address: Any) -> None:
        self.sendto(data, address)


@pytest.fixture
def client() -> Iterator[gsocket.socket]:
    with gsocket.socket(gsocket.AF_INET, gsocket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(LOCAL)
        yield sock


def test_each_datagram_is_handled_and_answered(run: Any, client: gsocket.socket):
    server = run(Echo(LOCAL))
    for number in range(100):
        client.sendto(b"%d" % number, ("127.0.0.1", server.port))
        assert client.recvfrom(100) == (b"%d" % number, ("127.0.0.1", server.port))
    assert server.accepted == server.handled == 100


def test_the_longest_datagram_arrives_whole(run: Any, client: gsocket.socket):
    server = run(Echo(LOCAL))
    client.sendto(b"x" * 65507, ("127.0.0.1", server.port))
    assert client.recv(70000) == b"x" * 65507


def test_an_empty_datagram_is_one_too(run: Any, client: gsocket.socket):
    server = run(Echo(LOCAL))
    client.sendto(b"", ("127.0.0.1", server.port))
    assert client.recv(10) == b""


def test_a_function_can_handle_them(run: Any, client: gsocket.socket):
    got: list[Any] = []
    server = run(DatagramServer(LOCAL, lambda *args: got.append(args)))
    client.sendto(b"hello", ("127.0.0.1", server.port))
    while not server.handled:
        gevent.sleep(0.001)
    assert got == [(b"hello", client.getsockname())]


def test_without_a_handler_it_is_refused():
    with pytest.raises(ConfigError, match="has no handler"):
        DatagramServer(LOCAL)


def test_on_every_interface_ipv4_is_answered_in_ipv4(run: Any, client: gsocket.socket):
    peers: list[Any] = []

    class Telling(Echo):
        def handle(self, data: bytes, address: Any) -> None:
            peers.append(address)
            super().handle(data, address)

    server = run(Telling(":0"))
    client.sendto(b"hello", ("127.0.0.1", server.port))
    assert client.recv(100) == b"hello"
    assert peers == [client.getsockname()]
    with gsocket.socket(gsocket.AF_INET6, gsocket.SOCK_DGRAM) as six:
        six.settimeout(5)
        six.sendto(b"six", ("::1", server.port))
        assert six.recv(100) == b"six"


def test_it_works_on_a_unix_socket(run: Any, tmp_path: Path):
    server = run(Echo(f"unix:{tmp_path / 'server'}"))
    with gsocket.socket(gsocket.AF_UNIX, gsocket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.bind(str(tmp_path / "client"))
        client.sendto(b"hello", server.address.path)
        assert client.recv(100) == b"hello"
    server.stop()
    assert not (tmp_path / "server").exists()


def test_a_port_in_use_fails_the_start(run: Any):
    first = run(Echo(LOCAL))
    with pytest.raises(Unavailable, match=r"Echo cannot listen on .* in use by this very process"):
        Echo(first.address).start()


def test_a_handler_that_raises_is_told_with_its_peer_and_harms_nobody(
    run: Any, client: gsocket.socket, caplog: pytest.LogCaptureFixture
):
    class Picky(Echo):
        def handle(self, data: bytes, address: Any) -> None:
            if data == b"bad":
                raise ValueError(data)
            super().handle(data, address)

    server = run(Picky(LOCAL))
    client.sendto(b"bad", ("127.0.0.1", server.port))
    client.sendto(b"good", ("127.0.0.1", server.port))
    assert client.recv(100) == b"good"
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    host, port = client.getsockname()
    assert record.getMessage() == (
        f"Picky: the handler of a datagram from {host}:{port} failed: ValueError: b'bad'"
    )
    assert (server.failed, server.handled) == (1, 1)


def test_an_answer_that_nobody_wants_harms_nobody(run: Any, client: gsocket.socket):
    server = run(Echo(LOCAL))
    with gsocket.socket(gsocket.AF_INET, gsocket.SOCK_DGRAM) as rude:
        rude.sendto(b"x", ("127.0.0.1", server.port))
    client.sendto(b"polite", ("127.0.0.1", server.port))
    assert client.recv(100) == b"polite"


def test_no_more_are_in_work_than_allowed(run: Any, client: gsocket.socket):
    gate = Event()
    server = run(DatagramServer(LOCAL, lambda *_: gate.wait(), max_active=3))
    for _ in range(10):
        client.sendto(b"x", ("127.0.0.1", server.port))
    gevent.sleep(0.02)
    assert server.active == 3
    gate.set()
    while server.handled < 10:
        gevent.sleep(0.001)


def test_at_stop_what_was_received_is_answered(run: Any, client: gsocket.socket):
    gate = Event()

    class Slow(Echo):
        def handle(self, data: bytes, address: Any) -> None:
            gate.wait()
            super().handle(data, address)

    server = run(Slow(LOCAL))
    for number in range(5):
        client.sendto(b"%d" % number, ("127.0.0.1", server.port))
    stopping = gevent.spawn(server.stop)
    gevent.sleep(0.01)
    gate.set()
    stopping.get()
    assert sorted(client.recv(10) for _ in range(5)) == [b"%d" % number for number in range(5)]
    assert server.cut == 0


def test_at_stop_what_does_not_finish_is_cut(
    run: Any, client: gsocket.socket, caplog: pytest.LogCaptureFixture
):
    server = run(DatagramServer(LOCAL, lambda *_: Event().wait(), drain_timeout=0.1))
    client.sendto(b"x", ("127.0.0.1", server.port))
    gevent.sleep(0.01)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 3
    assert "DatagramServer: cut 1 datagram after " in caplog.text


def test_a_server_that_does_not_run_cannot_send():
    with pytest.raises(Unavailable, match="the server does not run"):
        Echo(LOCAL).sendto(b"x", ("127.0.0.1", 1))
