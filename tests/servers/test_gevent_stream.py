"""What only the stream server of gevent does; all else is in :mod:`tests.servers.test_stream`."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.ssl
import pytest
from tests.servers.conftest import Authority, open_socket

from ginkgo.servers.connection import Connection
from ginkgo.servers.stream import StreamServer
from ginkgo.servers.tls_connection import TLSConnection

LOCAL = ("127.0.0.1", 0)


def echo(connection: Any, address: Any) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let others run until something holds that has no event of its own."""
    with gevent.Timeout(seconds, AssertionError("it never came true")):
        while not condition():
            gevent.sleep(0.001)


def secured(server: StreamServer, authority: Authority) -> Any:
    raw = open_socket(("127.0.0.1", server.port or 0))
    raw.settimeout(10)
    context = gevent.ssl.create_default_context(cafile=authority.cafile)
    try:
        return gevent.ssl.SSLSocket(raw, _context=context, server_hostname="localhost")
    except BaseException:
        raw.close()
        raise


def test_the_handler_gets_the_socket_and_the_peer(run: Any, connect: Any):
    got: list[Any] = []
    server = run(StreamServer(LOCAL, lambda *args: got.append(args)))
    client = connect(server)
    client.recv(1)
    [(connection, address)] = got
    assert isinstance(connection, Connection)
    assert address == client.getsockname()


def test_the_handler_gets_a_tls_socket(run: Any, authority: Authority):
    got: list[Any] = []
    certfile, keyfile = authority.issue("localhost")
    server = run(
        StreamServer(LOCAL, lambda c, _: got.append(c), certfile=certfile, keyfile=keyfile)
    )
    with secured(server, authority) as client:
        client.recv(1)
    assert isinstance(got[0], TLSConnection)
    assert got[0].closed


class Unlucky(Exception):
    pass


def test_a_handler_that_raises_with_a_file_open_closes_its_connection(run: Any, connect: Any):
    def handler(connection: Any, address: Any) -> None:
        file = connection.makefile("rb")
        raise Unlucky(file)

    assert connect(run(StreamServer(LOCAL, handler))).recv(10) == b""


@pytest.mark.parametrize("tls", [False, True])
def test_a_handler_that_reads_on_after_the_end_is_ended(
    run: Any, connect: Any, authority: Authority, tls: bool
):
    def careless(connection: Any, address: Any) -> None:
        lines = connection.makefile()
        while True:
            lines.readline().strip()

    files = authority.issue("localhost") if tls else (None, None)
    server = run(StreamServer(LOCAL, careless, certfile=files[0], keyfile=files[1]))
    client = secured(server, authority) if tls else connect(server)
    client.close()
    until(lambda: server.lost == 1)
    assert server.failed == server.active == 0


def test_a_listening_socket_that_somebody_closes_fails_the_service(run: Any):
    server = run(StreamServer(LOCAL, echo))
    listener = server._listener
    with socket.create_connection(("127.0.0.1", server.port)):
        stolen = os.dup(listener.socket.fileno())
        with open(os.devnull) as null:
            os.dup2(null.fileno(), listener.socket.fileno())
        server._readable()
        server.wait("failed", 5)
        os.close(stolen)
    assert server.state == "failed"
    assert isinstance(server.failure.error, OSError)


@pytest.mark.fault(76)
def test_who_has_said_a_word_is_idle_and_does_not_wait_for_newcomers(
    run: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ginkgo.servers.serving.FIRST_WORD", 20.0)
    server = run(StreamServer(LOCAL, echo, drain_timeout=30))
    clients = [connect(server) for _ in range(10)]
    for client in clients:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 3
    assert [client.recv(1) for client in clients] == [b""] * 10
    assert (server.cut, server.handled, server.active) == (0, 10, 0)


def test_killing_a_handler_from_outside_closes_its_connection(run: Any, connect: Any):
    greenlets: list[gevent.Greenlet] = []

    def handler(connection: Any, address: Any) -> None:
        greenlets.append(gevent.getcurrent())
        connection.recv(1)

    server = run(StreamServer(LOCAL, handler))
    client = connect(server)
    until(lambda: greenlets)
    greenlets[0].kill()
    assert client.recv(1) == b""
    assert (server.active, server.failed, server.handled) == (0, 0, 0)
