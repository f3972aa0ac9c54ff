"""Servers of datagrams, on UDP and on unix sockets."""

from __future__ import annotations

import importlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.dialects import done
from tests.servers.kit import LOCAL, Client, Kit

from ginkgo.core.errors import ConfigError, Unavailable


@pytest.fixture
def client(kit: Kit) -> Iterator[Client]:
    with Client(kit, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.socket.bind(LOCAL)
        yield client


class Echo:
    """A handler that sends back what comes; `before` it does so something else may happen."""

    def __init__(self, kit: Kit, address: Any = LOCAL, before: Any = None, **options: Any) -> None:
        self.before = before
        self.peers: list[Any] = []
        self.server = kit.DatagramServer(address, kit.calling(self.handle), **options)

    async def handle(self, data: bytes, address: Any) -> None:
        self.peers.append(address)
        if self.before is not None:
            await self.before(data)
        await done(self.server.sendto(data, address))


def to(server: Any) -> tuple[str, int]:
    return ("127.0.0.1", server.port)


async def test_each_datagram_is_handled_and_answered_from_the_servers_address(
    kit: Kit, client: Client
):
    async with kit.running(Echo(kit).server) as server:
        client.socket.connect(to(server))  # what comes from elsewhere is not heard
        for number in range(100):
            assert await client.asks(b"%d" % number) == b"%d" % number
        await kit.until(lambda: server.handled == 100)
        assert server.accepted == 100


@pytest.mark.parametrize("data", [b"x" * 65507, b""], ids=["longest", "empty"])
async def test_every_length_arrives_whole(kit: Kit, client: Client, data: bytes):
    async with kit.running(Echo(kit).server) as server:
        client.socket.sendto(data, to(server))
        assert await client.hears(70000) == data


async def test_a_plain_function_can_handle_them(kit: Kit, client: Client):
    got: list[Any] = []
    server = kit.DatagramServer(LOCAL, lambda *args: got.append(args))
    async with kit.running(server):
        client.socket.sendto(b"hello", to(server))
        await kit.until(lambda: server.handled)
    assert got == [(b"hello", client.socket.getsockname())]


@pytest.mark.parametrize("backend", ["gevent", "asyncio", "threading"])
def test_without_a_handler_it_is_refused(backend: str):
    DatagramServer = importlib.import_module(f"ginkgo.async_.{backend}").DatagramServer
    with pytest.raises(ConfigError, match="has no handler"):
        DatagramServer(LOCAL)


async def test_on_every_interface_ipv4_is_answered_in_ipv4(kit: Kit, client: Client):
    echo = Echo(kit, ":0")
    async with kit.running(echo.server) as server:
        client.socket.sendto(b"hello", to(server))
        assert await client.hears() == b"hello"
        assert echo.peers == [client.socket.getsockname()]
        with Client(kit, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as six:
            six.socket.sendto(b"six", ("::1", server.port))
            assert await six.hears() == b"six"


async def test_it_works_on_a_unix_socket_and_removes_it(kit: Kit, tmp_path: Path):
    path = tmp_path / "server"
    async with kit.running(Echo(kit, f"unix:{path}").server):
        with Client(kit, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as client:
            client.socket.bind(str(tmp_path / "client"))
            client.socket.sendto(b"hello", str(path))
            assert await client.hears() == b"hello"
    assert not path.exists()


@pytest.mark.fault(1)
async def test_a_port_in_use_fails_the_start(kit: Kit):
    async with kit.running(Echo(kit).server) as first:
        second = Echo(kit, first.address).server
        with pytest.raises(Unavailable, match=r"cannot listen on .* in use by this very process"):
            await done(second.start())


async def test_a_handler_that_raises_is_told_with_its_peer_and_harms_nobody(
    kit: Kit, client: Client, caplog: pytest.LogCaptureFixture
):
    async def picky(data: bytes) -> None:
        if data == b"bad":
            raise ValueError(data)

    async with kit.running(Echo(kit, before=picky).server) as server:
        client.socket.sendto(b"bad", to(server))
        client.socket.sendto(b"good", to(server))
        assert await client.hears() == b"good"
        await kit.until(lambda: (server.failed, server.handled) == (1, 1))
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    host, port = client.socket.getsockname()
    assert record.getMessage() == (
        f"DatagramServer: the handler of a datagram from {host}:{port} failed: ValueError: b'bad'"
    )


async def test_an_answer_that_nobody_wants_harms_nobody(kit: Kit, client: Client):
    async with kit.running(Echo(kit).server) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rude:
            rude.sendto(b"x", to(server))
        client.socket.sendto(b"polite", to(server))
        assert await client.hears() == b"polite"


async def test_no_more_are_in_work_than_allowed(kit: Kit, client: Client):
    gate = kit.world.gate()

    async def wait(data: bytes) -> None:
        await gate.passed()

    async with kit.running(Echo(kit, before=wait, max_active=3).server) as server:
        for _ in range(10):
            client.socket.sendto(b"x", to(server))
        await kit.until(lambda: server.active == 3)
        await kit.world.sleep(0.02)
        assert server.active == server.accepted == 3
        gate.open()
        await kit.until(lambda: server.handled == 10)


@pytest.mark.fault(78)
@pytest.mark.parametrize("max_active", [1, 1000])
async def test_at_stop_what_has_arrived_is_answered(kit: Kit, client: Client, max_active: int):
    began, gate = kit.world.gate(), kit.world.gate()

    async def wait(data: bytes) -> None:
        began.open()
        await gate.passed()

    async with kit.running(Echo(kit, before=wait, max_active=max_active).server) as server:
        for number in range(5):
            client.socket.sendto(b"%d" % number, to(server))
        await began.passed()
        stopping = kit.world.ask(server.stop)
        await kit.until(lambda: server.draining)
        gate.open()
        await stopping.result()
        heard = [await client.hears() for _ in range(5)]
        assert sorted(heard) == [b"%d" % number for number in range(5)]
        assert server.cut == 0


@pytest.mark.fault(76)
async def test_at_stop_what_does_not_finish_is_cut(
    kit: Kit, client: Client, caplog: pytest.LogCaptureFixture
):
    async def hang(data: bytes) -> None:
        await kit.world.gate().passed()

    async with kit.running(Echo(kit, before=hang, drain_timeout=0.1).server) as server:
        client.socket.sendto(b"x", to(server))
        await kit.until(lambda: server.active == 1)
        with kit.takes_at_most(3):
            await done(server.stop())
        assert server.cut == 1
    assert "DatagramServer: cut 1 datagram after " in caplog.text


@pytest.mark.fault(30)
async def test_exit_in_a_handler_stops_the_tree(kit: Kit, client: Client):
    async def leave(data: bytes) -> None:
        raise SystemExit(5)

    server = Echo(kit, before=leave).server
    server.bind()
    client.socket.sendto(b"x", to(server))
    with pytest.raises(SystemExit) as raised:
        await done(server.serve_forever())
    assert raised.value.code == 5
    assert server.state == "stopped"


async def test_a_server_that_does_not_run_cannot_send(kit: Kit):
    with pytest.raises(Unavailable, match="the server does not run"):
        await done(Echo(kit).server.sendto(b"x", ("127.0.0.1", 1)))
