"""Web servers for WSGI applications, on every backend: requests, answers, and how they stop."""

from __future__ import annotations

import importlib
import logging
import re
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from flask import Flask, Response, request
from tests.dialects import done
from tests.servers.conftest import Authority
from tests.servers.kit import LOCAL, Client, Kit

from ginkgo.core.errors import ConfigError, Unavailable

Environ = dict[str, Any]
Start = Callable[..., Any]
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def hello(environ: Environ, start_response: Start) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "11")])
    return [b"Hello World"]


async def one_answer(client: Client) -> tuple[int, dict[str, str], bytes]:
    """The next answer, if it tells its length."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = await client.hears()
        assert more, got
        got += more
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(fields["content-length"]):
        body += await client.hears()
    return int(first.split()[1]), fields, body


async def answer_to(kit: Kit, server: Any, raw: bytes) -> bytes:
    """Ask, and read until the server closes."""
    with kit.connected(server) as client:
        await client.says(raw)
        try:
            return await client.hears_all()
        except ConnectionResetError:
            return b""


class Gated:
    """An application that answers when it is told to."""

    def __init__(self, kit: Kit) -> None:
        self.gate = kit.latch()
        self.waiting = 0

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        self.waiting += 1
        self.gate.wait(20)
        return hello(environ, start_response)


async def test_a_connection_is_kept_for_many_requests(kit: Kit):
    async with kit.running(kit.WSGIServer(LOCAL, validator(hello))) as server:
        client = kit.connected(server)
        for _ in range(20):
            await client.says(b"GET /path?a=b HTTP/1.1\r\nHost: x\r\n\r\n")
            status, fields, body = await one_answer(client)
            assert (status, fields["content-type"], body) == (200, "text/plain", b"Hello World")
        await kit.until(lambda: server.requests == 20)
        client.close()
        await kit.until(lambda: server.active == 0)
        assert (server.accepted, server.failed) == (1, 0)


async def test_flask_runs(kit: Kit):
    app = Flask(__name__)

    @app.route("/hello/<name>", methods=["GET", "POST"])
    def greet(name: str) -> Response:
        return Response(f"Hello {name} from {request.form.get('sender')}")

    async with kit.running(kit.WSGIServer(LOCAL, app)) as server:
        client = kit.connected(server)
        await client.says(
            b"POST /hello/World HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\nsender=me"
        )
        status, _, body = await one_answer(client)
        assert (status, body) == (200, b"Hello World from me")


async def test_a_subclass_has_its_application_as_a_method(kit: Kit):
    Web = type("Web", (kit.WSGIServer,), {"application": lambda self, *args: hello(*args)})
    async with kit.running(Web(LOCAL)) as server:
        client = kit.connected(server)
        await client.says(ASK)
        assert (await one_answer(client))[2] == b"Hello World"


@pytest.mark.parametrize("backend", ["gevent", "asyncio", "threading"])
def test_a_server_without_an_application_is_refused(backend: str):
    WSGIServer = importlib.import_module(f"ginkgo.async_.{backend}").WSGIServer
    with pytest.raises(ConfigError, match=r"WSGIServer at \*:8000 has no application"):
        WSGIServer(":8000")


@pytest.mark.fault(1)
async def test_a_port_in_use_fails_the_start(kit: Kit):
    async with kit.running(kit.WSGIServer(LOCAL, hello)) as first:
        with pytest.raises(Unavailable, match=r"WSGIServer cannot listen on .* in use"):
            await done(kit.WSGIServer(first.address, hello).start())


async def test_the_environ_is_what_the_standard_asks_for(kit: Kit):
    seen: list[Environ] = []

    def look(environ: Environ, start_response: Start) -> Iterable[bytes]:
        environ["body"] = environ["wsgi.input"].read()
        seen.append(environ)
        return hello(environ, start_response)

    more = {"app.name": "mine", "SERVER_NAME": "public"}
    async with kit.running(kit.WSGIServer(LOCAL, look, environ=more)) as server:
        await answer_to(
            kit,
            server,
            b"POST /a%20b/?c=d%20e HTTP/1.1\r\nHost: example.org\r\nX-One: 1\r\nx-one: 2\r\n"
            b"Content-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
        )
        [environ] = seen
        assert environ["SERVER_PORT"] == str(server.port)
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/",
        "QUERY_STRING": "c=d%20e",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "4",
        "SERVER_NAME": "public",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "example.org",
        "HTTP_X_ONE": "1,2",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "app.name": "mine",
        "body": b"body",
    }
    assert {name: environ.get(name) for name in expected} == expected
    assert environ["REMOTE_PORT"].isdigit()
    assert not {"HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"} & set(environ)


async def test_it_listens_on_a_unix_socket(kit: Kit, tmp_path: Path):
    server = kit.WSGIServer(f"unix:{tmp_path / 'web'}", hello)
    async with kit.running(server):
        client = kit.connected(server)
        await client.says(ASK)
        assert (await one_answer(client))[2] == b"Hello World"


async def test_it_speaks_https(kit: Kit, authority: Authority):
    schemes: list[str] = []

    def look(environ: Environ, start_response: Start) -> Iterable[bytes]:
        schemes.append(environ["wsgi.url_scheme"])
        return hello(environ, start_response)

    certfile, keyfile = authority.issue("localhost")
    server = kit.WSGIServer(LOCAL, look, certfile=certfile, keyfile=keyfile)
    async with kit.running(server):
        context = ssl.create_default_context(cafile=authority.cafile)
        client = await kit.connected(server).secure(context)
        for _ in range(3):
            await client.says(ASK)
            assert (await one_answer(client))[2] == b"Hello World"
    assert schemes == ["https"] * 3


async def test_a_stop_does_not_wait_for_the_goodbye_of_an_idle_https_client(
    kit: Kit, authority: Authority
):
    certfile, keyfile = authority.issue("localhost")
    server = kit.WSGIServer(LOCAL, hello, certfile=certfile, keyfile=keyfile)
    async with kit.running(server):
        context = ssl.create_default_context(cafile=authority.cafile)
        client = await kit.connected(server).secure(context)
        await client.says(ASK)
        assert (await one_answer(client))[2] == b"Hello World"
        await done(server.stop())
        assert server.cut == 0


async def test_an_answer_of_unknown_length_comes_in_chunks(kit: Kit):
    def stream(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        yield b"one"
        yield b""
        yield b"two"

    async with kit.running(kit.WSGIServer(LOCAL, stream)) as server:
        raw = ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        got = await answer_to(kit, server, raw)
        assert b"transfer-encoding: chunked" in got.lower()
        assert got.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize("size", [0, 1, 65537, 3_000_000])
async def test_answers_of_every_size_arrive_whole(kit: Kit, size: int):
    def big(environ: Environ, start_response: Start) -> Iterable[bytes]:
        write = start_response("200 OK", [("Content-Length", str(size))])
        write(b"x" * (size // 2))
        return [b"x" * (size - size // 2)]

    async with kit.running(kit.WSGIServer(LOCAL, big)) as server:
        client = kit.connected(server)
        for _ in range(2):
            await client.says(ASK)
            assert (await one_answer(client))[2] == b"x" * size


async def test_the_result_is_closed(kit: Kit):
    class Result:
        closed = 0

        def __iter__(self) -> Any:
            return iter([b"x"])

        def close(self) -> None:
            Result.closed += 1

    def application(environ: Environ, start_response: Start) -> Any:
        start_response("200 OK", [("Content-Length", "1")])
        return Result()

    async with kit.running(kit.WSGIServer(LOCAL, application)) as server:
        client = kit.connected(server)
        for _ in range(2):
            await client.says(ASK)
            await one_answer(client)
        await kit.until(lambda: Result.closed == 2)


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no luck"), SystemExit(3), KeyboardInterrupt()])
async def test_nothing_that_an_application_raises_ends_the_server(
    kit: Kit, error: BaseException, caplog: pytest.LogCaptureFixture
):
    def application(environ: Environ, start_response: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/bad":
            raise error
        return hello(environ, start_response)

    async with kit.running(kit.WSGIServer(LOCAL, application)) as server:
        bad = kit.connected(server)
        await bad.says(b"GET /bad HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await bad.hears()).startswith(b"HTTP/1.1 500 ")
        good = kit.connected(server)
        await good.says(ASK)
        assert (await one_answer(good))[0] == 200
        assert server.ready
        assert server.failed == 1
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert re.match(
        rf'WSGIServer: the application failed at "GET /bad.*: {type(error).__name__}: ',
        record.getMessage(),
    )


async def test_an_application_that_raises_after_it_began_cuts_its_answer(
    kit: Kit, caplog: pytest.LogCaptureFixture
):
    def late(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])(b"something")
        raise ValueError("no luck")

    async with kit.running(kit.WSGIServer(LOCAL, late)) as server:
        got = await answer_to(kit, server, ASK)
        assert got.endswith(b"9\r\nsomething\r\n")  # without the end of the chunks
    assert "ValueError: no luck" in caplog.text


async def test_what_is_written_to_wsgi_errors_goes_to_the_log(
    kit: Kit, caplog: pytest.LogCaptureFixture
):
    def application(environ: Environ, start_response: Start) -> Iterable[bytes]:
        print("one", file=environ["wsgi.errors"])
        environ["wsgi.errors"].writelines(["two\n", "\n", "three"])
        return hello(environ, start_response)

    async with kit.running(kit.WSGIServer(LOCAL, application)) as server:
        client = kit.connected(server)
        await client.says(ASK)
        await one_answer(client)
    assert [m for m in caplog.messages if m.startswith("WSGIServer: ")] == [
        "WSGIServer: one",
        "WSGIServer: two",
        "WSGIServer: three",
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nNo field\r\n\r\n",
        b"\0\1\2\3\r\n\r\n",
    ],
)
async def test_a_request_that_cannot_be_understood_gives_400(
    kit: Kit, raw: bytes, caplog: pytest.LogCaptureFixture
):
    async with kit.running(kit.WSGIServer(LOCAL, hello)) as server:
        assert (await answer_to(kit, server, raw)).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        client = kit.connected(server)
        await client.says(ASK)
        assert (await one_answer(client))[0] == 200
        assert server.failed == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- stopping ------------------------------------------------------------------------------------


@pytest.mark.fault(76)
async def test_idle_kept_connections_are_closed_at_once(kit: Kit):
    async with kit.running(kit.WSGIServer(LOCAL, hello, drain_timeout=30)) as server:
        clients = [kit.connected(server) for _ in range(20)]
        for client in clients:
            await client.says(ASK)
            await one_answer(client)
        with kit.takes_at_most(3):
            await done(server.stop())
        assert [await client.hears() for client in clients] == [b""] * 20
        assert server.cut == 0


@pytest.mark.fault(77)
async def test_requests_under_way_are_answered_with_connection_close(kit: Kit):
    app = Gated(kit)
    count = 20  # each has a thread, but for gevent
    async with kit.running(kit.WSGIServer(LOCAL, app)) as server:
        clients = [kit.connected(server) for _ in range(count)]
        for client in clients:
            await client.says(ASK)
        await kit.until(lambda: app.waiting == count)
        stopping = kit.world.ask(server.stop)
        await kit.until(lambda: server.draining)
        app.gate.set()
        for client in clients:
            answer = await client.hears_all()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.lower().count(b"\r\nconnection: close\r\n") == 1
            assert answer.endswith(b"Hello World")
        await stopping.result()
        assert (server.accepted, server.cut) == (count, 0)


@pytest.mark.fault(78)
async def test_60_requests_in_the_queue_are_all_answered(kit: Kit):
    async with kit.running(kit.WSGIServer(LOCAL, hello)) as server:
        clients = [kit.connected(server) for _ in range(60)]
        for client in clients:
            client.socket.send(ASK)  # without a turn for the server
        await done(server.stop())
        answers = [await client.hears_all() for client in clients]
        assert all(answer.endswith(b"Hello World") for answer in answers)


@pytest.mark.fault(78)
@pytest.mark.parametrize("says", [ASK, b""], ids=["asks", "says nothing"])
@pytest.mark.parametrize("world", ["gevent", "threading"], indirect=True)
async def test_a_connection_that_comes_as_the_stop_begins_may_say_a_first_word(
    kit: Kit, says: bytes, monkeypatch: pytest.MonkeyPatch
):
    if says:
        for name in ("serving", "threading_server", "threading_wsgi", "wsgi"):
            monkeypatch.setattr(f"ginkgo.servers.{name}.FIRST_WORD", 20.0)
    gate = kit.latch()

    class Late(kit.WSGIServer):  # type: ignore[misc, name-defined]
        def handle(self, socket: Any, address: Any) -> None:
            gate.wait(20)
            super().handle(socket, address)

    async with kit.running(Late(LOCAL, hello, drain_timeout=30)) as server:
        client = kit.connected(server)
        await kit.until(lambda: server.active == 1)
        stopping = kit.world.ask(server.stop)
        await kit.until(lambda: server.draining)
        gate.set()
        if says:
            await kit.until(lambda: server._idle)  # it has looked, and nothing has come
            await client.says(says)
        answer = await client.hears_all()
        assert answer.endswith(b"Hello World") if says else answer == b""
        await stopping.result()
        assert server.cut == 0


@pytest.mark.fault(76)
async def test_a_client_that_hardly_reads_is_cut_in_the_end(kit: Kit):
    def big(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"x" * 1_000_000 for _ in range(50)]

    async with kit.running(kit.WSGIServer(LOCAL, big, drain_timeout=0.3)) as server:
        client = kit.connected(server)
        await client.says(ASK)
        await client.hears(1)
        with kit.takes_at_most(4):
            await done(server.stop())
        assert server.cut == 1


async def test_it_can_be_started_again(kit: Kit):
    server = kit.WSGIServer(LOCAL, hello)
    for _ in range(3):
        async with kit.running(server):
            client = kit.connected(server)
            await client.says(ASK)
            await one_answer(client)
    assert server.accepted == 3
