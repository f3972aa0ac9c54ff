"""What a process inherits that it should not: put right before anything else happens.

Whoever starts us (cron, a shell script, a container runtime, another daemon) leaves traces in the
new process: closed standard descriptors, so that the first socket lands where `print` writes to;
blocked signals, so that SIGTERM does not arrive; an ignored SIGCHLD, so that no child can be waited
for; a working directory that has been deleted. Limits are left alone: they are the
administrator's, and nothing here takes longer where they are high.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NamedTuple

_PYTHONS_OWN = {signal.SIGPIPE, signal.SIGXFSZ}
"""Python itself ignores these, so that a write fails with an error instead of ending us."""


class Inherited(NamedTuple):
    """What was found and put right."""

    closed: tuple[int, ...]
    """Of the descriptors 0 to 2: those that were closed, and lead to /dev/null now."""
    blocked: frozenset[int]
    ignored: frozenset[int]
    """For example SIGHUP under nohup(1), SIGINT for a job in a script's background."""
    cwd: str
    """The working directory; "/" where the one that was inherited does not exist any more."""
    cwd_lost: bool


def prepare() -> Inherited:
    """Put right what was inherited; call it first of all, in the main thread.

    Returns:
        What was found, for the log and for those who want to honour it.
    """
    closed = open_standard_descriptors()
    blocked, ignored = _reset_signals()
    cwd, lost = _settle()
    return Inherited(closed, blocked, ignored, cwd, lost)


def open_standard_descriptors() -> tuple[int, ...]:
    """Lead closed ones of 0, 1, 2 to /dev/null: then no file or socket can get their number."""
    closed = []
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
                os.close(fd)
            os.set_inheritable(number, True)
            closed.append(number)
    # Python has None for a stream whose descriptor was closed; `sys.stderr.write` would raise.
    if sys.stdin is None:
        sys.stdin = _stream(0, "r")
    if sys.stdout is None:
        sys.stdout = _stream(1, "w")
    if sys.stderr is None:
        sys.stderr = _stream(2, "w")
    return tuple(closed)


def _stream(number: int, mode: str) -> io.TextIOWrapper:
    raw = io.FileIO(number, mode, closefd=False)
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace")


def _reset_signals() -> tuple[frozenset[int], frozenset[int]]:
    """Unblock everything and take back what is ignored; handlers that were installed here stay."""
    blocked = frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    ignored = set()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP} - _PYTHONS_OWN:
        if signal.getsignal(number) == signal.SIG_IGN:
            ignored.add(number)
            own = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if own else signal.SIG_DFL)
    # Last: a signal that was waiting behind the mask arrives now.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    return blocked, frozenset(ignored)


def _settle() -> tuple[str, bool]:
    try:
        return os.getcwd(), False
    except FileNotFoundError:
        os.chdir("/")
        return "/", True
