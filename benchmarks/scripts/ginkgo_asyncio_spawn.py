"""ginkgo_asyncio_spawn.py BATCHES: tasks of a running service on asyncio, on uvloop."""

import uvloop

from benchmarks.scripts.asyncio_batches import measure_spawn
from ginkgo import Service


class Owner(Service):
    backend = "asyncio"


async def main() -> None:
    async with Owner() as service:
        await measure_spawn(service.spawn)


uvloop.run(main())
