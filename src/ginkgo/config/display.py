"""How a value is shown to a person: short, on one line, and not at all when it is a secret."""

from __future__ import annotations

MASK = "****"

# More than this of one value helps nobody, and hides the rest of the message.
LONGEST = 120


def show(value: object, *, secret: bool = False) -> str:
    """Return `value` as Python would write it, cut to one line, or `****`.

    None is shown even when it is secret: that nothing is set is what one wants to know.
    """
    if secret and value is not None:
        return MASK
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - an application's own __repr__ may raise anything
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def bare(value: object, *, secret: bool = False) -> str:
    """Return `value` as `show` does, but text without quotes, as 0.6 printed defaults."""
    shown = show(value, secret=secret)
    if isinstance(value, str) and value and not secret and shown == repr(value):
        return value
    return shown


def words(error: BaseException) -> str:
    """Return what an exception says, or "" for one that says nothing, or cannot."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an application's own __str__ may raise anything
        return ""


def kind(value: object) -> str:
    """Return the name of the type of `value`."""
    return type(value).__name__
