"""The servers of connections on asyncio and uvloop: what comes in, how it ends, how it stops."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from tests.dialects import WORLDS, World
from tests.servers.asyncio_clients import LOCAL, connected, echo, until

from ginkgo import Service
from ginkgo.async_.asyncio import ProtocolServer, StreamServer
from ginkgo.core.errors import ConfigError, Unavailable


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, _nothing_left_behind: None) -> Any:
    world: World = WORLDS[request.param]()
    yield world
    world.close()
    world.leave()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def serving(kind: str, address: Any = LOCAL, **options: Any) -> Any:
    return (
        StreamServer(address, echo, **options)
        if kind == "stream"
        else ProtocolServer(address, Echo, **options)
    )


KINDS = ["stream", "protocol"]


@pytest.mark.parametrize("kind", KINDS)
async def test_each_connection_is_served_and_counted(world: World, kind: str):
    async with serving(kind) as server:
        async with connected(server) as one, connected(server) as other:
            assert await one.asks(b"1") == b"1"
            assert await other.asks(b"2") == b"2"
            assert server.active == server.accepted == 2
        await until(lambda: server.active == 0)
        assert server.handled == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_it_listens_on_a_unix_socket_and_removes_it(world: World, kind: str, tmp_path: Path):
    path = tmp_path / "socket"
    async with serving(kind, f"unix:{path}") as server, connected(server) as client:
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert await client.asks() == b"hello"
    assert not path.exists()


@pytest.mark.parametrize("kind", KINDS)
async def test_it_speaks_tls(world: World, kind: str, authority: Any):
    certfile, keyfile = authority.issue("localhost")
    context = ssl.create_default_context(cafile=authority.cafile)
    server = serving(kind, certfile=certfile, keyfile=keyfile, handshake_timeout=0.2)
    async with server:
        async with connected(server, ssl=context, server_hostname="localhost") as client:
            assert await client.asks() == b"hello"
        async with connected(server) as silent:
            assert await silent.reader.read() == b"", "a client that does not shake hands is cut"
        await until(lambda: server.active == 0)
        assert server.lost == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_connections_beyond_the_limit_wait(world: World, kind: str):
    async with serving(kind, max_connections=1) as server, connected(server) as one:
        assert await one.asks() == b"hello"
        async with connected(server) as other:
            other.writer.write(b"waits")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await other.reader.read(1)
            assert server.accepted == 1
            await one.close()
            assert await other.reader.read(5) == b"waits"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_port_that_is_taken_fails_the_start_and_says_by_whom(world: World, kind: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = serving(kind, taken.getsockname())
        with pytest.raises(Unavailable, match="the address is in use by this very process"):
            await server.start()


@pytest.mark.parametrize("kind", KINDS)
async def test_it_may_be_bound_before_it_starts(world: World, kind: str):
    server = serving(kind)
    server.bind()
    async with connected(server) as client:
        client.writer.write(b"early")
        async with server:
            assert await client.reader.read(5) == b"early"


@pytest.mark.parametrize("kind", KINDS)
async def test_answers_do_not_wait_for_the_peers_acknowledgement(world: World, kind: str):
    async with serving(kind) as server, connected(server) as client:
        await client.asks()
        (handler,) = server._handlers
        assert handler.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("kind", KINDS)
async def test_without_descriptors_it_tries_again(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("ginkgo.servers.asyncio_server.BREATHER", 0.02)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(kind) as server:
        client = socket.socket()
        client.setblocking(False)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            client.connect_ex((server.address.host, server.port))
            await until(lambda: caplog.records)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: server.accepted == 1)
        client.close()
    assert "cannot take in what waits" in caplog.text


async def test_a_handler_that_raises_harms_nobody_else(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def handle(reader: Any, writer: Any) -> None:
        raise ValueError((await reader.read(4)).decode())

    async with StreamServer(LOCAL, handle) as server:
        for _ in range(2):
            async with connected(server) as client:
                assert await client.asks(b"oops") == b""
    assert server.failed == 2
    assert "the handler of 127.0.0.1" in caplog.text
    assert "ValueError: oops" in caplog.text


async def test_a_peer_that_resets_is_no_failure(world: World, caplog: pytest.LogCaptureFixture):
    async with StreamServer(LOCAL, echo) as server:
        with socket.create_connection((server.address.host, server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await until(lambda: server.active == 1)
        await until(lambda: server.active == 0)
    assert (server.lost, server.failed) == (1, 0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.fault(30)
async def test_a_system_exit_in_a_handler_stops_the_tree(world: World):
    async def handle(reader: Any, writer: Any) -> None:
        raise SystemExit(3)

    server = StreamServer(LOCAL, handle)
    serving = world.ask(server.serve_forever)
    await server.wait("ready")
    async with connected(server):
        with pytest.raises(SystemExit):
            await serving.result()


def test_a_server_without_a_handler_is_refused():
    for kind in (StreamServer, ProtocolServer):
        with pytest.raises(ConfigError, match=f"{kind.__name__} at .* has no"):
            kind(":7000")


# -- stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_idle_connections_are_closed_at_once(
    world: World, kind: str, tls: bool, authority: Any
):
    options, more = {}, {}
    if tls:
        options = dict(zip(("certfile", "keyfile"), authority.issue("localhost"), strict=True))
        context = ssl.create_default_context(cafile=authority.cafile)
        more = {"ssl": context, "server_hostname": "localhost"}
    server = serving(kind, **options)
    await server.start()
    async with connected(server, **more) as client:
        await client.asks()
        began = asyncio.get_running_loop().time()
        await server.stop()
        assert asyncio.get_running_loop().time() - began < 1
        assert await client.reader.read() == b""
    assert server.cut == 0


@pytest.mark.parametrize("tls", [False, True])
async def test_a_handler_at_work_finishes_and_its_answer_arrives(
    world: World, tls: bool, authority: Any
):
    async def handle(reader: Any, writer: Any) -> None:
        while question := await reader.read(100):
            began.open()
            await gate.passed()
            writer.write(question.upper())
        writer.write(b" goodbye")

    began, gate = world.gate(), world.gate()
    options, more = {}, {}
    if tls:
        options = dict(zip(("certfile", "keyfile"), authority.issue("localhost"), strict=True))
        context = ssl.create_default_context(cafile=authority.cafile)
        more = {"ssl": context, "server_hostname": "localhost"}
    server = StreamServer(LOCAL, handle, **options)
    await server.start()
    async with connected(server, **more) as client:
        client.writer.write(b"question")
        await began.passed()
        stop = world.ask(server.stop)
        await until(lambda: server.draining)
        with pytest.raises(OSError):
            await asyncio.open_connection(server.address.host, server.port or 1)
        gate.open()
        assert await client.reader.read() == b"QUESTION goodbye"
        await stop.result()
    assert (server.handled, server.cut) == (1, 0)


async def test_what_was_queued_before_the_stop_is_served(world: World):
    server = StreamServer(LOCAL, echo)
    await server.start()
    clients = [socket.create_connection((server.address.host, server.port)) for _ in range(5)]
    for client in clients:
        client.sendall(b"hello")
    await server.stop()
    for client in clients:
        assert client.recv(10) == b"hello"
        client.close()


@pytest.mark.fault(71)
async def test_what_does_not_end_is_cut_and_what_swallows_that_is_left_behind(
    world: World, caplog: pytest.LogCaptureFixture
):
    async def handle(reader: Any, writer: Any) -> None:
        gate = world.gate()
        while not world.closing:
            try:
                await gate.passed()
            except BaseException:
                continue

    server = StreamServer(LOCAL, handle, drain_timeout=0.05)
    await server.start()
    async with connected(server) as client:
        await until(lambda: server.active == 1)
        await server.stop()
        assert await client.reader.read() == b""
    assert server.cut == 1
    assert "cut 1 connection after" in caplog.text
    assert "does not end, and is left behind" in caplog.text
    assert "await gate.passed()" in caplog.text


async def test_a_handler_may_stop_its_own_server(world: World):
    async def handle(reader: Any, writer: Any) -> None:
        await server.stop()
        writer.write(b"stopped")

    server = StreamServer(LOCAL, handle)
    await server.start()
    async with connected(server) as client:
        assert await client.reader.read() == b"stopped"


async def test_a_server_of_another_backend_is_refused(world: World):
    from ginkgo.async_ import gevent

    root = Service()
    root.add_service(gevent.StreamServer(LOCAL, lambda *args: None))
    with pytest.raises(ConfigError, match="for gevent, and its tree runs on asyncio"):
        await root.start()
