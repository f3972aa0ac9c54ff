"""Clients and datagrams on threads."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from ginkgo.async_.threading import DatagramServer, StreamClient, StreamServer
from ginkgo.async_.threading_primitives import Event, Queue
from ginkgo.core.errors import Unavailable
from ginkgo.servers.retry import Retry

LIMIT = 10.0  # seconds
QUICK = Retry(first=0.01, limit=0.02)


def greet(connection: Any, address: Any) -> None:
    connection.sendall(b"hello")


def test_it_connects_again_and_again(run):
    server = run(StreamServer(("127.0.0.1", 0), greet))
    got: Queue[bytes] = Queue()
    client = run(StreamClient(server.address, lambda it: got.put(it.recv(5)), retry=QUICK))
    assert [got.get(timeout=LIMIT) for _ in range(3)] == [b"hello"] * 3
    assert client.connections >= 3
    assert client.failed == 0


def test_a_peer_that_is_away_fails_nothing_and_is_told_once(run, caplog):
    server = StreamServer(("127.0.0.1", 0), greet)
    server.bind()
    address = server.address
    server.unbind()
    got: Queue[bytes] = Queue()
    client = run(StreamClient(address, lambda it: got.put(it.recv(5)), retry=QUICK))
    deadline = time.monotonic() + LIMIT
    while client.attempts < 4:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert client.ready
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    run(StreamServer(address, greet))
    assert got.get(timeout=LIMIT) == b"hello"


@pytest.mark.parametrize("where", ["handler", "handshake"])
def test_a_stop_ends_it_at_once_wherever_it_waits(run, caplog, where):
    waits = Event()

    def wait(connection: Any, address: Any) -> None:
        waits.set()
        connection.recv(10_000)
        connection.recv(10_000)

    server = run(StreamServer(("127.0.0.1", 0), wait))
    client = StreamClient(
        server.address, lambda it: it.recv(1), tls=where == "handshake", server_hostname="x"
    )
    with client:
        assert waits.wait(LIMIT)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5
    assert not caplog.records


def test_a_stop_ends_a_wait_for_the_next_attempt(run):
    server = run(StreamServer(("127.0.0.1", 0), greet))
    used = Event()
    with StreamClient(server.address, lambda it: used.set(), retry=Retry(first=60)):
        assert used.wait(LIMIT)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5


def test_it_speaks_tls_and_knows_with_whom(run, authority, caplog):
    certfile, keyfile = authority.issue("localhost")
    server = run(StreamServer(("127.0.0.1", 0), greet, certfile=certfile, keyfile=keyfile))
    got: Queue[bytes] = Queue()

    def handle(connection: Any) -> None:
        got.put(connection.recv(5))

    run(StreamClient(("localhost", server.port), handle, cafile=authority.cafile, retry=QUICK))
    assert got.get(timeout=LIMIT) == b"hello"
    told = Event()
    other = StreamClient(server.address, handle, tls=True, retry=QUICK)
    other._sleep = lambda seconds: (told.set(), other.async_.sleep(seconds))
    run(other)
    assert told.wait(LIMIT)
    assert "certificate verify failed" in caplog.text


def test_a_handler_that_raises_is_told(run, caplog):
    server = run(StreamServer(("127.0.0.1", 0), greet))
    tried = Event()

    def handle(connection: Any) -> None:
        try:
            raise ValueError("bad")
        finally:
            tried.set()

    with StreamClient(server.address, handle, retry=Retry(first=60)) as client:
        assert tried.wait(LIMIT)
        while not client.failed:
            time.sleep(0.001)
    assert "the handler failed: ValueError: bad" in caplog.text


# -- datagrams --------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0"])
def test_datagrams_are_answered(run, address):
    server = run(DatagramServer(address, lambda data, sender: server.sendto(data.upper(), sender)))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        for number in range(50):
            client.sendto(b"hello%d" % number, ("127.0.0.1", server.port))
            assert client.recv(100) == b"HELLO%d" % number
    server.stop()
    assert (server.accepted, server.handled) == (50, 50)
    with pytest.raises(Unavailable):
        server.sendto(b"x", ("127.0.0.1", 1))


def test_what_has_arrived_is_answered_before_the_stop(run):
    began, may_end = Event(), Event()

    def handle(data: bytes, sender: Any) -> None:
        began.set()
        may_end.wait()
        server.sendto(data, sender)

    server = run(DatagramServer(("127.0.0.1", 0), handle, max_active=1))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        for data in (b"1", b"2", b"3"):
            client.sendto(data, ("127.0.0.1", server.port))
        assert began.wait(LIMIT)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        server.wait("stopping")
        may_end.set()
        stopping.join()
        assert sorted(client.recv(1) for _ in range(3)) == [b"1", b"2", b"3"]
    assert server.cut == 0


def test_a_datagram_whose_handler_raises_harms_no_other(run, caplog):
    def handle(data: bytes, sender: Any) -> None:
        if data == b"bad":
            raise ValueError("bad")
        server.sendto(data, sender)

    server = run(DatagramServer(("127.0.0.1", 0), handle))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(LIMIT)
        for data in (b"bad", b"good"):
            client.sendto(data, ("127.0.0.1", server.port))
        assert client.recv(10) == b"good"
    server.stop()
    assert (server.handled, server.failed) == (1, 1)
    assert "the handler of a datagram from 127.0.0.1" in caplog.text
