"""How soon a thread that waits for the interpreter insists on it.

CPython gives the interpreter from thread to thread. Who waits for it insists after the switch
interval, 5 ms; who waits for a descriptor gives it away, and waits anew when that is ready. To
answer one request the control plane does so a dozen times: beside a loop that computes, 60 to 100
ms, where it promises less than 100.

Worse is a loop that computes and gives the interpreter away for a microsecond now and then (a stat,
a send, a lock): the thread that waits is woken, finds that it was taken again before it was awake,
and its 5 ms begin anew. Beside a loop with a stat every 2 ms a request took ten seconds.

So the interval is cut to 50 µs, from :func:`insist` to :func:`relent`: by the control plane while
it has something to do, and by the watchdog while a loop does not move. A loop that keeps nobody
waiting does not notice: the interval counts only while somebody waits.
"""

from __future__ import annotations

import os
import sys

__all__ = ["SOONER", "insist", "relent"]

SOONER = 50e-6
"""Seconds, the switch interval while somebody insists; shorter ones CPython cannot measure."""

# No lock, so that a forked child never finds one held: where two threads come at the same moment
# one of them may go without, until it insists anew.
_insisting: set[str] = set()
_usual: list[float] = []


def insist(who: str) -> None:
    """Have every thread that waits for the interpreter insist on it soon.

    Args:
        who: a name, the same for :func:`relent`.
    """
    _insisting.add(who)
    now = sys.getswitchinterval()
    if not _usual and now > SOONER:
        _usual.append(now)
        sys.setswitchinterval(SOONER)


def relent(who: str) -> None:
    """Take that back; the interval of before comes back with the last one who insisted."""
    _insisting.discard(who)
    if not _insisting and _usual:
        before = _usual.pop()
        if abs(sys.getswitchinterval() - SOONER) < 1e-6:  # else the user has set another meanwhile
            sys.setswitchinterval(before)


def _forget() -> None:
    """In a forked child: whoever insisted is the parent's."""
    for who in tuple(_insisting):
        relent(who)


os.register_at_fork(after_in_child=_forget)
