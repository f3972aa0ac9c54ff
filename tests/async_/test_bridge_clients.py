"""Clients written for asyncio, over the bridge: nats-py with a real server, and aiohttp."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import aiohttp
import nats
import nats.errors
import pytest
from tests.asyncio_world import LIMIT
from tests.broker import nats_server
from tests.dialects import WORLDS, World

from ginkgo import Service
from ginkgo.async_.bridge import bridge
from ginkgo.core.context import context


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with nats_server() as url:
        yield url


@pytest.fixture(params=["gevent", "threading"])
def world(request: pytest.FixtureRequest, _nothing_left_behind: None) -> Iterator[World]:
    """A backend that blocks. At the end the bridge is closed, and nothing of it may be left."""
    world = WORLDS[request.param]()
    before, context.backend = context.backend, world.name
    yield world
    context.backend = before
    world.close()
    world.leave()
    assert bridge.close()


class Messenger(Service):
    """A service with a connection to NATS."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.errors: list[Exception] = []

    def do_start(self) -> None:
        self.inbox = self.async_.queue()
        self.client = self.async_.run(nats.connect(self.url, error_cb=self.complains))

    def do_stop(self) -> None:
        self.async_.run(self.client.close())

    async def complains(self, error: Exception) -> None:
        self.errors.append(error)

    def request(self, subject: str, body: bytes, **options: Any) -> bytes:
        """A call as a service makes it: it blocks."""
        answer: bytes = self.async_.run(self.client.request(subject, body, **options)).data
        return answer

    def answers(self, subject: str, function: Callable[[bytes], bytes]) -> None:
        async def answer(message: Any) -> None:
            await message.respond(function(message.data))

        self.async_.run(self.client.subscribe(subject, cb=answer))


@pytest.fixture
def messenger(world: World, url: str) -> Iterator[Messenger]:
    service = Messenger(url)
    with service:
        yield service
    assert service.errors == []


