"""The duties of pid 1, for a daemon that is the first process of a container.

The kernel hands every orphan of the container to pid 1, and a dead one stays a zombie until pid 1
has asked for its status. To ask for any child's status would steal those that the application waits
for (`subprocess`). So there are two processes::

    pid 1   waits: reaps whatever dies, hands signals on, ends with the daemon's exit status
      └── the daemon: everything else, and the parent of nothing but what it has started itself

Signals reach the daemon from its first moment on: the handlers are there before the fork, and what
pid 1 gets meanwhile waits. To pid 1 the kernel delivers no signal without a handler, which is why
``docker stop`` takes ten seconds with so many programs.

Source: pid_namespaces(7), kill(2), waitpid(2).
"""

from __future__ import annotations

import os
import signal

from ..core.errors import UsageError

_FROM_THE_TERMINAL = 0x80  # si_code SI_KERNEL: its whole foreground group has got it already
_ALL = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_NOT_HANDED_ON = {signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU, signal.SIGPIPE}

_is_divided = False


def is_first() -> bool:
    """Whether this process is the first of a container, or is what the first one waits for."""
    return os.getpid() == 1 or _is_divided


def divide() -> None:
    """Where this is pid 1: go on in a child, and let pid 1 do its duties until that has ended.

    To be called with signal handlers in place, and before there is any thread.
    """
    global _is_divided
    if os.getpid() != 1:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)
    child = os.fork()
    if child == 0:
        _is_divided = True
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    os._exit(_wait_for(child))


def refuse_daemon(asked: str) -> None:
    """Say why the first process of a container cannot go into the background.

    Args:
        asked: who wants that: ``-d``, or the setting's name and place.

    Raises:
        UsageError: this is pid 1.
    """
    if is_first():
        raise UsageError(
            f"{asked}: this is pid 1, the first process of a container, and the container ends "
            "when it does: a daemon in the background would be killed at once",
            hint="Leave it in the foreground; the container is the background. Its log goes to "
            "stderr, where the container's runtime collects it.",
        )


def _wait_for(child: int) -> int:
    """Be pid 1. Returns the exit status of `child`."""
    while True:
        status = _reap(child)
        if status is not None:
            return status
        told = signal.sigwaitinfo(_ALL)
        number = told.si_signo
        if number in _NOT_HANDED_ON or told.si_code == _FROM_THE_TERMINAL:
            continue
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass  # it has ended: its SIGCHLD is under way


def _reap(child: int) -> int | None:
    """Ask for the status of all that have died. Returns the exit status of `child`, if it has."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return os.EX_SOFTWARE  # somebody else has asked for it: there is nothing to wait for
        if pid == 0:
            return None
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
