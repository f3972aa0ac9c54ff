"""Which event loop asyncio runs on: its own, or uvloop's."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from ..core.errors import ConfigError

LOOPS = ("auto", "uvloop", "asyncio")


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Make a loop: ``uvloop``, ``asyncio``, or with ``auto`` uvloop's where it is installed.

    Raises:
        ConfigError: there is no such kind, or uvloop is not installed.
    """
    uvloop = uvloop_or_none(kind)
    if uvloop is None:
        return with_selector(asyncio.SelectorEventLoop, selectors.DefaultSelector())
    made: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return made


def with_selector(loop_class: Any, selector: Any) -> asyncio.AbstractEventLoop:
    """Make a loop on a selector, which is known from then on: see :mod:`ginkgo.async_.pulse`."""
    loop: asyncio.AbstractEventLoop = loop_class(selector)
    loop.ginkgo_selector = selector  # type: ignore[attr-defined]
    return loop


def uvloop_or_none(kind: str) -> Any:
    """The module uvloop, or None where asyncio's own loop is to be used.

    Raises:
        ConfigError: there is no such kind, or uvloop is not installed.
    """
    if kind not in LOOPS:
        raise ConfigError(f"there is no loop {kind!r}", hint=f"loop is one of: {', '.join(LOOPS)}.")
    if kind == "asyncio":
        return None
    try:
        import uvloop
    except ImportError as error:
        if kind == "auto":
            return None
        raise ConfigError(
            "loop is 'uvloop', and uvloop is not installed: pip install \"ginkgo[asyncio]\"",
        ) from error
    return uvloop
