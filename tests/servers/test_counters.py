"""What servers count: connections, bytes, requests and their durations, on every backend."""

from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.asyncio_world import UvloopWorld
from tests.dialects import done
from tests.servers.conftest import Authority
from tests.servers.kit import Kit, Talk, echo

from ginkgo.core.errors import Unavailable
from ginkgo.servers.traffic import BOUNDS, Durations, Traffic, carried_by

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


async def test_bytes_of_an_open_connection_are_counted_while_it_is_open(kit: Kit):
    async with kit.running(kit.stream_server(echo)) as server:
        client = kit.connected(server)
        assert await client.asks(b"hello") == b"hello"
        assert await client.asks(b"and again") == b"and again"
        counters = server.counters()
        assert (counters["bytes_in"], counters["bytes_out"]) == (14, 14)
        assert (counters["accepted"], counters["active"]) == (1, 1)


async def test_bytes_are_the_same_after_the_connection_has_closed(kit: Kit):
    async with kit.running(kit.stream_server(echo)) as server:
        for _ in range(3):
            with kit.connected(server) as client:
                assert await client.asks(b"x" * 1000) == b"x" * 1000
        await kit.until(lambda: server.counters()["active"] == 0)
        counters = server.counters()
        assert (counters["bytes_in"], counters["bytes_out"]) == (3000, 3000)
        assert (counters["handled"], counters["errors"]) == (3, 0)
    assert server.counters()["bytes_in"] == 3000  # a stop forgets nothing


async def test_bytes_that_the_peer_has_not_taken_yet_are_counted_too(kit: Kit):
    async def give(talk: Talk) -> None:
        await talk.write(b"y" * 2_000_000)

    async with kit.running(kit.stream_server(give)) as server:
        client = kit.connected(server)
        assert len(await client.hears_all()) == 2_000_000
        await kit.until(lambda: server.counters()["active"] == 0)
        assert server.counters()["bytes_out"] == 2_000_000


async def test_bytes_are_counted_when_the_handler_closes_its_connection_itself(kit: Kit):
    async def answer_and_close(talk: Talk) -> None:
        await talk.write(await talk.read())
        (talk.writer if kit.awaits else talk.connection).close()  # type: ignore[attr-defined]

    async with kit.running(kit.stream_server(answer_and_close)) as server:
        with kit.connected(server) as client:
            assert await client.asks(b"hello") == b"hello"
            assert await client.hears() == b""
        await kit.until(lambda: server.counters()["active"] == 0)
        assert server.counters()["bytes_in"] == server.counters()["bytes_out"] == 5


async def test_what_is_told_of_bytes_never_becomes_less(kit: Kit):
    seen = [(0, 0)]
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            counters = server.counters()
            seen.append((counters["bytes_in"], counters["bytes_out"]))

    async with kit.running(kit.stream_server(echo)) as server:
        looking = kit.world.in_thread(look)
        watcher = kit.world.ask(lambda: looking)
        for _ in range(100):
            with kit.connected(server) as client:
                assert await client.asks(b"hello") == b"hello"
        await kit.until(lambda: server.counters()["active"] == 0)
        over.set()
        await watcher.result()
        assert server.counters()["bytes_in"] == 500
    assert seen == sorted(seen)
    assert max(seen) <= (500, 500)


async def test_tls_counts_what_went_over_the_wire_or_does_not_say(kit: Kit, authority: Authority):
    certfile, keyfile = authority.issue("localhost")
    context = ssl.create_default_context(cafile=authority.cafile)
    server = kit.stream_server(echo, certfile=certfile, keyfile=keyfile)
    async with kit.running(server):
        client = await kit.connected(server).secure(context)
        assert await client.asks(b"x" * 1000) == b"x" * 1000
        client.close()
        await kit.until(lambda: server.counters()["active"] == 0)
        counters = server.counters()
    if isinstance(kit.world, UvloopWorld):
        assert "bytes_in" not in counters
    else:
        assert counters["bytes_in"] > 1200  # a handshake was there too
        assert counters["bytes_out"] > 1200


