"""The ASGI server on every backend: on gevent and threads the application runs on the bridge."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.dialects import World, done
from tests.servers.conftest import Authority
from tests.servers.kit import LOCAL, Kit
from tests.workshop import Workshop

from ginkgo.core.errors import ApplicationFailed, ConfigError, Unavailable
from ginkgo.core.service import Service

Make = Callable[..., Any]


@pytest.fixture
def world(world: World) -> Iterator[World]:
    from ginkgo.async_.bridge import bridge

    yield world
    assert bridge.close()


@pytest.fixture
def asgi(world: World) -> Make:
    """The server, as a service on this backend imports it."""
    make: Make = importlib.import_module(f"ginkgo.async_.{world.name}").ASGIServer
    return make


class Gate:
    """What an application waits for on its loop; the test opens it from wherever it runs."""

    def __init__(self) -> None:
        self.is_open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def passed(self) -> None:
        mine = asyncio.get_running_loop(), asyncio.Event()
        self._waiting.append(mine)
        if not self.is_open:
            await mine[1].wait()

    def open(self) -> None:
        self.is_open = True
        for loop, event in self._waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: %b\r\n\r\n"


async def get(kit: Kit, server: Any, path: bytes = b"/") -> bytes:
    with kit.connected(server) as client:
        await client.says(GET % (path, b"close"))
        return await client.hears_all()


@pytest.mark.fault(78)
async def test_a_newcomers_first_request_is_answered_even_if_it_arrives_during_the_stop(
    kit: Kit, asgi: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ginkgo.servers.serving.FIRST_WORD", 5.0)
    async with kit.running(asgi(LOCAL, hello)) as server:
        with kit.connected(server) as client:
            await kit.until(lambda: server.active == 1)
            stopping = kit.world.ask(server.stop)
            await kit.until(lambda: server.draining)
            await client.says(GET % (b"/in-time", b"close"))
            assert b"/in-time" in await client.hears_all()
        await stopping.result()


async def test_it_answers_and_counts(kit: Kit, asgi: Make):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    async with kit.running(asgi(LOCAL, hello)) as server:
        head, _, body = (await get(kit, server, b"/there")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"\r\ndate: " in head
        assert b"/there" in body
        await kit.until(lambda: server.active == 0)
        assert server.requests == server.handled == 1
        for number, handler in handlers.items():
            assert signal.getsignal(number) is handler, "uvicorn's handlers stay off"


async def test_the_application_runs_on_a_loop(kit: Kit, asgi: Make):
    there = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        there.append((threading.get_ident(), asyncio.get_running_loop()))
        await hello(scope, receive, send)

    async with kit.running(asgi(LOCAL, app, lifespan="off")) as server:
        await get(kit, server)
    thread, _ = there[0]
    assert (thread == threading.get_ident()) == kit.awaits


async def test_it_is_a_part_of_a_tree(kit: Kit, asgi: Make):
    app = Service()
    server = app.add_service(asgi(LOCAL, hello))
    async with kit.running(app):
        assert server.ready
        assert b"200" in await get(kit, server)
    assert server.state == "stopped"


async def test_it_runs_again_after_a_stop(kit: Kit, asgi: Make):
    server = asgi(LOCAL, hello, lifespan="off")
    for _ in range(3):
        async with kit.running(server):
            assert b"/again" in await get(kit, server, b"/again")
    assert server.handled == 3


async def test_a_subclass_has_its_application_as_a_method(kit: Kit, asgi: Make):
    class App(asgi):  # type: ignore[misc, valid-type]
        async def application(self, scope: Any, receive: Any, send: Any) -> None:
            await hello(scope, receive, send)

    async with kit.running(App(LOCAL, lifespan="off")) as server:
        assert b"/mine" in await get(kit, server, b"/mine")


async def test_the_lifespan_is_part_of_start_and_stop(kit: Kit, asgi: Make):
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

    async with kit.running(asgi(LOCAL, app)) as server:
        assert told == ["startup"]
        assert b"200" in await get(kit, server)
    assert told == ["startup", "shutdown"]


async def test_a_startup_that_fails_fails_the_start(
    kit: Kit, asgi: Make, caplog: pytest.LogCaptureFixture
):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no database")

    server = asgi(LOCAL, app, lifespan="on")
    with pytest.raises(ApplicationFailed, match="ASGIServer: the application's startup failed"):
        await done(server.start())
    assert server.state == "failed"
    assert "no database" in caplog.text, "uvicorn's log is ours"


async def test_a_port_that_is_taken_fails_the_start_and_is_named(kit: Kit, asgi: Make):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = asgi(("127.0.0.1", port), hello)
        with pytest.raises(Unavailable, match=f"{port}.*ASGIServer|ASGIServer.*{port}"):
            await done(server.start())
    assert server.state == "failed"


async def test_it_listens_from_its_binding_on(kit: Kit, asgi: Make):
    server = asgi(LOCAL, hello, lifespan="off")
    server.bind()
    client = kit.connected(server)
    await client.says(GET % (b"/early", b"close"))
    async with kit.running(server):
        assert b"/early" in await client.hears_all()


async def test_it_speaks_tls(kit: Kit, asgi: Make, authority: Authority):
    import ssl

    certfile, keyfile = authority.issue("localhost")
    async with kit.running(asgi(LOCAL, hello, certfile=certfile, keyfile=keyfile)) as server:
        client = kit.connected(server)
        await client.secure(ssl.create_default_context(cafile=authority.cafile))
        await client.says(GET % (b"/secret", b"close"))
        answer = b""
        while b"/secret" not in answer:
            answer += await client.hears()


async def test_it_serves_a_unix_socket(kit: Kit, asgi: Make, tmp_path: Any):
    path = str(tmp_path / "web.sock")
    async with kit.running(asgi(f"unix:{path}", hello)) as server:
        assert b"/unix" in await get(kit, server, b"/unix")
    assert not os.path.exists(path)


async def test_requests_are_logged_when_that_is_asked_for(
    kit: Kit, asgi: Make, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "uvicorn.access")
    async with kit.running(asgi(LOCAL, hello, access_log=True)) as server:
        await get(kit, server, b"/logged")
    assert "GET /logged" in caplog.text


async def test_an_application_that_raises_is_told_and_the_next_request_is_answered(
    kit: Kit, asgi: Make, caplog: pytest.LogCaptureFixture
):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/bad":
            raise ValueError("broken")
        await hello(scope, receive, send)

    async with kit.running(asgi(LOCAL, app, lifespan="off")) as server:
        assert b"500 Internal" in await get(kit, server, b"/bad")
        assert b"/good" in await get(kit, server, b"/good")
    assert "broken" in caplog.text


async def test_idle_connections_are_closed_and_requests_under_way_answered_at_stop(
    kit: Kit, asgi: Make
):
    began: list[int] = []
    gate = Gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            began.append(1)
            await gate.passed()
        await hello(scope, receive, send)

    server = asgi(LOCAL, app, lifespan="off")
    await done(server.start())
    with kit.connected(server) as idle, kit.connected(server) as busy:
        await idle.says(GET % (b"/quick", b"keep-alive"))
        while b"/quick" not in await idle.hears():
            pass
        await busy.says(GET % (b"/slow", b"keep-alive"))
        await kit.until(lambda: began)
        stop = kit.world.ask(server.stop)
        assert await idle.hears_all() == b""
        assert not stop.ended
        gate.open()
        assert b"/slow" in await busy.hears_all()
        await stop.result()
    assert server.cut == 0


@pytest.mark.fault(71)
async def test_a_request_that_does_not_end_is_cut(kit: Kit, asgi: Make):
    began, gate = [], Gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        began.append(1)
        await gate.passed()

    server = asgi(LOCAL, app, lifespan="off", drain_timeout=0.05)
    await done(server.start())
    with kit.connected(server) as client:
        await client.says(GET % (b"/", b"close"))
        await kit.until(lambda: began)
        await done(server.stop())
        assert await client.hears() == b""
    assert server.cut == 1


async def test_a_connection_that_becomes_a_websocket_is_still_watched(kit: Kit, asgi: Make):
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

    server = asgi(LOCAL, hello, lifespan="off", uvicorn={"ws": Sockets})
    await done(server.start())
    with kit.connected(server) as client:
        await client.says(GET % (b"/", b"Upgrade\r\nUpgrade: websocket"))
        assert await client.hears_all(9) == b"it speaks"
        assert server.active == 1
        await done(server.stop())
        assert await client.hears_all() == b" goodbye"
    assert (server.handled, server.cut) == (1, 0)


@pytest.mark.parametrize("ends", ["stop", "startup"])
async def test_a_stop_during_the_startup_ends_it(kit: Kit, asgi: Make, ends: str):
    began, gate, ended = [], Gate(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        began.append(1)
        try:
            await gate.passed()
        finally:
            ended.append(1)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    server = asgi(LOCAL, app)
    if ends == "startup":
        server.start_timeout = 0.1
    start = kit.world.ask(server.start)
    await kit.until(lambda: began)
    if ends == "stop":
        await done(server.stop())
    with pytest.raises(Exception, match=r"was stopped|did not return"):
        await start.result()
    assert server.state == ("stopped" if ends == "stop" else "failed")
    await kit.until(lambda: ended)
    gate.open()


def test_a_server_without_an_application_is_refused():
    from ginkgo.async_.asyncio import ASGIServer

    with pytest.raises(ConfigError, match=r"ASGIServer at \*:8000 has no application"):
        ASGIServer(":8000")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("backend", ["gevent", "threading"])
def test_it_runs_in_a_process_of_its_own(shop: Workshop, backend: str, loop: str):
    shop.write(
        "app.py",
        f"""
        from ginkgo import Service
        from ginkgo.async_.{backend} import ASGIServer

        class App(Service):
            backend = {backend!r}

            def __init__(self):
                self.web = self.add_service(ASGIServer(("127.0.0.1", 0), self.answer))

            def do_start(self):
                print("port", self.web.port, flush=True)

            async def answer(self, scope, receive, send):
                if scope["type"] == "lifespan":
                    for what in ("startup", "shutdown"):
                        await receive()
                        print(what, flush=True)
                        await send({{"type": f"lifespan.{{what}}.complete"}})
                    return
                await self.async_.sleep(0.001)
                await send({{"type": "http.response.start", "status": 200, "headers": []}})
                await send({{"type": "http.response.body", "body": b"hello"}})
        """,
    )
    program = shop.begin("ginkgo", "--set", f"loop={loop}", "app.App")
    port = int(program.wait_for(r"^port \d+$")[0].split()[1])
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(GET % (b"/", b"close"))
            with client.makefile("rb") as answer:
                assert answer.read().endswith(b"hello\r\n0\r\n\r\n")
    assert program.stops() == 0
    assert "shutdown" in program.lines
