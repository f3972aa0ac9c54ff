"""What the backends share: running the core's coroutines where nothing suspends, and the clock.

On gevent and threading every primitive blocks the greenlet or thread that calls it, and returns an
awaitable that is already done. So a coroutine of the core runs from its first line to its last in
one ``send``: see :func:`run_to_end`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ..core.service import Service

T = TypeVar("T")


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose awaits all block instead of suspending.

    Raises:
        RuntimeError: the coroutine did suspend: it awaited something of another backend.
    """
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise RuntimeError(f"{work!r} suspended on a backend that blocks")


def repeat(
    service: Service,
    seconds: float,
    function: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Call `function` every `seconds`, in blocking style, until the task is ended.

    The times are multiples of `seconds` on the monotonic clock: a call that takes long does not
    shift those after it, and one that takes longer than `seconds` leaves some out.
    """
    due = time.monotonic() + seconds
    while True:
        service.async_.sleep(max(0.0, due - time.monotonic()))
        function(*args, **kwargs)
        late = time.monotonic() - due
        due += seconds * (1 + max(0, int(late // seconds)))
