"""What must not be shown is not shown: the values of secrets, in texts that anybody has written.

Whoever knows the secrets says so by `learn`, at the start and whenever the configuration changes.
What was a secret stays one: an older traceback may still have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

MASK = "****"

KEPT = 1000
"""So many values are remembered."""

_known: tuple[str, ...] = ()


def learn(values: Iterable[str]) -> None:
    """Hide these values from now on, too."""
    global _known
    # The longest first: one may be a part of another.
    ordered = sorted({*values, *_known}, key=len, reverse=True)
    _known = tuple(ordered[:KEPT])


def forget() -> None:
    """Hide nothing any more: for tests, which share a process."""
    global _known
    _known = ()


def hide(text: str) -> str:
    """Return `text` with `****` for every secret in it."""
    for each in _known:
        if each in text:
            text = text.replace(each, MASK)
    return text


def hide_all(data: Any) -> Any:
    """Return JSON-able data with `****` for every secret in its texts; keys are left alone."""
    if not _known:
        return data
    if isinstance(data, str):
        return hide(data)
    if isinstance(data, dict):
        return {key: hide_all(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [hide_all(value) for value in data]
    return data
