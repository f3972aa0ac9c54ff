"""Servers of connections: what they take in, where they listen, and what their handlers may do."""

from __future__ import annotations

import importlib
import logging
import os
import resource
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.dialects import done
from tests.servers.kit import LOCAL, Kit, Talk, echo

from ginkgo.core.errors import ConfigError, Unavailable
from ginkgo.core.service import Service
from ginkgo.servers.addresses import Address, AddressError

BACKENDS = ["gevent", "asyncio", "threading"]


async def test_each_connection_has_a_handler_of_its_own(kit: Kit):
    async with kit.running(kit.stream_server()) as server:
        clients = [kit.connected(server) for _ in range(20)]
        for number, client in enumerate(clients):
            assert await client.asks(b"%d" % number) == b"%d" % number
        assert server.active == server.accepted == 20
        for client in clients:
            client.close()
        await kit.until(lambda: server.active == 0)
        assert server.handled == 20


async def test_the_handler_knows_its_peer(kit: Kit):
    peers: list[Any] = []

    async def handle(talk: Talk) -> None:
        peers.append(talk.peer)

    async with kit.running(kit.stream_server(handle)) as server:
        client = kit.connected(server)
        assert await client.hears() == b""
        assert peers == [client.socket.getsockname()]


async def test_a_subclass_has_its_handler_as_a_method(kit: Kit):
    handle = kit.talking(echo)
    Echo = type("Echo", (kit.StreamServer,), {"handle": lambda self, *args: handle(*args)})
    async with kit.running(Echo(LOCAL)) as server:
        assert await kit.connected(server).asks() == b"hello"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_server_that_cannot_serve_is_refused(backend: str):
    StreamServer = importlib.import_module(f"ginkgo.async_.{backend}").StreamServer
    with pytest.raises(ConfigError, match=r"StreamServer at \*:7000 has no handler"):
        StreamServer(":7000")
    with pytest.raises(ConfigError, match="may take nothing in"):
        StreamServer(":7000", print, max_connections=0)
    with pytest.raises(AddressError, match="has no port"):
        StreamServer("localhost", print)


async def test_the_connection_is_closed_when_the_handler_returns(kit: Kit):
    async def handle(talk: Talk) -> None:
        await talk.write(b"bye")

    async with kit.running(kit.stream_server(handle)) as server:
        assert await kit.connected(server).hears_all() == b"bye"


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", ":0", 0, ("localhost", 0)])
async def test_it_listens_at_every_form_of_address(kit: Kit, address: Any):
    async with kit.running(kit.stream_server(address=address)) as server:
        assert await kit.connected(server).asks() == b"hello"


async def test_on_every_interface_an_ipv4_client_has_its_ipv4_address(
    kit: Kit, caplog: pytest.LogCaptureFixture
):
    async def handle(talk: Talk) -> None:
        raise ValueError("tells who")

    async with kit.running(kit.stream_server(handle, ":0")) as server:
        for host in ("127.0.0.1", "::1"):
            client = kit.connected_to((host, server.port))
            assert await client.hears() == b""
            name = str(Address.of(client.socket.getsockname()))
            assert f"the handler of {name} failed" in caplog.text


async def test_it_listens_on_a_unix_socket_and_removes_it(kit: Kit, tmp_path: Path):
    path = tmp_path / "a.sock"
    async with kit.running(kit.stream_server(address=f"unix:{path}")) as server:
        assert path.stat().st_mode & 0o777 == 0o600
        assert await kit.connected(server).asks() == b"hello"
        assert server.port is None
    assert not path.exists()


async def test_a_socket_that_listens_already_can_be_given(kit: Kit):
    with socket.create_server(LOCAL) as given:
        server = kit.stream_server(address=given)
        for _ in range(2):
            async with kit.running(server):
                assert await kit.connected(server).asks() == b"hello"


async def test_a_given_socket_keeps_its_queue_for_whoever_has_given_it(kit: Kit):
    busy = kit.world.gate()

    async def handle(talk: Talk) -> None:
        busy.open()
        await echo(talk)

    with socket.create_server(LOCAL) as given:
        async with kit.running(kit.stream_server(handle, given, max_connections=1)) as server:
            first = kit.connected_to(given.getsockname())
            await busy.passed()
            waiting = kit.connected_to(given.getsockname())
            await waiting.says(b"hello")
            await done(server.stop())
            assert await first.hears() == b""
            assert server.accepted == 1
            accepted, _ = given.accept()
            with accepted:
                assert accepted.recv(10) == b"hello"


