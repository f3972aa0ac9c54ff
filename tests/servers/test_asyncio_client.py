"""What only the client of asyncio does; all else is in :mod:`tests.servers.test_client`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.dialects import WORLDS, World
from tests.servers.asyncio_clients import LOCAL, echo, until

from ginkgo.async_.asyncio import StreamClient, StreamServer
from ginkgo.servers.retry import Retry


@pytest.fixture(params=["asyncio", "uvloop"])
def world(request: pytest.FixtureRequest, _nothing_left_behind: None) -> Any:
    world: World = WORLDS[request.param]()
    yield world
    world.close()
    world.leave()


@pytest.mark.fault(31)
async def test_a_cancellation_that_is_not_its_own_does_not_end_the_client(world: World):
    async def handle(reader: Any, writer: Any) -> None:
        other = asyncio.ensure_future(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(other.cancel)
        await other

    async with StreamServer(LOCAL, echo) as server:
        address = ("127.0.0.1", server.port)
        async with StreamClient(address, handle, retry=Retry(first=0.001)) as client:
            await until(lambda: client.failed >= 2)
