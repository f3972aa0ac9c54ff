"""The process's own configuration, and `ginkgo.settings`, which stands for the one in force.

Modules say `from ginkgo import settings` when they are imported, and keep what they get. So it has
to be one object that always means the configuration of the moment.
"""

from __future__ import annotations

import os
from typing import Any, cast

from . import context
from .names import SERVICE
from .setting import Setting
from .settings import Settings


class _Active:
    """Stands for whichever configuration is in force."""

    __slots__ = ()

    # So that isinstance(settings, Settings) is true.
    __class__ = property(lambda self: Settings)

    # Of its own: a Setting that is made with it follows the configuration in force, too.
    setting = Setting

    def __getattr__(self, name: str) -> Any:
        return getattr(context.active(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(context.active(), name, value)

    def __repr__(self) -> str:
        return repr(context.active())

    def __enter__(self) -> Settings:
        return context.active().__enter__()

    def __exit__(self, *error: object) -> None:
        context.active().__exit__(*error)


context.stack.append(Settings(environ=os.environ))
settings = cast(Settings, _Active())

# What every config file has to set. Declared like any other, so that it is found in every layer.
_SERVICE: Setting[Any] = Setting(SERVICE, restart_required=True)