async def test_an_answer_in_two_pieces_does_not_wait_for_an_acknowledgement(kit: Kit):
    options: list[int] = []

    async def handle(talk: Talk) -> None:
        options.append(talk.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async with kit.running(kit.stream_server(handle)) as server:
        await kit.connected(server).hears()
    assert options != [0]


# -- binding -------------------------------------------------------------------------------------


@pytest.mark.fault("O8")
async def test_it_listens_when_start_returns(kit: Kit):
    server = kit.stream_server()
    assert server.port is None
    assert server.address == Address("127.0.0.1", 0)
    async with kit.running(server):
        assert server.address == Address("127.0.0.1", server.port)
        kit.connected(server)


@pytest.mark.fault(1)
@pytest.mark.fault("O8")
async def test_a_port_in_use_fails_the_start_of_the_tree_and_names_the_service(kit: Kit):
    app = Service()
    with socket.create_server(LOCAL) as taken:
        first = app.add_service(kit.stream_server())
        second = app.add_service(kit.stream_server(address=taken.getsockname()))
        second.name = "web"
        with pytest.raises(
            Unavailable, match=r"Service/web cannot listen on 127.0.0.1:.*this very"
        ):
            await done(app.start())
    assert app.state == "failed"
    assert first.state == "stopped"
    assert second.failure is not None and second.failure.phase == "start"


async def test_it_can_be_bound_before_it_starts_and_lets_clients_wait(kit: Kit):
    server = kit.stream_server()
    server.bind()
    port = server.port
    client = kit.connected(server)
    await client.says(b"early")
    server.bind()
    async with kit.running(server):
        assert server.port == port
        assert await client.hears() == b"early"


def test_a_bind_can_be_undone(kit: Kit, tmp_path: Path):
    path = tmp_path / "a.sock"
    server = kit.stream_server(address=f"unix:{path}")
    server.bind()
    assert path.exists()
    server.unbind()
    server.unbind()
    assert not path.exists()


async def test_the_port_is_free_after_the_stop_and_it_can_be_started_again(kit: Kit):
    server = kit.stream_server()
    for _ in range(3):
        async with kit.running(server):
            port = server.port
            assert await kit.connected(server).asks() == b"hello"
        assert server.port is None
        with socket.create_server(("127.0.0.1", port)):
            pass
    assert server.accepted == 3


@pytest.mark.fault("O9")
async def test_stopping_one_server_leaves_the_other_alone(kit: Kit):
    async with kit.running(kit.stream_server()) as one, kit.running(kit.stream_server()) as other:
        client = kit.connected(other)
        assert await client.asks() == b"hello"
        await done(one.stop())
        assert await client.asks() == b"hello"
        assert await kit.connected(other).asks() == b"hello"


async def test_a_server_of_another_backend_is_refused(kit: Kit):
    other = "gevent" if kit.backend != "gevent" else "threading"
    root = Service()
    root.add_service(importlib.import_module(f"ginkgo.async_.{other}").StreamServer(LOCAL, print))
    with pytest.raises(ConfigError, match=f"for {other}, and its tree runs on {kit.backend}"):
        await done(root.start())


# -- handlers that fail --------------------------------------------------------------------------


class Unlucky(Exception):
    pass


async def test_a_handler_that_raises_is_told_with_its_peer_and_harms_nobody(
    kit: Kit, caplog: pytest.LogCaptureFixture
):
    async def handle(talk: Talk) -> None:
        if await talk.read() == b"fail":
            raise Unlucky("no luck")
        await talk.write(b"ok")

    async with kit.running(kit.stream_server(handle)) as server:
        good, bad = kit.connected(server), kit.connected(server)
        assert await bad.asks(b"fail") == b""
        assert await good.asks(b"go") == b"ok"
        host, port = bad.socket.getsockname()
        await kit.until(lambda: server.active == 0)
        assert (server.failed, server.handled, server.lost) == (1, 1, 0)
        assert server.ready
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == (
        f"StreamServer: the handler of {host}:{port} failed: Unlucky: no luck"
    )
    assert record.exc_info is not None and record.exc_info[2] is not None


@pytest.mark.fault(50)
@pytest.mark.parametrize("how", ["reads", "writes"])
async def test_a_client_that_goes_away_is_no_failure(
    kit: Kit, caplog: pytest.LogCaptureFixture, how: str
):
    async def handle(talk: Talk) -> None:
        await talk.write(b"Hello World\n")
        while how == "writes" or await talk.read():
            await talk.write(b"Hello World\n")

    async with kit.running(kit.stream_server(handle)) as server:
        client = kit.connected(server)
        await client.hears()
        client.resets()
        await kit.until(lambda: server.active == 0)
        assert (server.lost, server.failed) == (1, 0)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_an_error_of_another_socket_is_a_failure(kit: Kit):
    async def handle(talk: Talk) -> None:
        with socket.socket() as other:
            other.connect(("127.0.0.1", 1))

    async with kit.running(kit.stream_server(handle)) as server:
        await kit.connected(server).hears()
        await kit.until(lambda: server.active == 0)
        assert (server.failed, server.lost) == (1, 0)


@pytest.mark.fault(30)
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_exit_in_a_handler_stops_the_tree_in_order(kit: Kit, error: BaseException):
    async def handle(talk: Talk) -> None:
        raise error

    app = Service()
    server = app.add_service(kit.stream_server(handle))
    forever = kit.world.ask(app.serve_forever)
    await done(app.wait("ready"))
    await kit.connected(server).hears()
    with pytest.raises(type(error)) as raised:
        await forever.result()
    assert raised.value.args == error.args
    assert app.state == server.state == "stopped"


async def test_a_handler_may_stop_its_own_tree(kit: Kit):
    async def handle(talk: Talk) -> None:
        await done(app.stop())
        await talk.write(b"stopped")

    app = Service()
    server = app.add_service(kit.stream_server(handle, drain_timeout=60))
    await done(app.start())
    assert await kit.connected(server).hears_all() == b"stopped"
    await done(app.wait("stopped"))
    assert server.cut == 0


# -- limits --------------------------------------------------------------------------------------


async def test_no_more_connections_are_taken_in_than_allowed(kit: Kit):
    async with kit.running(kit.stream_server(max_connections=2)) as server:
        first, second, third = (kit.connected(server) for _ in range(3))
        assert await first.asks() == await second.asks() == b"hello"
        await third.says(b"hello")
        await kit.world.sleep(0.02)
        assert server.active == server.accepted == 2
        first.close()
        assert await third.hears() == b"hello"


@pytest.mark.fault(42)
async def test_without_descriptors_it_waits_warns_once_and_recovers(
    kit: Kit, caplog: pytest.LogCaptureFixture
):
    kit.sets("BREATHER", 0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with kit.running(kit.stream_server()) as server:
        queued = [socket.socket() for _ in range(20)]
        for client in queued:
            client.setblocking(False)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            for client in queued:
                client.connect_ex(("127.0.0.1", server.port))
            await kit.until(lambda: caplog.records)
            began, used = time.monotonic(), time.process_time()
            await kit.world.sleep(0.5)
            assert (time.process_time() - used) / (time.monotonic() - began) < 0.05
            assert server.active == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await kit.until(lambda: server.accepted == 20)
        assert server.ready
        for client in queued:
            client.close()
    [record] = caplog.records
    assert "StreamServer: cannot take in what waits at 127.0.0.1:" in record.getMessage()
    assert "Too many open files" in record.getMessage()


@pytest.mark.fault(39)
async def test_hundreds_of_connections_leave_nothing(kit: Kit):
    async def many() -> None:
        for _ in range(25):
            with kit.connected(server) as client:
                assert await client.asks(b"x") == b"x"

    async with kit.running(kit.stream_server()) as server:
        askers = [kit.world.ask(many) for _ in range(20)]
        for asker in askers:
            await asker.result()
        await kit.until(lambda: server.active == 0)
        assert server.handled == 500
