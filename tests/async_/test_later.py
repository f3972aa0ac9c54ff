"""Calls that are due later, and descriptors that are watched: every backend's."""

from __future__ import annotations

import os

import pytest
from tests.dialects import World, done
from tests.trees import plant


async def test_calls_are_made_in_the_order_of_their_times(world: World):
    root = plant(world, "a")
    await done(root.start())
    order: list[int] = []
    gate = world.gate()

    def last() -> None:
        order.append(3)
        gate.open()

    backend = root.backend_in_use
    backend.later(0.6, last)
    backend.later(0.2, lambda: order.append(1))
    backend.later(0.4, lambda: order.append(2))
    await gate.passed()
    assert order == [1, 2, 3]
    await done(root.stop())


async def test_a_cancelled_call_is_not_made(world: World):
    root = plant(world, "a")
    await done(root.start())
    gate = world.gate()
    called: list[int] = []
    backend = root.backend_in_use
    timer = backend.later(0.01, lambda: called.append(1))
    timer.cancel()
    timer.cancel()
    backend.later(0.02, gate.open)
    await gate.passed()
    assert called == []
    await done(root.stop())


async def test_a_call_that_raises_does_not_keep_the_next_from_being_made(
    world: World, caplog: pytest.LogCaptureFixture
):
    root = plant(world, "a")
    await done(root.start())
    gate = world.gate()
    backend = root.backend_in_use
    backend.later(0.0, lambda: os.stat("/nowhere"))
    backend.later(0.01, gate.open)
    await gate.passed()
    await done(root.stop())
    assert "/nowhere" in caplog.text


async def test_calls_are_made_while_a_descriptor_is_watched(world: World):
    root = plant(world, "a")
    await done(root.start())
    gates = world.gate(), world.gate()
    backend = root.backend_in_use
    reader, writer = os.pipe()
    watch = backend.watch(reader, lambda: (os.read(reader, 1), gates[0].open()))
    backend.later(0.01, gates[1].open)
    os.write(writer, b"x")
    await gates[0].passed()
    await gates[1].passed()
    watch.close()
    for fd in (reader, writer):
        os.close(fd)
    await done(root.stop())


async def test_the_thread_that_waits_may_be_made_and_ended_over_and_over(world: World):
    root = plant(world, "a")
    await done(root.start())
    backend = root.backend_in_use
    for _ in range(300):  # each the only one there is: begun, and ended before it has begun to wait
        backend.later(60, bool).cancel()
    await done(root.stop())