class Hanging:
    """A coroutine that hangs, and tells how it fared."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()

    async def hang(self) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(1000)
        finally:
            self.ended.set()


async def until(world: World, condition: Callable[[], object]) -> None:
    for _ in range(int(LIMIT / 0.005)):
        if condition():
            return
        await world.sleep(0.005)
    raise AssertionError("it never came true")


# -- nats-py ----------------------------------------------------------------------------------


async def test_a_request_is_answered(world: World, messenger: Messenger):
    messenger.answers("upper", bytes.upper)
    assert messenger.request("upper", b"hello") == b"HELLO"


async def test_many_requests_at_a_time_each_get_their_own_answer(
    world: World, messenger: Messenger
):
    messenger.answers("upper", bytes.upper)
    got: dict[int, list[bytes]] = {}

    def many(number: int) -> None:
        bodies = [b"n%d-%d" % (number, count) for count in range(20)]
        got[number] = [messenger.request("upper", body, timeout=10) for body in bodies]

    for task in [messenger.spawn(many, number) for number in range(64)]:
        task.get()
    assert got == {
        number: [b"N%d-%d" % (number, count) for count in range(20)] for number in range(64)
    }


async def test_a_callback_hands_over_to_the_service(world: World, messenger: Messenger):
    thread = threading.get_ident()
    seen = []

    async def receive(message: Any) -> None:
        messenger.spawn(work, message.data)

    def work(data: bytes) -> None:
        if world.loop:
            assert threading.get_ident() == thread
        messenger.inbox.put(data)

    messenger.async_.run(messenger.client.subscribe("news", cb=receive))
    for number in range(5):
        messenger.async_.run(messenger.client.publish("news", b"%d" % number))
    for _ in range(5):
        seen.append(messenger.inbox.get(timeout=LIMIT))
    assert sorted(seen) == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_task_iterates_over_a_subscription_and_ends_with_its_service(
    world: World, url: str
):
    service = Messenger(url)
    got: list[bytes] = []

    async def listen() -> None:
        subscription = await service.client.subscribe("news")
        await service.client.publish("news", b"listening")
        async for message in subscription.messages:
            got.append(message.data)

    with service:
        task = service.spawn(listen)
        await until(world, lambda: got)
        service.async_.run(service.client.publish("news", b"more"))
        await until(world, lambda: len(got) == 2)
    assert got == [b"listening", b"more"]
    assert world.ended(task)


async def test_the_clients_own_timeout_is_raised_in_who_called(world: World, messenger: Messenger):
    async def never(message: Any) -> None:
        """No answer."""

    messenger.async_.run(messenger.client.subscribe("silent", cb=never))
    with pytest.raises(nats.errors.TimeoutError) as caught:
        messenger.request("silent", b"", timeout=0.01)
    assert "_request_new_style" in [entry.name for entry in caught.traceback]
    with pytest.raises(nats.errors.NoRespondersError):
        messenger.request("nobody", b"", timeout=10)


async def test_the_callers_timeout_cancels_the_request(world: World, messenger: Messenger):
    async def never(message: Any) -> None:
        """No answer."""

    messenger.async_.run(messenger.client.subscribe("silent", cb=never))
    with pytest.raises(TimeoutError):
        messenger.async_.run(messenger.client.request("silent", b"", timeout=1000), timeout=0.01)
    with pytest.raises(TimeoutError), messenger.async_.timeout(0.05):
        messenger.request("silent", b"", timeout=1000)
    assert not messenger.client._resp_map, "the client waits for nothing any more"


async def test_who_is_killed_while_it_waits_cancels_the_coroutine(world: World, messenger: Service):
    hanging = Hanging()
    asker = world.ask(messenger.async_.run, hanging.hang())
    await until(world, hanging.begun.is_set)
    asker.kill()
    with suppress(world.Ended):  # some askers tell it, others do not
        await asker.result()
    assert hanging.ended.is_set()


async def test_a_stop_cancels_what_its_tasks_wait_for(world: World, url: str):
    service, plain, spawned = Messenger(url), Hanging(), Hanging()
    with service:
        service.spawn(lambda: service.async_.run(plain.hang()))
        service.spawn(spawned.hang)
        await until(world, plain.begun.is_set)
        await until(world, spawned.begun.is_set)
    assert plain.ended.is_set()
    assert spawned.ended.is_set()
    assert service.state == "stopped"


async def test_an_error_shows_the_users_frames_in_the_log(
    world: World, messenger: Messenger, caplog: pytest.LogCaptureFixture
):
    async def inner() -> None:
        raise ValueError("in the coroutine")

    async def outer() -> None:
        await inner()

    def caller() -> None:
        messenger.async_.run(outer())

    messenger.spawn(caller)
    await until(world, lambda: messenger.state == "failed")
    lines = caplog.text.splitlines()
    for name in ("caller", "outer", "inner"):
        assert any(line.strip().endswith(f"in {name}") for line in lines), caplog.text
    assert "ValueError: in the coroutine" in caplog.text


async def test_what_a_library_left_running_is_cancelled_when_the_bridge_is_closed(world: World):
    hanging = Hanging()
    left = []

    async def leaves() -> None:
        left.append(asyncio.create_task(hanging.hang()))

    with Service() as service:
        service.async_.run(leaves())
        await until(world, hanging.begun.is_set)
    assert not hanging.ended.is_set()
    assert bridge.close()
    assert hanging.ended.is_set()
    assert left.pop().cancelled()


async def test_a_bridge_that_was_closed_is_made_again(world: World, url: str):
    for _ in range(3):
        with Messenger(url) as messenger:
            messenger.answers("upper", bytes.upper)
            assert messenger.request("upper", b"x") == b"X"
        assert bridge.close()


# -- aiohttp ----------------------------------------------------------------------------------


async def test_aiohttp_asks_a_server_of_the_same_tree(world: World):
    backend = import_module(f"ginkgo.async_.{world.name}")

    def hello(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    async def fetch(paths: list[str]) -> list[str]:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:

            async def get(path: str) -> str:
                async with session.get(path) as response:
                    assert response.status == 200
                    return await response.text()

            return list(await asyncio.gather(*map(get, paths)))

    app = Service()
    server = app.add_service(backend.WSGIServer(("127.0.0.1", 0), hello))
    paths = [f"/{number}" for number in range(20)]
    with app:
        assert app.async_.run(fetch(paths)) == paths


# -- the lifecycle ----------------------------------------------------------------------------


async def test_a_coroutine_starts_and_stops_services_and_the_loop_goes_on(world: World):
    root, other = Service(), Service()
    turns = []

    async def turn() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def work() -> list[str]:
        states = []
        beside = asyncio.create_task(turn())
        await other.start()
        states.append(other.state.current)
        await other.stop()
        states.append(other.state.current)
        await other.stop()
        beside.cancel()
        return states

    root.add_service(other)
    with root:
        assert root.async_.run(work()) == ["ready", "stopped"]
        assert turns


async def test_a_coroutine_stops_its_own_service(world: World):
    root = Service()
    told = []

    async def work() -> None:
        try:
            await root.stop()
        finally:
            told.append(root.state.current)

    root.start()
    task = root.spawn(work)
    assert root.wait("stopped", 10)
    await until(world, lambda: world.ended(task))
    assert told


async def test_an_application_stops_the_server_that_it_runs_on(world: World):
    asked = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(server.stop())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"goodbye"})

    async def fetch(url: str) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.read()

    make = import_module(f"ginkgo.async_.{world.name}").ASGIServer
    root = Service()
    server = root.add_service(make(("127.0.0.1", 0), app, lifespan="off"))
    with root:
        assert root.async_.run(fetch(f"http://127.0.0.1:{server.port}/")) == b"goodbye"
        assert server.wait("stopped", 10)
        assert server.cut == 0
