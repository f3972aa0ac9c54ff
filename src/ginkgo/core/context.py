"""What is true for the whole process, in the one place where it may be looked up.

The core knows no backend, no signal and no configuration. Whoever does (the `async_` package, the
runner) says so here, once, when it is loaded.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, without the 5 ms that its import takes
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from .backend import Backend
    from .clock import Clock
    from .service import Service


def _no_backend(name: str, visiting: bool = False) -> Backend:
    raise RuntimeError(f"no backend can be loaded ({name}): the ginkgo package is not wired up")


def _unwrapped(service: Service) -> AbstractContextManager[object]:
    from contextlib import nullcontext

    return nullcontext()


class Context:
    """The process-wide values that services fall back to.

    Attributes:
        root: the root of the tree that this process runs, or None.
        start_timeout: seconds that a service may take from the call of its `do_start` until it is
            ready, unless its class or instance says otherwise.
        stop_timeout: seconds that a service's tasks and its `do_stop` may take, likewise.
        backend: the name of the backend of a tree whose root does not choose one; None for the one
            that its services are written for.
        max_restarts: how often a service restarts children of it that fail, within
        restart_period: so many seconds, before it fails itself; likewise.
        loop: what asyncio runs on: ``auto``, ``uvloop`` or ``asyncio``.
        clock: what supervision, checks and periodic work go by; set by `ginkgo.async_`.
        load_backend: gives the backend with a name, for the calling thread; set by `ginkgo.async_`.
        serving: wraps `Service.serve_forever`, so that signals stop it; set by `ginkgo`.
    """

    clock: Clock

    def __init__(self) -> None:
        self.root: Service | None = None
        self.start_timeout = 30.0
        self.stop_timeout = 10.0
        self.backend: str | None = None
        self.max_restarts = 5
        self.restart_period = 30.0
        self.loop = "auto"
        self.load_backend: Callable[..., Backend] = _no_backend
        self.serving: Callable[[Service], AbstractContextManager[object]] = _unwrapped


context = Context()
