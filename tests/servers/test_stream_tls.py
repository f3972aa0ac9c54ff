"""Servers of connections that speak TLS."""

from __future__ import annotations

import logging
import os
import ssl
from contextlib import suppress
from typing import Any

import pytest
from tests.dialects import done
from tests.servers.conftest import Authority
from tests.servers.kit import Client, Kit, Talk, echo

from ginkgo.core.errors import ConfigError


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.cafile)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


@pytest.fixture
def files(authority: Authority) -> dict[str, str]:
    certfile, keyfile = authority.issue("localhost")
    return {"certfile": certfile, "keyfile": keyfile}


def secured(
    kit: Kit, server: Any, context: ssl.SSLContext, name: str = "localhost"
) -> Any:  # a coroutine that gives a Client
    return kit.connected(server).secure(context, name)


async def test_it_speaks_tls_with_a_certificate(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext
):
    async with kit.running(kit.stream_server(**files)) as server:
        client: Client = await secured(kit, server, trusting)
        assert client.socket.version() == "TLSv1.3"
        await client.says(b"x" * 100_000)
        assert await client.hears_all(100_000) == b"x" * 100_000


async def test_a_client_that_says_goodbye_is_no_failure(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext
):
    async with kit.running(kit.stream_server(**files)) as server:
        client = await secured(kit, server, trusting)
        assert await client.asks() == b"hello"
        client.close()
        await kit.until(lambda: server.active == 0)
        assert (server.handled, server.failed, server.lost) == (1, 0, 0)


async def test_it_speaks_tls_with_a_context_of_ones_own(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext
):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files.values())
    async with kit.running(kit.stream_server(ssl_context=context)) as server:
        client = await secured(kit, server, trusting)
        assert await client.asks() == b"hello"


async def test_a_certificate_that_cannot_be_read_fails_the_start(kit: Kit):
    server = kit.stream_server(certfile="missing.pem")
    with pytest.raises(ConfigError, match=r"missing.pem cannot be read"):
        await done(server.start())
    assert server.port is None


async def test_a_client_that_says_nothing_harms_nobody_and_is_ended_in_time(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext
):
    async with kit.running(kit.stream_server(handshake_timeout=0.3, **files)) as server:
        silent = [kit.connected(server) for _ in range(20)]
        client = await secured(kit, server, trusting)
        assert await client.asks() == b"hello"
        assert [await one.hears(1) for one in silent] == [b""] * 20
        assert await client.asks(b"again") == b"again"
        await kit.until(lambda: server.lost == 20)


async def test_a_client_that_speaks_something_else_is_no_failure(
    kit: Kit, files: dict[str, str], caplog: pytest.LogCaptureFixture
):
    async with kit.running(kit.stream_server(**files)) as server:
        client = kit.connected(server)
        await client.says(b"GET / HTTP/1.0\r\n\r\n")
        with suppress(ConnectionResetError):
            await client.hears_all()
        kit.connected(server).close()
        await kit.until(lambda: server.lost == 2)
        assert server.failed == 0
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_the_peer_is_told_that_it_has_got_all(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext
):
    async def handle(talk: Talk) -> None:
        await talk.write(b"all")

    async with kit.running(kit.stream_server(handle, **files)) as server:
        client = await secured(kit, server, trusting)
        assert await client.hears(10) == b"all"
        assert await client.hears(10) == b""  # a missing goodbye would raise


async def test_a_handler_that_fails_says_no_goodbye(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext
):
    async def fails(talk: Talk) -> None:
        await talk.write(b"half of it")
        raise RuntimeError

    async with kit.running(kit.stream_server(fails, **files)) as server:
        client = await secured(kit, server, trusting)
        assert await client.hears(10) == b"half of it"
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            await client.hears(10)


@pytest.mark.fault(76)
@pytest.mark.parametrize("own_context", [False, True])
async def test_at_stop_an_idle_connection_ends_and_its_last_words_go_out(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext, own_context: bool
):
    async def polite(talk: Talk) -> None:
        await echo(talk)
        await talk.write(b"goodbye")

    options: dict[str, Any] = dict(files)
    if own_context:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*files.values())
        options = {"ssl_context": context}
    async with kit.running(kit.stream_server(polite, **options)) as server:
        client = await secured(kit, server, trusting)
        assert await client.asks(b"x") == b"x"
        with kit.takes_at_most(3):
            await done(server.stop())
        assert await client.hears_all() == b"goodbye"
        assert (server.cut, server.lost, server.handled) == (0, 0, 1)


@pytest.mark.fault(77)
async def test_at_stop_a_connection_at_work_is_finished(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext
):
    began, gate = kit.world.gate(), kit.world.gate()

    async def slow(talk: Talk) -> None:
        await talk.read(10)
        began.open()
        await gate.passed()
        await talk.write(b"answer")

    async with kit.running(kit.stream_server(slow, **files)) as server:
        client = await secured(kit, server, trusting)
        await client.says(b"x")
        await began.passed()
        stopping = kit.world.ask(server.stop)
        await kit.until(lambda: server.draining)
        gate.open()
        assert await client.hears_all() == b"answer"
        await stopping.result()
        assert server.cut == 0


async def test_a_reload_takes_the_new_certificate_for_new_connections(
    kit: Kit, authority: Authority, trusting: ssl.SSLContext
):
    files = authority.issue("old.test")
    server = kit.stream_server(certfile=files[0], keyfile=files[1])
    async with kit.running(server):
        old = await secured(kit, server, trusting, "old.test")
        for path, new in zip(files, authority.issue("new.test"), strict=True):
            os.rename(new, path)
        await done(server.reload())
        await secured(kit, server, trusting, "new.test")
        assert await old.asks(b"still here") == b"still here"


async def test_a_key_that_only_root_can_read_is_read_when_the_server_is_bound(
    kit: Kit, files: dict[str, str], trusting: ssl.SSLContext
):
    server = kit.stream_server(**files)
    server.bind()
    os.unlink(files["keyfile"])  # as if the privileges were given up now
    async with kit.running(server):
        client = await secured(kit, server, trusting)
        assert await client.asks() == b"hello"
