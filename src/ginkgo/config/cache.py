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
from typing import TYPE_CHECKING, Any, TypeAlias

from .native import original

if TYPE_CHECKING:
    from .setting import Setting
    from .snapshot import Snapshot

# Which snapshot a setting will take its value from; and what makes it so, or is False: overtaken.
Plan: TypeAlias = "tuple[Callable[[Setting[Any]], Snapshot], Callable[[], bool]]"

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
        # No other thread can change anything now, but one may have since the value was read.
        if not still_true():
            return
        # A signal handler of this very thread can still. It takes back what it finds, or is seen.
        _kept.add(setting)
        setting.put(value)
        if not still_true():
            setting.take_back()
    finally:
        _lock.release()


def change(plan: Callable[[], Plan]) -> None:
    """Change what settings are worth, so that nobody sees an older value after a newer one.

    Values that will no longer be true are taken out of the classes first, and nothing is put in
    meanwhile: every reader looks at the snapshot while it is exchanged.

    Args:
        plan: says what is going to happen; asked again if something else happens in between.
    """
    with _lock:
        while True:
            afterwards, commit = plan()
            for setting in list(_kept):
                if not setting.stays(afterwards(setting)) and setting.take_back():
                    _kept.discard(setting)
            if commit():
                return
