"""The client that keeps its connection: when it tries again, what it tells, how it stops."""

from __future__ import annotations

import importlib
import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.dialects import done
from tests.servers.conftest import Authority
from tests.servers.kit import LOCAL, Kit, Talk, echo

from ginkgo.core.errors import ConfigError
from ginkgo.core.service import Service
from ginkgo.servers.retry import Retry

AT_ONCE = Retry(first=0.001, limit=0.01)


class Time:
    """A clock that only the client's sleeps move; a test lets each end when it wants to."""

    def __init__(self, kit: Kit) -> None:
        self.now = 1000.0
        self._kit = kit
        self._sleeps: list[float] = []
        self._gates: list[Any] = []

    async def _sleep(self, seconds: float) -> None:
        gate = self._kit.world.gate()
        self._gates.append(gate)
        self._sleeps.append(seconds)
        await gate.passed()
        self.now += seconds

    async def next_sleep(self) -> float:
        """Wait until the client sleeps; for how long it does so."""
        await self._kit.until(lambda: self._sleeps)
        return self._sleeps.pop(0)

    def go_on(self) -> None:
        """Let the sleep end."""
        self._gates.pop(0).open()

    def give_to(self, client: Any) -> Any:
        client._clock = lambda: self.now
        client._random = lambda: 1.0
        client._sleep = lambda seconds: self._kit.world.play(self._sleep, seconds)
        return client


@pytest.fixture
def time(kit: Kit) -> Time:
    return Time(kit)


@pytest.fixture
def nowhere() -> Iterator[tuple[str, int]]:
    """An address at which nobody listens, and nobody else can begin to."""
    with socket.socket() as bound:
        bound.bind(LOCAL)
        yield bound.getsockname()


def target(server: Any) -> tuple[str, int]:
    return ("127.0.0.1", server.port)


def told(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= level and record.name == "ginkgo.servers.client"
    ]


async def until_the_end(talk: Talk) -> None:
    while await talk.read():
        pass


async def hang_up(talk: Talk) -> None:
    """Be done with it at once."""


async def test_the_handler_gets_a_connection(kit: Kit):
    answers: list[bytes] = []

    async def ask(talk: Talk) -> None:
        await talk.write(b"hello")
        answers.append(await talk.read(5))
        await talk.read(1)

    async with kit.running(kit.stream_server()) as server:
        async with kit.running(kit.stream_client(target(server), ask)) as client:
            await kit.until(lambda: answers)
            assert answers == [b"hello"]
            assert client.connected and client.connections == client.attempts == 1
        assert not client.connected


async def test_a_subclass_has_its_handler_as_a_method(kit: Kit):
    handle = kit.talking(until_the_end)
    Once = type("Once", (kit.StreamClient,), {"handle": lambda self, *args: handle(*args)})
    server = kit.stream_server()
    server.bind()
    async with kit.running(server), kit.running(Once(target(server))) as client:
        await kit.until(lambda: client.connected)


@pytest.mark.parametrize("backend", ["gevent", "asyncio", "threading"])
def test_a_client_that_can_do_nothing_is_refused(backend: str):
    StreamClient = importlib.import_module(f"ginkgo.async_.{backend}").StreamClient
    with pytest.raises(ConfigError, match=r"StreamClient for \*:7000 has no handler"):
        StreamClient(":7000")
    with pytest.raises(ConfigError, match="one too much"):
        StreamClient("x:80", print, ssl_context=ssl.create_default_context(), cafile="a")
    with pytest.raises(ConfigError, match="needs a server_hostname"):
        StreamClient("unix:/a", print, tls=True)


@pytest.mark.parametrize("kind", ["unix", "name", "every interface"])
async def test_it_connects_to_every_form_of_address(kit: Kit, tmp_path: Path, kind: str):
    listens, connects = {
        "unix": (f"unix:{tmp_path / 'a'}", f"unix:{tmp_path / 'a'}"),
        "name": (LOCAL, "localhost"),
        "every interface": ("0.0.0.0:0", "0.0.0.0"),
    }[kind]
    async with kit.running(kit.stream_server(address=listens)) as server:
        address = connects if kind == "unix" else (connects, server.port)
        async with kit.running(kit.stream_client(address, until_the_end, retry=AT_ONCE)) as client:
            await kit.until(lambda: client.connected)


async def test_it_is_ready_although_nobody_answers(kit: Kit, nowhere: Any, time: Time):
    async with kit.running(time.give_to(kit.stream_client(nowhere))) as client:
        await time.next_sleep()
        assert client.ready and not client.connected


async def test_the_waits_between_attempts_grow_up_to_the_limit(kit: Kit, nowhere: Any, time: Time):
    client = time.give_to(kit.stream_client(nowhere, retry=Retry(first=1, limit=5)))
    async with kit.running(client):
        waits = []
        for _ in range(5):
            waits.append(await time.next_sleep())
            time.go_on()
    assert waits == [1, 2, 4, 5, 5]


