"""Tracebacks that begin where the user's code begins.

A task that raises has been called by gevent, which has been called by Ginkgo; these frames say
nothing about the fault and push the frame that does out of sight. So the outermost frames that
belong to the framework, its backend or the import machinery are left out, in the exception itself,
in its causes and in the members of a group. Frames further in are kept, whoever they belong to: how
the user's code came to fail is theirs to see.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from types import TracebackType

from ..core.errors import GinkgoError

# Top-level packages whose frames are plumbing when they are the outermost ones: they only call.
PLUMBING = frozenset(
    {"ginkgo", "gevent", "asyncio", "concurrent", "importlib", "runpy", "threading"}
)


def user_traceback(exc: BaseException, tb: TracebackType | None = None) -> str:
    """Return the traceback of `exc` as text, without the leading frames of Ginkgo and its backend.

    Args:
        exc: the exception; its causes, contexts, notes and group members are shown too.
        tb: where its traceback begins, if not at `exc.__traceback__`.

    Returns:
        Lines as Python prints them, without a newline at the end. Where every frame is plumbing,
        all are shown: the fault is in it; but nothing of an error of Ginkgo's own, whose text says
        it all. An exception that cannot be shown is at least named.
    """
    tb = tb or exc.__traceback__
    if isinstance(exc, GinkgoError) and exc.__cause__ is None and not _users(tb):
        return ""
    try:
        shown = traceback.TracebackException(type(exc), exc, tb)
        _trim(shown, exc, tb)
        if isinstance(exc, GinkgoError):  # where we have raised it is no news
            del shown.stack[len(shown.stack) - _trailing(tb) :]
        return "".join(shown.format()).rstrip("\n")
    except Exception as failure:  # noqa: BLE001 - it is the exception's own code that runs
        # Its attributes are the user's too (__notes__, __cause__, __class__ may be properties).
        return f"{type(exc).__name__}: <no traceback: showing it raised {type(failure).__name__}>"


def user_place(exc: BaseException) -> str | None:
    """Return where in the user's code `exc` was raised, as "app.py:12 in pump", if it was there."""
    places = traceback.walk_tb(exc.__traceback__)
    own = [(frame, line) for frame, line in places if not _is_module_of_ours(frame.f_globals)]
    if not own:
        return None
    frame, line = own[-1]
    code = frame.f_code
    return f"{os.path.basename(code.co_filename)}:{line} in {code.co_name}"


def _trim(
    shown: traceback.TracebackException, exc: BaseException, tb: TracebackType | None
) -> None:
    """Drop the leading frames in the whole graph of exceptions that `shown` was made from."""
    pairs: list[tuple[traceback.TracebackException, BaseException, TracebackType | None]]
    pairs = [(shown, exc, tb)]
    while pairs:
        shown, exc, tb = pairs.pop()
        del shown.stack[: _leading(tb)]
        # A cycle was cut by TracebackException: there `shown` has None where `exc` has something.
        if shown.__cause__ is not None and exc.__cause__ is not None:
            pairs.append((shown.__cause__, exc.__cause__, exc.__cause__.__traceback__))
        if shown.__context__ is not None and exc.__context__ is not None:
            pairs.append((shown.__context__, exc.__context__, exc.__context__.__traceback__))
        if shown.exceptions and isinstance(exc, BaseExceptionGroup):
            for part, member in zip(shown.exceptions, exc.exceptions, strict=False):
                pairs.append((part, member, member.__traceback__))


def _users(tb: TracebackType | None) -> int:
    """Count the frames that are the user's."""
    return sum(not _is_module_of_ours(frame.f_globals) for frame, _ in traceback.walk_tb(tb))


def _trailing(tb: TracebackType | None) -> int:
    """Count the innermost frames that are plumbing."""
    count = 0
    for frame, _ in traceback.walk_tb(tb):
        count = count + 1 if _is_module_of_ours(frame.f_globals) else 0
    return count


def _leading(tb: TracebackType | None) -> int:
    """Count the outermost frames that are plumbing; 0 if all are."""
    count = 0
    while tb is not None:
        if not _is_plumbing(tb):
            return count
        count += 1
        tb = tb.tb_next
    return 0


def _is_plumbing(tb: TracebackType) -> bool:
    return _is_module_of_ours(tb.tb_frame.f_globals)


def _is_module_of_ours(namespace: Mapping[str, object]) -> bool:
    # By module and not by path: gevent's compiled frames name a file that exists nowhere.
    module = str(namespace.get("__name__", ""))
    return module.partition(".")[0] in PLUMBING
