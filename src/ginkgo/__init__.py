"""Ginkgo: a framework for writing network daemons.

The names that an application needs are here; they are loaded when they are first used, so that
``import ginkgo`` costs next to nothing and imports no backend::

    from ginkgo import Service, Setting
"""

from __future__ import annotations

import importlib

from . import async_ as _backends  # noqa: F401 - tells the core where the backends are
from .core.context import context as _context

TYPE_CHECKING = False  # as typing has it, without the 5 ms that its import takes
if TYPE_CHECKING:
    from typing import Any

    from . import process as process
    from .config import Setting as Setting
    from .config import settings as settings
    from .core.errors import GinkgoError as GinkgoError
    from .core.policies import Backoff as Backoff
    from .core.service import Service as Service
    from .core.tasks import autospawn as autospawn
    from .core.tasks import require_ready as require_ready
    from .process.command import Command as Command

__version__ = "1.0.0.dev0"


def _serving(service: Any) -> Any:
    """What wraps serve_forever: the core knows no signals."""
    from .process.signals import serving

    return serving(service)


_context.serving = _serving

_NAMES = {
    "Backoff": "core.policies",
    "Command": "process.command",
    "GinkgoError": "core.errors",
    "Service": "core.service",
    "Setting": "config",
    "autospawn": "core.tasks",
    "require_ready": "core.tasks",
    "settings": "config",
}

__all__ = [  # noqa: RUF022 - in the order of the manual
    "Service",
    "Backoff",
    "Command",
    "Setting",
    "settings",
    "process",
    "autospawn",
    "require_ready",
    "GinkgoError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "process":
        return importlib.import_module(".process", __name__)
    if name in _NAMES:
        value = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
