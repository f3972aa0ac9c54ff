"""How a server stops: who waits in its queue, who is idle, who is at work, and who will not end."""

from __future__ import annotations

import importlib
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from tests.dialects import done
from tests.servers.kit import LOCAL, Kit, Talk, echo

from ginkgo.core.errors import GinkgoError
from ginkgo.core.service import Service
from ginkgo.servers.listening import FIRST_WORD


@pytest.mark.fault(76)
async def test_idle_connections_are_closed_at_once(kit: Kit):
    async with kit.running(kit.stream_server(drain_timeout=30)) as server:
        clients = [kit.connected(server) for _ in range(10)]
        for client in clients:
            assert await client.asks(b"x") == b"x"
        with kit.takes_at_most(3):
            await done(server.stop())
        assert [await client.hears() for client in clients] == [b""] * 10
        assert (server.cut, server.handled, server.active) == (0, 10, 0)


async def test_connections_that_never_said_a_word_are_closed_soon(kit: Kit):
    async with kit.running(kit.stream_server(drain_timeout=30)) as server:
        client = kit.connected(server)
        with kit.takes_at_most(3) as stop:
            await done(server.stop())
        assert stop.seconds >= FIRST_WORD * 0.9
        assert await client.hears() == b""
        assert server.cut == 0


async def test_a_stop_without_connections_takes_no_time(kit: Kit):
    kit.sets("FIRST_WORD", 20.0)
    async with kit.running(kit.stream_server(drain_timeout=30)) as server:
        with kit.takes_at_most(3):
            await done(server.stop())


async def test_an_idle_handler_can_still_say_goodbye(kit: Kit):
    async def polite(talk: Talk) -> None:
        await echo(talk)
        await talk.write(b"goodbye")

    async with kit.running(kit.stream_server(polite)) as server:
        client = kit.connected(server)
        assert await client.asks(b"x") == b"x"
        await done(server.stop())
        assert await client.hears_all() == b"goodbye"


@pytest.mark.fault(77)
async def test_200_requests_under_way_are_all_answered(kit: Kit):
    gate = kit.world.gate()
    asked: list[bytes] = []

    async def slow(talk: Talk) -> None:
        while question := await talk.read(100):
            asked.append(question)
            await gate.passed()
            await talk.write(b"answer to " + question)

    async with kit.running(kit.stream_server(slow)) as server:
        clients = [kit.connected(server) for _ in range(200)]
        for number, client in enumerate(clients):
            await client.says(b"%d" % number)
        await kit.until(lambda: len(asked) == 200)
        stopping = kit.world.ask(server.stop)
        await kit.until(lambda: server.draining)
        await kit.world.sleep(FIRST_WORD * 1.5)
        assert not stopping.ended
        gate.open()
        answers = [await client.hears_all() for client in clients]
        assert answers == [b"answer to %d" % number for number in range(200)]
        await stopping.result()
        assert (server.cut, server.handled) == (0, 200)


@pytest.mark.fault(78)
@pytest.mark.parametrize("max_connections", [1, 7])
async def test_60_clients_in_the_queue_are_all_answered(kit: Kit, max_connections: int):
    gate = kit.world.gate()

    async def slow(talk: Talk) -> None:
        await gate.passed()
        await echo(talk)

    async with kit.running(kit.stream_server(slow, max_connections=max_connections)) as server:
        clients = [kit.connected(server) for _ in range(60)]
        for number, client in enumerate(clients):
            await client.says(b"%d" % number)
        await kit.until(lambda: server.active == max_connections)
        assert server.accepted == max_connections
        stopping = kit.world.ask(server.stop)
        await kit.until(lambda: server.draining)
        gate.open()
        answers = [await client.hears_all() for client in clients]
        await stopping.result()
        assert answers == [b"%d" % number for number in range(60)]
        assert (server.accepted, server.cut) == (60, 0)


@pytest.mark.fault(78)
async def test_60_clients_that_came_just_before_the_stop_are_all_answered(kit: Kit):
    async with kit.running(kit.stream_server()) as server:
        clients = [kit.connected(server) for _ in range(60)]
        for number, client in enumerate(clients):
            client.socket.send(b"%d" % number)  # without a turn for the server
        await done(server.stop())
        answers = [await client.hears_all() for client in clients]
        assert answers == [b"%d" % number for number in range(60)]
        assert (server.accepted, server.cut) == (60, 0)


@pytest.mark.fault(78)
async def test_a_newcomers_first_request_is_answered_even_if_it_arrives_during_the_stop(kit: Kit):
    kit.sets("FIRST_WORD", 5.0)
    async with kit.running(kit.stream_server()) as server:
        client = kit.connected(server)
        stopping = kit.world.ask(server.stop)
        await kit.until(lambda: server.draining)
        assert await client.asks(b"just in time") == b"just in time"
        client.close()
        await stopping.result()


async def test_nobody_new_is_let_in_while_it_drains(kit: Kit, tmp_path: Path):
    gate = kit.world.gate()

    async def slow(talk: Talk) -> None:
        await gate.passed()

    address = f"unix:{tmp_path / 'a'}"
    async with kit.running(kit.stream_server(slow, address)) as server:
        path = server.address.path
        kit.connected(server)
        await kit.until(lambda: server.active == 1)
        stopping = kit.world.ask(server.stop)
        await kit.until(lambda: server.draining and not Path(path).exists())
        with pytest.raises(FileNotFoundError):
            kit.connected_to(path)
        gate.open()
        await stopping.result()


