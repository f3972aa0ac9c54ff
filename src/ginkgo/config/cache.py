"""Why reading a setting costs no more than reading a class attribute.

    class Hello(Service):                  vars(Hello)["rate"]
        rate = Setting("rate", 60)             the Setting: looks the value up when it is read
                                               |  first read            ^ a change, or a `with`
                                               v                        | block begins or ends
                                           180, the value itself --------

After the first read the value stands in the class where the Setting stood. All instances share it,
so nothing is to be refreshed object by object, an instance without `__dict__` reads as fast as
any, and a copied or pickled object carries no stale value. An assignment to an instance overrides
the setting for that instance, as in 0.6; an assignment to the class replaces it for good.

A function, or anything else that a class would bind, stays behind its Setting.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .native import original

if TYPE_CHECKING:
    from .setting import Setting

# Re-entrant, because a signal handler may change settings in the middle of a first read.
_lock = original("_thread", "RLock")()
_kept: weakref.WeakSet[Setting[Any]] = weakref.WeakSet()


def keep(setting: Setting[Any], value: object, still_true: Callable[[], bool]) -> None:
    """Put `value` in the place of `setting`, unless it has been overtaken by a change.

    Never blocks: while somebody else is at it, the value is simply not kept, this once.
    """
    if hasattr(type(value), "__get__"):  # the class would bind it, and give out a method
        return
    if not _lock.acquire(blocking=False):
        return
    try:
        # Noted before it is put, and looked at again after: a change that comes in between, from a
        # signal handler, takes back what it finds, or is seen here.
        _kept.add(setting)
        setting.put(value)
        if not still_true():
            setting.take_back()
    finally:
        _lock.release()


def change(act: Callable[[], None]) -> None:
    """Call `act`, which changes what settings are worth, and take back what is no longer true."""
    with _lock:
        act()
        for setting in list(_kept):
            if not setting.unchanged() and setting.take_back():
                _kept.discard(setting)