async def test_a_unix_socket_has_no_figure_for_bytes(kit: Kit, tmp_path: Path):
    async with kit.running(kit.stream_server(echo, f"unix:{tmp_path}/s")) as server:
        assert await kit.connected(server).asks(b"hello") == b"hello"
        counters = server.counters()
        assert counters["accepted"] == 1
        assert "bytes_in" not in counters
        assert "bytes_out" not in counters


async def test_datagrams_and_their_bytes_are_counted(kit: Kit):
    if kit.awaits:

        async def handle(data: bytes, address: Any) -> None:
            await server.sendto(data * 2, address)

    else:

        def handle(data: bytes, address: Any) -> None:  # type: ignore[misc]
            server.sendto(data * 2, address)

    server = kit.DatagramServer(("127.0.0.1", 0), handle)
    async with kit.running(server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            for _ in range(3):
                client.sendto(b"hello", ("127.0.0.1", server.port))
            await kit.until(lambda: server.counters()["handled"] == 3)
        counters = server.counters()
    assert (counters["accepted"], counters["bytes_in"], counters["bytes_out"]) == (3, 15, 30)
    with pytest.raises(Unavailable):
        await done(server.sendto(b"late", ("127.0.0.1", 9)))
    assert server.counters()["bytes_out"] == 30


async def test_requests_are_counted_with_their_durations(kit: Kit):
    async with kit.running(kit.WSGIServer(("127.0.0.1", 0), hello)) as server:
        client = kit.connected(server)
        for _ in range(5):
            assert b"200 OK" in await client.asks(REQUEST)
        await kit.until(lambda: server.counters()["requests"] == 5)
        assert server.counters()["bytes_in"] == 5 * len(REQUEST)
        client.close()
    assert server.counters()["requests"] == server.requests == 5  # a stop forgets nothing
    assert 0 < server._durations.seconds < 5 * 10


async def test_requests_are_counted_on_after_a_restart(kit: Kit):
    server = kit.WSGIServer(("127.0.0.1", 0), hello)
    for count in (1, 2):
        async with kit.running(server):
            assert b"200 OK" in await kit.connected(server).asks(REQUEST)
            await kit.until(lambda: server.requests == count)  # noqa: B023
    assert server.counters()["requests"] == 2


async def test_a_request_whose_client_leaves_early_is_counted(kit: Kit):
    begun, go_on = kit.latch(), kit.latch()

    def slow(environ: Any, start_response: Any) -> list[bytes]:
        begun.set()
        go_on.wait(10)
        return hello(environ, start_response)

    async with kit.running(kit.WSGIServer(("127.0.0.1", 0), slow)) as server:
        client = kit.connected(server)
        await client.says(REQUEST)
        await kit.until(begun.is_set)
        client.resets()
        go_on.set()
        await kit.until(lambda: server.counters()["requests"] == 1)
        await kit.until(lambda: server.counters()["active"] == 0)


async def test_an_application_that_raises_is_one_error_and_one_request(kit: Kit):
    def broken(environ: Any, start_response: Any) -> list[bytes]:
        raise ZeroDivisionError("of the test")

    async with kit.running(kit.WSGIServer(("127.0.0.1", 0), broken)) as server:
        assert b"500" in await kit.connected(server).asks(REQUEST)
        await kit.until(lambda: server.counters()["requests"] == 1)
        assert server.counters()["errors"] == 1


def test_a_closed_connection_and_one_that_the_kernel_does_not_count_tell_nothing():
    ends = socket.socketpair()
    assert carried_by(ends[0]) is None
    for end in ends:
        end.close()
    assert carried_by(ends[0]) is None


def test_a_connection_that_is_not_counted_any_more_is_not_counted_twice():
    traffic = Traffic()
    traffic.count(10, 20)
    assert traffic.total([object(), None]) == (10, 20)


def test_a_duration_falls_into_the_class_whose_bound_it_does_not_exceed():
    durations = Durations()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 1e-6, 1e9):
        durations.add(seconds)
    assert durations.counts[:2] == [2, 1]
    assert durations.counts[-1] == 1
    assert durations.total == 4
