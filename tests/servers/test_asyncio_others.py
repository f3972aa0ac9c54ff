"""The client, the datagram server and the WSGI server on asyncio and uvloop."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from tests.dialects import WORLDS, World
from tests.servers.asyncio_clients import LOCAL, connected, echo, until

from ginkgo.async_.asyncio import DatagramServer, StreamClient, StreamServer, WSGIServer
from ginkgo.core.errors import Unavailable
from ginkgo.servers.retry import Retry


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, _nothing_left_behind: None) -> Any:
    world: World = WORLDS[request.param]()
    yield world
    world.close()
    world.leave()


# -- the client -------------------------------------------------------------------------------


class Asking(StreamClient):
    """Asks once for each connection, and keeps it until it ends."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, retry=Retry(first=0.001, limit=0.001), **options)
        self.answers: list[bytes] = []

    async def handle(self, reader: Any, writer: Any) -> None:
        writer.write(b"hello")
        self.answers.append(await reader.read(5))
        await reader.read(1)


async def test_a_client_connects_and_connects_again(world: World, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    async with StreamServer(LOCAL, echo) as server:
        address = server.address
        client = Asking((address.host, address.port))
        await client.start()
        await until(lambda: client.answers == [b"hello"])
        assert client.connected
        assert client.connections == 1
    await until(lambda: not client.connected)
    async with StreamServer((address.host, address.port), echo) as server:
        await until(lambda: len(client.answers) == 2)
        await client.stop()
        await until(lambda: server.active == 0)
    assert client.failed == 0
    assert sum("connected to" in record.getMessage() for record in caplog.records) == 2


async def test_a_client_whose_peer_is_away_is_ready_and_stops_at_once(world: World):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    async with Asking(address) as client:
        await until(lambda: client.attempts > 2)
        assert not client.connected


async def test_a_handler_that_raises_is_told_and_connects_again(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def handle(reader: Any, writer: Any) -> None:
        raise ValueError("oops")

    async with StreamServer(LOCAL, echo) as server:
        address = (server.address.host, server.port)
        async with StreamClient(address, handle, retry=Retry(first=0.001, limit=0.001)) as client:
            await until(lambda: client.failed >= 2)
    assert "the handler failed: ValueError: oops" in caplog.text


async def test_a_client_speaks_tls_and_verifies(world: World, authority: Any):
    certfile, keyfile = authority.issue("localhost")
    async with StreamServer(LOCAL, echo, certfile=certfile, keyfile=keyfile) as server:
        address = (server.address.host, server.port)
        good = Asking(address, cafile=authority.cafile, server_hostname="localhost")
        bad = Asking(address, cafile=authority.cafile, server_hostname="elsewhere")
        async with good, bad:
            await until(lambda: good.answers == [b"hello"] and bad.attempts > 1)
            assert bad.connections == 0


# -- datagrams --------------------------------------------------------------------------------


async def test_a_datagram_is_answered_from_the_servers_address(world: World):
    async def answers(data: bytes, address: Any) -> None:
        await server.sendto(data.upper(), address)

    server = DatagramServer(LOCAL, answers)
    async with server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((server.address.host, server.port))
            client.send(b"hello")
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(client, 10) == b"HELLO"
    assert server.accepted == server.handled == 1
    with pytest.raises(Unavailable):
        await server.sendto(b"", ("127.0.0.1", 1))


async def test_a_datagram_server_listens_on_a_unix_socket(world: World, tmp_path: Path):
    got: list[bytes] = []
    path = tmp_path / "socket"
    async with DatagramServer(f"unix:{path}", lambda data, address: got.append(data)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.sendto(b"hello", str(path))
            await until(lambda: got == [b"hello"])
    assert not path.exists()


async def test_what_was_sent_before_the_stop_is_handled(world: World):
    got: list[bytes] = []
    server = DatagramServer(LOCAL, lambda data, address: got.append(data))
    await server.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for number in range(10):
            client.sendto(b"%d" % number, (server.address.host, server.port))
    await server.stop()
    assert len(got) == 10


# -- WSGI -------------------------------------------------------------------------------------

POST = (
    b"POST /p%%C3%%A9?a=1 HTTP/1.1\r\nHost: x\r\nX-One: 1\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n"
)


async def ask(server: Any, body: bytes = b"") -> bytes:
    async with connected(server) as client:
        client.writer.write(POST % len(body) + body)
        return await client.reader.read()


async def test_a_wsgi_application_runs_in_a_thread(world: World):
    seen: dict[str, Any] = {}

    def application(environ: Any, start_response: Any) -> Any:
        seen.update(environ, thread=threading.get_ident(), body=environ["wsgi.input"].read(5))
        start_response("201 Created", [("Content-Type", "text/plain"), ("X-Two", "2")])
        return [b"one ", b"two"]

    async with WSGIServer(LOCAL, validator(application), environ={"mine": "1"}) as server:
        head, _, body = (await ask(server, b"hello")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201")
        assert b"x-two: 2" in head
        assert b"one " in body
        assert b"two" in body
        await until(lambda: server.active == 0)
        assert (server.requests, server.failed) == (1, 0)
    assert seen["thread"] != threading.get_ident()
    assert seen["body"] == b"hello"
    assert seen["PATH_INFO"].encode("latin-1").decode() == "/pé"
    assert (seen["QUERY_STRING"], seen["HTTP_X_ONE"], seen["mine"]) == ("a=1", "1", "1")


async def test_a_wsgi_application_that_raises_gives_a_500(
    world: World, caplog: pytest.LogCaptureFixture
):
    def application(environ: Any, start_response: Any) -> Any:
        raise ValueError("oops")

    async with WSGIServer(LOCAL, application) as server:
        assert (await ask(server)).startswith(b"HTTP/1.1 500")
        assert server.failed == 1
    assert "the application failed at" in caplog.text
    assert "ValueError: oops" in caplog.text


async def test_a_wsgi_request_under_way_is_answered_at_stop(world: World):
    begun, gate = threading.Event(), threading.Event()

    def application(environ: Any, start_response: Any) -> Any:
        begun.set()
        gate.wait(10)
        start_response("200 OK", [])
        return [b"late"]

    server = WSGIServer(LOCAL, application)
    await server.start()
    asking = world.ask(ask, server)
    await until(begun.is_set)
    stop = world.ask(server.stop)
    await until(lambda: server.draining)
    gate.set()
    assert b"late" in await asking.result()
    await stop.result()
    assert server.cut == 0
