"""Components in one container; each registers what is to be done when the context ends."""

import asyncio
import logging

from asphalt.core import Component, ContainerComponent, Context

from benchmarks.scripts.trees import Stopwatch


def nothing() -> None:
    """What a component does when its context ends."""


class Empty(Component):
    """Starts and stops, and no more."""

    async def start(self, ctx: Context) -> None:
        ctx.add_teardown_callback(nothing)


async def cycle(watch: Stopwatch) -> None:
    root = ContainerComponent()
    watch.build()
    for index in range(watch.size):
        root.add_component(str(index), Empty)
    async with Context() as context:
        watch.start()
        await root.start(context)
        watch.started()
        watch.stop()
    watch.stopped()


async def main() -> None:
    await cycle(Stopwatch(size=10))  # what is made once is made here
    watch = Stopwatch()
    for _ in range(watch.trees):
        await cycle(watch)
    watch.trace()
    await cycle(watch)
    watch.tell()


logging.disable()
asyncio.run(main())
