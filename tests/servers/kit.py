"""One way to write a test of servers and clients, for every backend.

A test is a coroutine function, as in :mod:`tests.dialects`, and so is a handler, which is given a
:class:`Talk`. The kit makes of it what the backend's server calls::

    async def test_it_answers(kit):
        async with kit.running(kit.stream_server(echo)) as server:
            with kit.connected(server) as client:
                assert await client.asks(b"hello") == b"hello"

    gevent, threading   handle(socket, address)      Talk: recv, sendall
    asyncio, uvloop     handle(reader, writer)       Talk: await read, write and drain

The clients are the standard library's sockets on each of them. They never block: whoever waits for
one lets the backend run meanwhile.
"""

from __future__ import annotations

import importlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
from gevent.event import Event as GeventEvent
from tests.dialects import World, done

LOCAL = ("127.0.0.1", 0)
LIMIT = 10.0  # seconds, for what takes a moment
MODULES = {
    "gevent": "ginkgo.servers.server",
    "asyncio": "ginkgo.servers.asyncio_server",
    "threading": "ginkgo.servers.threading_server",
}


class Talk:
    """A connection, for the script of a handler: on gevent and threads it has a socket."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def read(self, most: int = 4096) -> bytes:
        """What has come; nothing at the end of the stream."""
        data = self.connection.recv(most)
        assert isinstance(data, bytes)
        return data

    async def write(self, data: bytes) -> None:
        """Send, at the speed at which the peer takes it."""
        self.connection.sendall(data)

    @property
    def peer(self) -> Any:
        """The address of the other side."""
        return self.connection.getpeername()


class StreamTalk(Talk):
    """The same with the streams of asyncio."""

    def __init__(self, reader: Any, writer: Any) -> None:
        super().__init__(writer.get_extra_info("socket"))
        self.reader, self.writer = reader, writer

    async def read(self, most: int = 4096) -> bytes:
        data = await self.reader.read(most)
        assert isinstance(data, bytes)
        return data

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Script = Callable[[Any], Any]


async def echo(talk: Talk) -> None:
    """A handler that says what it is told."""
    while data := await talk.read():
        await talk.write(data)


class Client:
    """The other side of a connection."""

    def __init__(self, kit: Kit, raw: Any) -> None:
        self._kit = kit
        self.socket = raw
        raw.setblocking(False)

    async def _repeat(self, method: Callable[..., Any], *args: Any) -> Any:
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                return method(*args)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                assert time.monotonic() < deadline, "nothing comes"
            await self._kit.world.sleep(0.001)

    async def secure(self, context: ssl.SSLContext, name: str = "localhost") -> Client:
        """Speak TLS from here on."""
        self.socket = context.wrap_socket(
            self.socket,
            server_hostname=name,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,  # a missing goodbye raises
        )
        await self._repeat(self.socket.do_handshake)
        return self

    async def says(self, data: bytes) -> None:
        """Send all of it."""
        while data:
            data = data[await self._repeat(self.socket.send, data) :]

    async def hears(self, most: int = 4096) -> bytes:
        """What has come; nothing at the end of the stream."""
        data = await self._repeat(self.socket.recv, most)
        assert isinstance(data, bytes)
        return data

    async def asks(self, question: bytes = b"hello") -> bytes:
        """Send, and wait for an answer."""
        await self.says(question)
        return await self.hears()

    async def hears_all(self, most: int | None = None) -> bytes:
        """What comes until the end of the stream, or until there is so much."""
        data = b""
        while more := await self.hears(65536):
            data += more
            if most is not None and len(data) >= most:
                break
        return data

    def resets(self) -> None:
        """Close with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Timed:
    """How long the body took."""

    seconds = 0.0

    def __enter__(self) -> Timed:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began


class Kit:
    """The servers and clients of a world's backend."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.backend = world.name
        module = importlib.import_module(f"ginkgo.async_.{self.backend}")
        self.StreamServer = module.StreamServer
        self.StreamClient = module.StreamClient
        self.DatagramServer = module.DatagramServer
        self.WSGIServer = module.WSGIServer
        self._monkeypatch = monkeypatch
        self._clients: list[Client] = []

    @property
    def awaits(self) -> bool:
        """Whether handlers are coroutine functions."""
        return self.backend == "asyncio"

    def sets(self, name: str, value: float) -> None:
        """Change a constant of the backend's servers, for this test."""
        modules = map(importlib.import_module, ("ginkgo.servers.serving", MODULES[self.backend]))
        having = [module for module in modules if hasattr(module, name)]
        assert having
        for module in having:
            self._monkeypatch.setattr(module, name, value)

    # -- handlers -------------------------------------------------------------------------------

    def talking(self, script: Script) -> Callable[..., Any]:
        """The handler of a stream, as the backend calls it."""
        if self.awaits:

            async def handle_streams(reader: Any, writer: Any) -> Any:
                return await script(StreamTalk(reader, writer))

            return handle_streams

        def handle(connection: Any, address: Any = None) -> Any:
            return self.world.play(script, Talk(connection))

        return handle

    def calling(self, script: Callable[..., Any]) -> Callable[..., Any]:
        """A script as a plain handler: that of a datagram."""
        if self.awaits:
            return script
        return lambda *args: self.world.play(script, *args)

    def latch(self) -> Any:
        """What a plain function waits for, as the applications of a web server do."""
        return GeventEvent() if self.backend == "gevent" else threading.Event()

    # -- servers --------------------------------------------------------------------------------

    def stream_server(self, script: Script = echo, address: Any = LOCAL, **options: Any) -> Any:
        return self.StreamServer(address, self.talking(script), **options)

    def stream_client(self, address: Any, script: Script = echo, **options: Any) -> Any:
        return self.StreamClient(address, self.talking(script), **options)

    @asynccontextmanager
    async def running(self, service: Any) -> AsyncIterator[Any]:
        """A service that runs for the length of the body, unless the body stops it."""
        await done(service.start())
        try:
            yield service
        finally:
            await done(service.stop())

    # -- clients --------------------------------------------------------------------------------

    def connected(self, server: Any) -> Client:
        """A client of a server; it is closed at the end of the test, if nobody does it before."""
        address = server.address.for_connecting
        if address.path:
            return self.connected_to(address.path)
        host = "127.0.0.1" if address.host == "localhost" else address.host
        return self.connected_to((host, address.port))

    def connected_to(self, target: Any) -> Client:
        family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
        if family == socket.AF_INET and ":" in target[0]:
            family = socket.AF_INET6
        raw = socket.socket(family)
        try:
            raw.settimeout(LIMIT)
            raw.connect(target)
        except BaseException:
            raw.close()
            raise
        self._clients.append(Client(self, raw))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            with suppress(OSError):
                client.close()

    # -- waiting --------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], object], seconds: float = LIMIT) -> None:
        """Let others run until something holds that has no event of its own."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never came true"
            await self.world.sleep(0.001)

    @contextmanager
    def takes_at_most(self, seconds: float) -> Any:
        """The body is that quick."""
        timed = Timed()
        with timed:
            yield timed
        assert timed.seconds < seconds
