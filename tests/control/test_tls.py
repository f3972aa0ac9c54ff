"""TLS at the TCP address, without waiting for anybody's handshake."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trustme
from tests.control.conftest import Serve
from tests.control.harness import Served, TcpClient, eventually

from ginkgo.control.api import ROUTES, Route
from ginkgo.control.call import Call
from ginkgo.control.connection import Limits
from ginkgo.control.messages import Answer
from ginkgo.control.streams import Stream
from ginkgo.control.tcp import Tcp

LARGE = b"x" * (3 << 20)


def large(call: Call) -> Answer:
    return Answer(200, LARGE)


def stream(call: Call) -> Stream:
    stream = Stream()
    stream.send({"n": 1})
    stream.end()
    return stream


ALL = (*ROUTES, Route("GET", "/large", large), Route("GET", "/stream", stream))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def secured(serve: Serve, authority: trustme.CA, tmp_path: Path) -> Served:
    folder = tmp_path / "run"
    folder.mkdir()
    chain = tmp_path / "chain.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(chain))
    tcp = Tcp("127.0.0.1:0", token="t" * 20, certfile=str(chain))
    return serve(folder, tcp=tcp, routes=ALL, limits=Limits(request_time=1.0))


def token() -> dict[str, str]:
    return {"Authorization": "Bearer " + "t" * 20}


def test_answers_come_encrypted(secured: Served, context: ssl.SSLContext) -> None:
    assert secured.server.url == f"https://127.0.0.1:{secured.port}/"
    with TcpClient(secured.port, context) as client:
        for _ in range(3):  # the connection stays
            assert client.json("GET /api/v1/status", **token())[0] == 200
        client.ask("POST /login", b'{"token": "' + b"t" * 20 + b'"}')
        assert client.read()[1]["set-cookie"].endswith("; Secure")


def test_requests_and_answers_larger_than_a_record(
    secured: Served, context: ssl.SSLContext
) -> None:
    with TcpClient(secured.port, context) as client:
        client.ask("GET /large", **token())
        assert client.read()[2] == LARGE
        body = b'{"a": "' + b"b" * 900_000 + b'"}'
        client.ask("POST /api/v1/reload", body, **token())
        assert client.read()[0] == 403  # it has been read, and nothing can be done from there
        assert client.json("GET /api/v1/status", **token())[0] == 200


def test_a_stream_over_tls(secured: Served, context: ssl.SSLContext) -> None:
    with TcpClient(secured.port, context) as client:
        client.ask("GET /stream", **token())
        while b"\r\n0\r\n\r\n" not in client.rest:
            client._more()
        assert b'data: {"n": 1}' in client.rest


def test_what_is_no_tls_is_cut_off(secured: Served) -> None:
    with TcpClient(secured.port) as client:
        client.ask("GET /api/v1/status", **token())
        with pytest.raises((EOFError, ConnectionError)):
            client.read()


@pytest.mark.fault(106)
def test_a_handshake_that_is_not_finished_holds_up_nobody(
    secured: Served, context: ssl.SSLContext
) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), timeout=20) as silent:
        silent.sendall(b"\x16\x03\x01\x02")
        with TcpClient(secured.port, context) as client:
            assert client.json("GET /api/v1/status", **token())[0] == 200
        silent.settimeout(20)
        assert silent.recv(100) == b""  # a request, and so a handshake, has its time


def test_a_client_that_does_not_trust_us_is_forgotten(secured: Served) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        TcpClient(secured.port, ssl.create_default_context())
    eventually(lambda: not secured.server._connections)


def test_a_goodbye_ends_it(secured: Served, context: ssl.SSLContext) -> None:
    client = TcpClient(secured.port, context)
    client.json("GET /api/v1/status", **token())
    client.close()
    eventually(lambda: not secured.server._connections)


def test_nothing_older_than_tls_1_2(secured: Served, context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        TcpClient(secured.port, context)