async def test_a_healthy_connection_makes_the_next_wait_short_again(kit: Kit, time: Time):
    lasting = [0.0, 0.0, 60.0, 0.0]

    async def last(talk: Talk) -> None:
        time.now += lasting.pop(0)

    async with kit.running(kit.stream_server()) as server:
        client = time.give_to(kit.stream_client(target(server), last, retry=Retry(first=1)))
        async with kit.running(client):
            waits = []
            for _ in range(4):
                waits.append(await time.next_sleep())
                if lasting:
                    time.go_on()
    assert waits == [1, 2, 1, 2]


async def test_it_connects_again_when_the_peer_closes(kit: Kit):
    async with kit.running(kit.stream_server(hang_up)) as server:
        client = kit.stream_client(target(server), until_the_end, retry=AT_ONCE)
        async with kit.running(client):
            await kit.until(lambda: client.connections >= 3)
        assert client.failed == 0


async def test_it_finds_a_server_that_comes_back(kit: Kit, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    server = kit.stream_server()
    async with kit.running(server):
        address = target(server)
        client = kit.stream_client(address, until_the_end, retry=AT_ONCE)
        await done(client.start())
        await kit.until(lambda: client.connected)
    await kit.until(lambda: client.attempts > 2)
    async with kit.running(kit.stream_server(address=address)) as again:
        await kit.until(lambda: client.connected)
        await kit.until(lambda: again.accepted == 1)
        await done(client.stop())
    name = f"StreamClient: connected to 127.0.0.1:{address[1]}"
    first, lost, back = told(caplog)
    assert first == name
    assert lost == (
        f"StreamClient: lost the connection to 127.0.0.1:{address[1]}: "
        "the handler is done with it; connecting again"
    )
    assert back.startswith(f"{name}, at attempt ")


async def test_an_unreachable_peer_is_told_once(
    kit: Kit, nowhere: Any, time: Time, caplog: pytest.LogCaptureFixture
):
    async with kit.running(time.give_to(kit.stream_client(nowhere))):
        for _ in range(30):
            await time.next_sleep()
            time.go_on()
    [message] = told(caplog)
    assert message.startswith(f"StreamClient: cannot reach 127.0.0.1:{nowhere[1]}: ")
    assert "[Errno 111] Conn" in message
    assert message.endswith("; connecting again")


async def test_a_peer_that_hangs_up_over_and_over_is_told_seldom(
    kit: Kit, time: Time, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    async with kit.running(kit.stream_server(hang_up)) as server:
        client = kit.stream_client(target(server), until_the_end, retry=Retry(first=1, limit=1))
        async with kit.running(time.give_to(client)):
            for _ in range(12):
                await time.next_sleep()
                time.go_on()
            await time.next_sleep()
    assert len(told(caplog, logging.WARNING)) == 2
    assert "(9 times before that)" in told(caplog, logging.WARNING)[1]
    assert len(told(caplog)) <= 5


async def test_an_unknown_host_is_told_and_tried_again(
    kit: Kit, time: Time, caplog: pytest.LogCaptureFixture
):
    async with kit.running(time.give_to(kit.stream_client("nothing.invalid:80"))) as client:
        await time.next_sleep()
        assert "cannot reach nothing.invalid:80" in told(caplog)[0]
        assert client.ready
    too_long = "x" * 70 + ".invalid:80"
    async with kit.running(time.give_to(kit.stream_client(too_long))) as client:
        await time.next_sleep()
        assert "is no name of a host" in told(caplog)[1]
        assert client.ready


@pytest.mark.parametrize("where", ["connect", "handshake"])
async def test_a_peer_that_does_not_answer_is_given_up_in_time(
    kit: Kit, time: Time, where: str, caplog: pytest.LogCaptureFixture
):
    with socket.create_server(LOCAL, backlog=0) as full:
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(3 if where == "connect" else 0)]
        for filler in fillers:  # the queue of the kernel is full: nobody more gets through
            filler.setblocking(False)
            filler.connect_ex(address)
        tls = {"tls": True} if where == "handshake" else {}
        client = time.give_to(kit.stream_client(address, connect_timeout=0.05, **tls))
        async with kit.running(client):
            await time.next_sleep()
            assert client.attempts == 1 and client.connections == 0
        for filler in fillers:
            filler.close()
    assert "no connection within 0.05 s" in caplog.text


class Unlucky(Exception):
    pass


async def test_a_handler_that_raises_is_told_and_it_connects_again(
    kit: Kit, caplog: pytest.LogCaptureFixture
):
    async def raises(talk: Talk) -> None:
        raise Unlucky("no luck")

    async with kit.running(kit.stream_server()) as server:
        client = kit.stream_client(target(server), raises, retry=AT_ONCE)
        async with kit.running(client):
            await kit.until(lambda: client.failed >= 3)
            assert client.ready
    assert told(caplog, logging.ERROR)[0] == ("StreamClient: the handler failed: Unlucky: no luck")
    record = next(record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.exc_info is not None and record.exc_info[2] is not None


@pytest.mark.fault(30)
@pytest.mark.parametrize("error", [SystemExit(4), KeyboardInterrupt()])
async def test_exit_in_a_handler_stops_the_tree(kit: Kit, error: BaseException):
    async def leave(talk: Talk) -> None:
        raise error

    app = Service()
    server = app.add_service(kit.stream_server())
    server.bind()
    app.add_service(kit.stream_client(target(server), leave))
    with pytest.raises(type(error)) as raised:
        await done(app.serve_forever())
    assert raised.value.args == error.args
    assert app.state == "stopped"


@pytest.mark.parametrize("where", ["handler", "waiting", "connecting", "handshake"])
async def test_a_stop_ends_it_at_once(
    kit: Kit, nowhere: Any, where: str, caplog: pytest.LogCaptureFixture
):
    async with kit.running(kit.stream_server(until_the_end)) as server:
        address = nowhere if where == "waiting" else target(server)
        options: dict[str, Any] = {"tls": True} if where == "handshake" else {}
        client = kit.stream_client(address, until_the_end, retry=Retry(first=60), **options)
        await done(client.start())
        if where == "handler":
            await kit.until(lambda: client.connected)
        elif where == "waiting":
            await kit.until(lambda: caplog.records)
        elif where == "handshake":
            await kit.until(lambda: server.accepted)
        with kit.takes_at_most(2):
            await done(client.stop())
        assert not client.connected
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_handler_that_swallows_its_end_does_not_connect_again(kit: Kit):
    async def swallow(talk: Talk) -> None:
        try:
            await kit.world.gate().passed()
        except kit.world.Ended:
            pass

    async with kit.running(kit.stream_server()) as server:
        client = kit.stream_client(target(server), swallow, retry=AT_ONCE)
        async with kit.running(client):
            await kit.until(lambda: client.connected)
            with kit.takes_at_most(4):
                await done(client.stop())
        assert client.connections == 1


async def test_it_can_be_started_again(kit: Kit):
    async with kit.running(kit.stream_server()) as server:
        client = kit.stream_client(target(server), until_the_end)
        for _ in range(3):
            async with kit.running(client):
                await kit.until(lambda: client.connected)
        assert client.connections == 3


async def test_server_and_client_in_one_tree(kit: Kit):
    lines: list[bytes] = []

    async def serve(talk: Talk) -> None:
        while not await over.passed(0.001):
            await talk.write(b"Hello World\n")

    async def read(talk: Talk) -> None:
        while data := await talk.read():
            lines.append(data)

    over = kit.world.gate()
    app = Service()
    server = app.add_service(kit.stream_server(serve))
    server.bind()
    app.add_service(kit.stream_client(target(server), read))
    async with kit.running(app):
        await kit.until(lambda: len(lines) >= 3)
        over.open()
    assert b"".join(lines).startswith(b"Hello World\nHello World\nHello World\n")
    assert server.cut == 0


# -- TLS -----------------------------------------------------------------------------------------


async def test_it_verifies_whom_it_talks_to(kit: Kit, authority: Authority):
    answers: list[bytes] = []

    async def ask(talk: Talk) -> None:
        await talk.write(b"hello")
        answers.append(await talk.read(10))
        await talk.read(1)

    certfile, keyfile = authority.issue("127.0.0.1")
    server = kit.stream_server(certfile=certfile, keyfile=keyfile)
    server.bind()
    client = kit.stream_client(target(server), ask, cafile=authority.cafile)
    async with kit.running(server), kit.running(client):
        await kit.until(lambda: answers)
    assert answers == [b"hello"]


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_it_does_not_talk_to_somebody_else(
    kit: Kit, authority: Authority, time: Time, caplog: pytest.LogCaptureFixture, wrong: str
):
    certfile, keyfile = authority.issue("127.0.0.1")
    options: dict[str, Any] = {"tls": True}
    if wrong == "name":
        options = {"cafile": authority.cafile, "server_hostname": "example.org"}
    async with kit.running(kit.stream_server(certfile=certfile, keyfile=keyfile)) as server:
        client = time.give_to(kit.stream_client(target(server), echo, **options))
        async with kit.running(client):
            await time.next_sleep()
            assert client.connections == 0
    assert "certificate verify failed" in told(caplog, logging.WARNING)[0]


async def test_it_can_show_a_certificate_of_its_own(kit: Kit, authority: Authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.cafile)
    context.load_cert_chain(*authority.issue("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    certfile, keyfile = authority.issue("client.test")
    async with kit.running(kit.stream_server(ssl_context=context)) as server:
        shown = {"certfile": certfile, "keyfile": keyfile, "cafile": authority.cafile}
        client = kit.stream_client(target(server), until_the_end, **shown)
        async with kit.running(client):
            await kit.until(lambda: server.active == 1 and client.connected)
            assert (client.connections, server.lost) == (1, 0)


async def test_a_missing_cafile_fails_the_start(kit: Kit):
    client = kit.stream_client("localhost:80", cafile="missing.pem")
    with pytest.raises(ConfigError, match=r"missing.pem cannot be read"):
        await done(client.start())
