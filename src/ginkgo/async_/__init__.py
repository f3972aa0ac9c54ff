"""The backends: what a tree of services runs on.

One module each, behind the interface of :class:`ginkgo.core.backend.Backend`. They are imported
when a tree first needs one; this package only knows their names.
"""

from __future__ import annotations

import importlib

from ..core.context import context
from ..core.errors import ConfigError
from .clock import RealClock

TYPE_CHECKING = False  # as typing has it, without the 5 ms that its import takes
if TYPE_CHECKING:
    from ..core.backend import Backend

BACKENDS = ("gevent", "asyncio", "threading")


def load(name: str, visiting: bool = False) -> Backend:
    """The backend with that name, for the calling thread.

    Args:
        name: ``gevent``, ``asyncio`` or ``threading``; the 0.6 way, ``ginkgo.async_.gevent``, is
            the same.
        visiting: the thread asks about a tree, and does not mean to have it live here.

    Raises:
        ConfigError: there is no such backend.
    """
    short = name.removeprefix("ginkgo.async_.")
    if short not in BACKENDS:
        raise ConfigError(
            f"there is no backend {name!r}", hint=f"backend is one of: {', '.join(BACKENDS)}."
        )
    backend: Backend = importlib.import_module(f"{__name__}.{short}").backend(visiting)
    return backend


context.load_backend = load
context.clock = RealClock()
