from __future__ import annotations

import logging
import os
import ssl
from contextlib import suppress
from typing import Any

import gevent
import gevent.ssl
import pytest
from gevent.event import Event
from tests.servers.conftest import Authority, open_socket

from ginkgo.core.errors import ConfigError
from ginkgo.servers.stream import StreamServer
from ginkgo.servers.tls_connection import TLSConnection

LOCAL = ("127.0.0.1", 0)


def echo(connection: Any, address: Any) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    context = gevent.ssl.create_default_context(cafile=authority.cafile)
    assert isinstance(context, ssl.SSLContext)
    return context


def secured(server: StreamServer, context: ssl.SSLContext, name: str = "localhost") -> Any:
    raw = open_socket(("127.0.0.1", server.port))
    raw.settimeout(10)
    try:
        return gevent.ssl.SSLSocket(raw, _context=context, server_hostname=name)
    except BaseException:
        raw.close()
        raise


def test_it_speaks_tls_with_a_certificate(run: Any, authority: Authority, trusting: ssl.SSLContext):
    certfile, keyfile = authority.issue("localhost")
    server = run(StreamServer(LOCAL, echo, certfile=certfile, keyfile=keyfile))
    with secured(server, trusting) as client:
        assert client.version() == "TLSv1.3"
        client.sendall(b"x" * 100_000)
        assert client.makefile("rb").read(100_000) == b"x" * 100_000


def test_it_speaks_tls_with_a_context_of_the_standard_library(
    run: Any, authority: Authority, trusting: ssl.SSLContext
):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("localhost"))
    server = run(StreamServer(LOCAL, echo, ssl_context=context))
    with secured(server, trusting) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"


def test_a_certificate_that_cannot_be_read_fails_the_start():
    server = StreamServer(LOCAL, echo, certfile="missing.pem")
    with pytest.raises(ConfigError, match=r"missing.pem cannot be read"):
        server.start()
    assert server.port is None


def test_a_client_that_says_nothing_harms_nobody_and_is_ended_in_time(
    run: Any, connect: Any, authority: Authority, trusting: ssl.SSLContext
):
    certfile, keyfile = authority.issue("localhost")
    server = run(
        StreamServer(LOCAL, echo, certfile=certfile, keyfile=keyfile, handshake_timeout=0.2)
    )
    silent = [connect(server) for _ in range(20)]
    with secured(server, trusting) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"
        assert [one.recv(1) for one in silent] == [b""] * 20
        client.sendall(b"again")
        assert client.recv(10) == b"again"
    assert server.lost == 20


def test_a_client_that_speaks_something_else_is_no_failure(
    run: Any, connect: Any, authority: Authority, caplog: pytest.LogCaptureFixture
):
    certfile, keyfile = authority.issue("localhost")
    server = run(StreamServer(LOCAL, echo, certfile=certfile, keyfile=keyfile))
    client = connect(server)
    client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    with suppress(ConnectionResetError):
        client.makefile("rb").read()
    connect(server).close()
    while server.lost < 2:
        gevent.sleep(0.001)
    assert server.failed == 0
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_the_peer_is_told_that_it_has_got_all(
    run: Any, authority: Authority, trusting: ssl.SSLContext
):
    certfile, keyfile = authority.issue("localhost")
    server = run(
        StreamServer(LOCAL, lambda c, _: c.sendall(b"all"), certfile=certfile, keyfile=keyfile)
    )
    with secured(server, trusting) as client:
        client.suppress_ragged_eofs = False  # a missing goodbye would raise
        assert client.recv(10) == b"all"
        assert client.recv(10) == b""


