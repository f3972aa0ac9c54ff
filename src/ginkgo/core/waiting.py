"""Waiting for a service: for a state, or until no operation holds it.

Whoever waits leaves a function with the service, which is called at every change (see
:func:`ginkgo.core.state.notify`), and looks once more before it waits: no change is missed, and
nothing polls. Tasks and native threads wait in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .backend import Backend, Operation
from .state import FAILED, INIT, READY, STARTING, STOPPED, current

if TYPE_CHECKING:
    from .service import Service


async def until(
    backend: Backend, service: Service, states: tuple[str, ...], timeout: float | None
) -> bool:
    """Wait for one of `states`, even if the service only passes through it."""
    passed = False

    def reached() -> bool:
        nonlocal passed
        passed = passed or current(service) in states
        return passed

    return await until_reached(backend, service, reached, timeout)


def at_rest(service: Service) -> bool:
    """Whether nothing of `service` and those below it runs, or is under way."""
    return (
        service._state in (INIT, STOPPED)
        and service._operation is None
        and not service._tasks
        and not service._jobs
        and all(map(at_rest, service._children))
    )


async def over(backend: Backend, service: Service) -> None:
    """Wait until nothing of `service` runs any more; a restart is not the end of it."""

    def ended() -> bool:
        return service._state in (STOPPED, FAILED) and service._operation is None

    while not ended():  # a restart passes through `stopped`, and has left it when we look
        await until_reached(backend, service, ended)
    # A task that asked for the stop gets its call back before the process may end.
    await backend.wait(backend.signal(), 0.0)


async def settled_state(backend: Backend, service: Service) -> bool:
    """Wait for the end of a start that is under way; whether `service` is ready then."""
    await until_reached(backend, service, lambda: service._state != STARTING)
    return service._state == READY


async def settled(operation: Operation, service: Service) -> None:
    """Wait until no operation holds `service`."""
    while (holder := service._operation) is not None:
        if operation.holds_up(holder):
            operation.backend.release(operation)
        await until_reached(
            operation.backend,
            service,
            lambda holder=holder: service._operation is not holder,  # type: ignore[misc]
        )


async def until_reached(
    backend: Backend,
    service: Service,
    reached: Callable[[], bool],
    timeout: float | None = None,
) -> bool:
    """Wait until `reached` says so, asked at every change; False when the time was over first."""
    if reached():
        return True
    signal = backend.signal()

    def look(_: Service) -> None:
        if reached():
            backend.post(signal.set)

    # Threads come here too: each of these steps is one for the interpreter. The list stays.
    watchers = service.__dict__.setdefault("_watchers", [])
    watchers.append(look)
    try:
        return reached() or await backend.wait(signal, timeout) or reached()
    finally:
        watchers.remove(look)
