"""What every contestant on asyncio runs, so that they do the same work."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from benchmarks.servers.handlers import BODY

HEADERS: Final = [
    (b"content-type", b"text/html"),
    (b"content-length", str(len(BODY)).encode()),
]


class EchoProtocol(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, until the peer closes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application that always answers the same, and has no lifespan."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