def test_a_handler_that_fails_says_no_goodbye(
    run: Any, authority: Authority, trusting: ssl.SSLContext
):
    def fails(connection: Any, address: Any) -> None:
        connection.sendall(b"half of it")
        raise RuntimeError

    trusting.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    certfile, keyfile = authority.issue("localhost")
    server = run(StreamServer(LOCAL, fails, certfile=certfile, keyfile=keyfile))
    with secured(server, trusting) as client:
        client.suppress_ragged_eofs = False
        assert client.recv(10) == b"half of it"
        with pytest.raises(ssl.SSLEOFError):
            client.recv(10)


@pytest.mark.fault(76)
@pytest.mark.parametrize("own_context", [False, True])
def test_at_stop_an_idle_tls_connection_ends_and_its_last_words_go_out(
    run: Any, authority: Authority, trusting: ssl.SSLContext, own_context: bool
):
    def polite(connection: Any, address: Any) -> None:
        echo(connection, address)
        connection.sendall(b"goodbye")

    certfile, keyfile = authority.issue("localhost")
    if own_context:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certfile, keyfile)
        server = run(StreamServer(LOCAL, polite, ssl_context=context))
    else:
        server = run(StreamServer(LOCAL, polite, certfile=certfile, keyfile=keyfile))
    with secured(server, trusting) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        server.stop()
        assert client.makefile("rb").read() == b"goodbye"
    assert (server.cut, server.lost, server.handled) == (0, 0, 1)


def test_at_stop_a_tls_connection_at_work_is_finished(
    run: Any, authority: Authority, trusting: ssl.SSLContext
):
    gate = Event()

    def slow(connection: Any, address: Any) -> None:
        connection.recv(10)
        gate.wait()
        connection.sendall(b"answer")

    certfile, keyfile = authority.issue("localhost")
    server = run(StreamServer(LOCAL, slow, certfile=certfile, keyfile=keyfile))
    with secured(server, trusting) as client:
        client.sendall(b"x")
        gevent.sleep(0.02)
        stopping = gevent.spawn(server.stop)
        gevent.sleep(0.15)
        gate.set()
        assert client.makefile("rb").read() == b"answer"
        stopping.get()


def test_a_handler_that_reads_on_after_the_end_is_ended(
    run: Any, authority: Authority, trusting: ssl.SSLContext
):
    def careless(connection: Any, address: Any) -> None:
        while True:
            connection.recv(100)

    certfile, keyfile = authority.issue("localhost")
    server = run(StreamServer(LOCAL, careless, certfile=certfile, keyfile=keyfile))
    secured(server, trusting).close()
    while not server.lost:
        gevent.sleep(0.001)
    assert server.failed == 0


def test_a_reload_takes_the_new_certificate_for_new_connections(
    run: Any, authority: Authority, trusting: ssl.SSLContext
):
    files = authority.issue("old.test")
    server = run(StreamServer(LOCAL, echo, certfile=files[0], keyfile=files[1]))
    with secured(server, trusting, "old.test") as old:
        for path, new in zip(files, authority.issue("new.test"), strict=True):
            os.rename(new, path)
        server.reload()
        with secured(server, trusting, "new.test"):
            pass
        old.sendall(b"still here")
        assert old.recv(100) == b"still here"


def test_a_key_that_only_root_can_read_is_read_when_the_server_is_bound(
    run: Any, authority: Authority, trusting: ssl.SSLContext
):
    certfile, keyfile = authority.issue("localhost")
    server = StreamServer(LOCAL, echo, certfile=certfile, keyfile=keyfile)
    server.bind()
    os.unlink(keyfile)  # as if the privileges were given up now
    run(server)
    with secured(server, trusting) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello"


def test_the_handler_gets_a_tls_socket(run: Any, authority: Authority, trusting: ssl.SSLContext):
    got: list[Any] = []
    certfile, keyfile = authority.issue("localhost")
    server = run(
        StreamServer(LOCAL, lambda c, _: got.append(c), certfile=certfile, keyfile=keyfile)
    )
    with secured(server, trusting) as client:
        client.recv(1)
    assert isinstance(got[0], TLSConnection)
    assert got[0].closed
