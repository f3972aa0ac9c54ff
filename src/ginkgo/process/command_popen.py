"""The standard library's way to start a program, whatever gevent has done to it.

`gevent.monkey` puts its own Popen in place of the original one, and takes away what the original
needs: ``subprocess._fork_exec`` is None from then on, and ``os.close`` closes when the hub has its
next turn, which the original waits for without giving it one. So where the module is patched,
another copy of it is loaded, which nobody else has, and which sees `os` as it was.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

from ..async_ import native

_copy: ModuleType | None = None


def start(
    argv: Sequence[str],
    executable: str,
    env: Mapping[str, str],
    cwd: str | None = None,
    streams: tuple[int, int, int] = (-1, -1, -1),
    **who: Any,
) -> Any:
    """Start a program in a session of its own, with no descriptor but the three standard ones.

    The calling thread is held up until the program's file has been loaded.

    Args:
        argv: its arguments, the name first.
        executable: its file.
        env: its whole environment.
        cwd: the folder that it starts in; None: ours.
        streams: descriptors for its standard input, output and error; -1: /dev/null.
        who: ``user``, ``group`` and ``extra_groups``, as numbers.

    Returns:
        The Popen object, as long as which lives the status has to be told to it by whoever reaps.

    Raises:
        OSError: it cannot be started.
    """
    module = _subprocess()
    stdin, stdout, stderr = (module.DEVNULL if fd < 0 else fd for fd in streams)
    with _no_signal_blocked():
        return module.Popen(
            argv,
            executable=executable,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            env=env,
            start_new_session=True,
            **who,
        )


def close(fd: int) -> None:
    """Close a descriptor now, and not in the hub's next turn; -1 is none."""
    if fd >= 0:
        native.original("os", "close")(fd)


def _subprocess() -> Any:
    global _copy
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("subprocess"):
        import subprocess

        return subprocess
    if _copy is None:
        spec = importlib.util.find_spec("subprocess")
        assert spec is not None and spec.loader is not None  # noqa: S101 - it is there
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.__dict__["os"] = SimpleNamespace(**{**vars(os), **monkey.saved.get("os", {})})
        _copy = module
    return _copy


@contextmanager
def _no_signal_blocked() -> Iterator[None]:
    """What the thread blocks, its child would: a SIGTERM would not arrive.

    Signals that wait at the mask stay there. Others go to the main thread meanwhile, if they can.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    if not before:
        yield
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, before & signal.sigpending())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
