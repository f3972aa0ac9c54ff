"""Servers with protocols, which only asyncio has: what comes in, how it ends, how it stops."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import ssl
import weakref
from pathlib import Path
from typing import Any

import pytest
from tests.dialects import WORLDS, World
from tests.servers.asyncio_clients import LOCAL, connected, until

from ginkgo.async_.asyncio import ProtocolServer
from ginkgo.core.errors import Unavailable


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


def serving(address: Any = LOCAL, **options: Any) -> Any:
    return ProtocolServer(address, Echo, **options)


async def test_each_connection_is_served_and_counted(world: World):
    async with serving() as server:
        async with connected(server) as one, connected(server) as other:
            assert await one.asks(b"1") == b"1"
            assert await other.asks(b"2") == b"2"
            assert server.active == server.accepted == 2
        await until(lambda: server.active == 0)
        assert server.handled == 2


async def test_a_protocol_whose_connection_is_lost_is_let_go(world: World):
    gc.disable()  # it may have nothing to collect
    try:
        async with serving() as server:
            async with connected(server) as client:
                await client.asks()
                (protocol,) = (weakref.ref(each.protocol) for each in server._handlers)
            await until(lambda: server.active == 0)
            await until(lambda: protocol() is None)
    finally:
        gc.enable()


async def test_a_protocol_that_cannot_be_made_is_a_failure_and_told(
    world: World, caplog: pytest.LogCaptureFixture
):
    def make() -> Any:
        raise FileNotFoundError("no such greeting")

    async with ProtocolServer(LOCAL, make) as server, connected(server) as client:
        assert await client.reader.read() == b""
        assert (server.failed, server.lost, server.active) == (1, 0, 0)
    assert "FileNotFoundError: no such greeting" in caplog.text


async def test_a_connection_that_its_peer_resets_is_lost(world: World):
    async with serving() as server:
        with socket.create_connection((server.address.host, server.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await until(lambda: server.active == 1)
        await until(lambda: server.active == 0)
    assert (server.handled, server.lost) == (0, 1)


async def test_it_listens_on_a_unix_socket_and_removes_it(world: World, tmp_path: Path):
    path = tmp_path / "socket"
    async with serving(f"unix:{path}") as server, connected(server) as client:
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert await client.asks() == b"hello"
    assert not path.exists()


async def test_it_speaks_tls(world: World, authority: Any):
    certfile, keyfile = authority.issue("localhost")
    context = ssl.create_default_context(cafile=authority.cafile)
    server = serving(certfile=certfile, keyfile=keyfile, handshake_timeout=0.2)
    async with server:
        async with connected(server, ssl=context, server_hostname="localhost") as client:
            assert await client.asks() == b"hello"
        async with connected(server) as silent:
            assert await silent.reader.read() == b"", "a client that does not shake hands is cut"
        await until(lambda: server.active == 0)
        assert server.lost == 1


async def test_connections_beyond_the_limit_wait(world: World):
    async with serving(max_connections=1) as server, connected(server) as one:
        assert await one.asks() == b"hello"
        async with connected(server) as other:
            other.writer.write(b"waits")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await other.reader.read(1)
            assert server.accepted == 1
            await one.close()
            assert await other.reader.read(5) == b"waits"


async def test_a_port_that_is_taken_fails_the_start_and_says_by_whom(world: World):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = serving(taken.getsockname())
        with pytest.raises(Unavailable, match="the address is in use by this very process"):
            await server.start()


async def test_it_may_be_bound_before_it_starts(world: World):
    server = serving()
    server.bind()
    async with connected(server) as client:
        client.writer.write(b"early")
        async with server:
            assert await client.reader.read(5) == b"early"


async def test_answers_do_not_wait_for_the_peers_acknowledgement(world: World):
    async with serving() as server, connected(server) as client:
        await client.asks()
        (handler,) = server._handlers
        assert handler.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_without_descriptors_it_tries_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("ginkgo.servers.asyncio_server.BREATHER", 0.02)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving() as server:
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


# -- stopping ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
async def test_idle_connections_are_closed_at_once(world: World, tls: bool, authority: Any):
    options, more = {}, {}
    if tls:
        options = dict(zip(("certfile", "keyfile"), authority.issue("localhost"), strict=True))
        context = ssl.create_default_context(cafile=authority.cafile)
        more = {"ssl": context, "server_hostname": "localhost"}
    server = serving(**options)
    await server.start()
    async with connected(server, **more) as client:
        await client.asks()
        began = asyncio.get_running_loop().time()
        await server.stop()
        assert asyncio.get_running_loop().time() - began < 1
        assert await client.reader.read() == b""
    assert server.cut == 0