@pytest.mark.fault(76)
async def test_what_does_not_finish_in_time_is_cut_counted_and_told(
    kit: Kit, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)

    async def hang(talk: Talk) -> None:
        await kit.world.gate().passed()

    async with kit.running(kit.stream_server(hang, drain_timeout=0.2)) as server:
        clients = [kit.connected(server) for _ in range(3)]
        await kit.until(lambda: server.active == 3)
        with kit.takes_at_most(3) as stop:
            await done(server.stop())
        assert stop.seconds >= 0.2 * 0.9
        assert server.cut == 3
        assert [await client.hears() for client in clients] == [b""] * 3
    told = [re.sub(r"after [0-9.]+ s", "after TIME", m) for m in caplog.messages]
    assert "StreamServer: 3 still at work, and has up to 0.2 s to finish" in told
    assert "StreamServer: cut 3 connections after TIME" in told
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.fault(76)
@pytest.mark.parametrize("reads", [False, True])
async def test_a_client_that_hardly_reads_is_cut(kit: Kit, reads: bool):
    async def big(talk: Talk) -> None:
        await talk.read(1)
        for _ in range(500):
            await talk.write(b"x" * 100_000)

    async with kit.running(kit.stream_server(big, drain_timeout=0.3)) as server:
        client = kit.connected(server)
        await client.says(b"x")
        assert await client.hears(1) == b"x"
        with kit.takes_at_most(4):
            stopping = kit.world.ask(server.stop)
            while reads and not stopping.ended:
                try:
                    await client.hears(1)
                except ConnectionResetError:
                    break
                await kit.world.sleep(0.01)
            await stopping.result()
        assert server.cut == 1


@pytest.mark.fault(71)
async def test_a_handler_that_swallows_its_end_meets_a_closed_connection(kit: Kit):
    ended = kit.world.gate()

    async def stubborn(talk: Talk) -> None:
        while True:
            try:
                await kit.world.gate().passed()
            except kit.world.Ended:
                break
        while True:
            try:
                if not await talk.read(1):
                    break
            except kit.world.Ended:
                pass
            except OSError:
                break
        ended.open()

    async with kit.running(kit.stream_server(stubborn, drain_timeout=0.1)) as server:
        kit.connected(server)
        await kit.until(lambda: server.active == 1)
        with kit.takes_at_most(4):
            await done(server.stop())
        assert await ended.passed(2)
        assert (server.cut, server.active) == (1, 0)


@pytest.mark.fault(71)
async def test_a_handler_that_will_not_end_is_left_behind_with_its_stack(
    kit: Kit, caplog: pytest.LogCaptureFixture
):
    kit.sets("CUT_TIME", 0.2)

    async def immortal(talk: Talk) -> None:
        gate = kit.world.gate()
        while not kit.world.closing:
            try:
                await gate.passed()
            except BaseException:
                pass

    async with kit.running(kit.stream_server(immortal, drain_timeout=0.1)) as server:
        client = kit.connected(server)
        await kit.until(lambda: server.active == 1)
        with kit.takes_at_most(4):
            await done(server.stop())
        assert await client.hears(1) == b""
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "does not end, and is left behind" in record.getMessage()
    assert "await gate.passed()" in record.getMessage()


@pytest.mark.fault(74)
async def test_a_stop_that_is_broken_into_cuts_at_once(kit: Kit):
    async def hang(talk: Talk) -> None:
        await kit.world.gate().passed()

    server = kit.stream_server(hang, drain_timeout=60)
    server.stop_timeout = 0.2
    await done(server.start())
    client = kit.connected(server)
    await kit.until(lambda: server.active == 1)
    with (
        kit.takes_at_most(4),
        pytest.raises(GinkgoError, match=r"do_stop did not return within 0\.2 s"),
    ):
        await done(server.stop())
    assert await client.hears() == b""
    assert (server.cut, server.active) == (1, 0)


@pytest.mark.parametrize("backend", ["gevent", "asyncio", "threading"])
def test_its_stop_timeout_leaves_room_for_a_long_drain(backend: str):
    StreamServer = importlib.import_module(f"ginkgo.async_.{backend}").StreamServer
    assert StreamServer(LOCAL, print).stop_timeout is None
    assert StreamServer(LOCAL, print, drain_timeout=30).stop_timeout == 32


@pytest.mark.fault(80)
async def test_a_subclass_says_how_a_handler_comes_to_its_end(kit: Kit):
    over = kit.world.gate()

    async def push(talk: Talk) -> None:
        while not await over.passed(0.01):
            await talk.write(b"tick\n")
        await talk.write(b"over\n")

    handle = kit.talking(push)

    class Pushing(kit.StreamServer):  # type: ignore[name-defined, misc]
        def handle(self, *args: Any) -> Any:
            return handle(*args)

        def wind_down(self, *_: Any) -> None:
            over.open()

    async with kit.running(Pushing(LOCAL)) as server:
        client = kit.connected(server)
        assert await client.hears(5) == b"tick\n"
        await done(server.stop())
        assert (await client.hears_all()).endswith(b"over\n")
        assert server.cut == 0


async def test_a_tree_with_a_server_stops_in_order(kit: Kit):
    events: list[str] = []

    async def handle(talk: Talk) -> None:
        await echo(talk)
        events.append("handler")

    class App(Service):
        def do_stop(self) -> None:
            events.append("app")

    app = App()
    server = app.add_service(kit.stream_server(handle))
    await done(app.start())
    assert await kit.connected(server).asks(b"x") == b"x"
    await done(app.stop())
    assert events == ["app", "handler"]


async def test_ten_cycles_leave_what_one_did(kit: Kit):
    kit.sets("FIRST_WORD", 0.01)
    server = kit.stream_server()
    for _ in range(10):
        async with kit.running(server):
            assert await kit.connected(server).asks(b"x") == b"x"
        assert server.active == 0
    assert server.handled == 10
