"""What the tests of the servers on asyncio have in common: a loop, and clients with streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

LOCAL = ("127.0.0.1", 0)


async def echo(reader: Any, writer: Any) -> None:
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()


class Client:
    """A connection to a server."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self.reader, self.writer = reader, writer

    async def asks(self, question: bytes = b"hello") -> bytes:
        """Send, and wait for as much."""
        self.writer.write(question)
        return await self.reader.read(4096)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


@asynccontextmanager
async def connected(server: Any, **options: Any) -> AsyncIterator[Client]:
    """A client of the server for the length of the body."""
    address = server.address.for_connecting
    if address.path:
        streams = await asyncio.open_unix_connection(address.path, **options)
    else:
        streams = await asyncio.open_connection(address.host, address.port, **options)
    client = Client(*streams)
    try:
        yield client
    finally:
        await client.close()


async def until(condition: Any, seconds: float = 10.0) -> None:
    """Let others run until something holds that has no event of its own."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)
