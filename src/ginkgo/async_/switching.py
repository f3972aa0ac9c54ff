"""How soon a thread that waits for the interpreter insists on it.

CPython gives the interpreter from thread to thread. Who waits for it insists after the switch
interval, 5 ms; who waits for a descriptor gives it away, and waits anew when that is ready. To
answer one request the control plane does so a dozen times: beside a loop that computes, 60 to 100
ms, where it promises less than 100.

Worse is a loop that computes and gives the interpreter away for a microsecond now and then (a stat,
a send, a lock): the thread that waits is woken, finds that it was taken again before it was awake,
and its 5 ms begin anew. Beside a loop with a stat every 2 ms a request took ten seconds.

So the interval is cut, from :func:`insist` to :func:`relent`: by the watchdog while a loop does not
move, to 50 µs; and by the control plane while it has something to do, to ten times that, for beside
a loop that does move, the two would do little but give way to each other. Who keeps nobody waiting
does not notice: the interval counts only while somebody waits.
"""

from __future__ import annotations

import os
import sys

__all__ = ["SOON", "SOONER", "insist", "relent"]

SOON = 500e-6
"""Seconds, the switch interval for whoever has an answer to give."""

SOONER = 50e-6
"""Seconds, the same beside what is stuck; shorter ones CPython cannot measure."""

# No lock, so that a forked child never finds one held: where two threads come at the same moment
# one of them may go without, until it insists anew.
_insisting: dict[str, float] = {}
_usual = _ours = sys.getswitchinterval()  # that of the user; and what it has been made here


def insist(who: str, interval: float) -> None:
    """Have every thread that waits for the interpreter insist on it soon.

    Args:
        who: a name, the same for :func:`relent`.
        interval: seconds, :data:`SOON` or :data:`SOONER`.
    """
    if _insisting.get(who) != interval:
        _insisting[who] = interval
        _apply()


def relent(who: str) -> None:
    """Take that back; the interval of before comes back with the last one who insisted."""
    if _insisting.pop(who, None) is not None:
        _apply()


def _apply() -> None:
    global _usual, _ours
    now = sys.getswitchinterval()
    if abs(now - _ours) > 1e-6:  # the user has set another meanwhile
        _usual = now
    _ours = min(_usual, *_insisting.values()) if _insisting else _usual
    if _ours != now:
        sys.setswitchinterval(_ours)


def _forget() -> None:
    """In a forked child: whoever insisted is the parent's."""
    for who in tuple(_insisting):
        relent(who)


os.register_at_fork(after_in_child=_forget)
