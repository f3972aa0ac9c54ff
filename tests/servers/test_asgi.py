"""The ASGI server on asyncio and uvloop: uvicorn's protocols, and our way of everything else."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from tests.dialects import WORLDS, World
from tests.servers.asyncio_clients import LOCAL, connected, until

from ginkgo.async_.asyncio import ASGIServer
from ginkgo.core.errors import ApplicationFailed, ConfigError


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, _nothing_left_behind: None) -> Any:
    world: World = WORLDS[request.param]()
    yield world
    world.close()
    world.leave()


async def hello(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: %b\r\n\r\n"


async def get(server: Any, path: bytes = b"/") -> bytes:
    async with connected(server) as client:
        client.writer.write(GET % (path, b"close"))
        return await client.reader.read()


async def test_it_answers_and_counts(world: World):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    async with ASGIServer(LOCAL, hello) as server:
        head, _, body = (await get(server, b"/there")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"\r\ndate: " in head
        assert body.endswith(b"/there") or b"/there" in body
        await until(lambda: server.active == 0)
        assert server.requests == server.handled == 1
        for number, handler in handlers.items():
            assert signal.getsignal(number) is handler, "uvicorn's handlers stay off"


async def test_a_subclass_has_its_application_as_a_method(world: World):
    class App(ASGIServer):
        async def application(self, scope: Any, receive: Any, send: Any) -> None:
            await hello(scope, receive, send)

    async with App(LOCAL, lifespan="off") as server:
        assert b"/mine" in await get(server, b"/mine")


class Site:
    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)


async def test_a_method_of_another_object_is_an_application_too(world: World):
    async with ASGIServer(LOCAL, Site().app) as server:
        assert b"/mine" in await get(server, b"/mine")


async def test_the_lifespan_is_part_of_start_and_stop(world: World):
    told = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["db"] = "open"
            for what in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{what}"
                told.append(what)
                await send({"type": f"lifespan.{what}.complete"})
        else:
            assert scope["state"]["db"] == "open"
            await hello(scope, receive, send)

    async with ASGIServer(LOCAL, app) as server:
        assert told == ["startup"]
        assert b"200" in await get(server)
    assert told == ["startup", "shutdown"]


async def test_a_startup_that_fails_fails_the_start(world: World):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no database")

    server = ASGIServer(LOCAL, app, lifespan="on")
    with pytest.raises(ApplicationFailed, match="ASGIServer: the application's startup failed"):
        await server.start()
    assert server.state == "failed"


async def test_idle_connections_are_closed_and_requests_under_way_answered_at_stop(world: World):
    began, gate = world.gate(), world.gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            began.open()
            await gate.passed()
        await hello(scope, receive, send)

    server = ASGIServer(LOCAL, app, lifespan="off")
    await server.start()
    async with connected(server) as idle, connected(server) as busy:
        idle.writer.write(GET % (b"/quick", b"keep-alive"))
        await idle.reader.readuntil(b"/quick")
        busy.writer.write(GET % (b"/slow", b"keep-alive"))
        await began.passed()
        stop = world.ask(server.stop)
        await idle.reader.read()
        assert not stop.ended
        gate.open()
        assert b"/slow" in await busy.reader.read()
        await stop.result()
    assert server.cut == 0


@pytest.mark.fault(71)
async def test_a_request_that_does_not_end_is_cut(world: World):
    began = world.gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        began.open()
        await world.gate().passed()

    server = ASGIServer(LOCAL, app, lifespan="off", drain_timeout=0.05)
    await server.start()
    async with connected(server) as client:
        client.writer.write(GET % (b"/", b"close"))
        await began.passed()
        await server.stop()
        assert await client.reader.read() == b""
    assert server.cut == 1


async def test_a_connection_that_becomes_a_websocket_is_still_watched(world: World):
    class Sockets(asyncio.Protocol):
        def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None):
            self.connections = server_state.connections

        def connection_made(self, transport: Any) -> None:
            self.connections.add(self)
            self.transport = transport
            transport.write(b"it speaks")

        def connection_lost(self, error: Any) -> None:
            self.connections.discard(self)

        def data_received(self, data: bytes) -> None:
            pass

        def shutdown(self) -> None:
            self.transport.write(b" goodbye")
            self.transport.close()

    server = ASGIServer(LOCAL, hello, lifespan="off", uvicorn={"ws": Sockets})
    await server.start()
    async with connected(server) as client:
        client.writer.write(GET % (b"/", b"Upgrade\r\nUpgrade: websocket"))
        assert await client.reader.readexactly(9) == b"it speaks"
        assert server.active == 1
        await server.stop()
        assert await client.reader.read() == b" goodbye"
    assert (server.handled, server.cut) == (1, 0)


def test_a_server_without_an_application_is_refused():
    with pytest.raises(ConfigError, match="ASGIServer at :8000 has no application"):
        ASGIServer(":8000")
