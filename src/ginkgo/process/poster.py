"""Handing work over to a tree's own thread, for a thread that must never wait.

A loop takes what is posted to it at any time. On threads there is no loop, but a monitor, which may
be held: there a thread of its own waits for it, and is made only when something is posted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..async_ import native
from ..core.backend import Backend


class Poster:
    """Posts to one backend.

    Args:
        backend: what the tree runs on.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waits = backend.name == "threading"
        self._errands: deque[Callable[[], object] | None] = deque()
        self._bell = native.lock()
        self._bell.acquire()
        self._thread: native.NativeThread | None = None
        self._closed = False

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call `function` soon in the tree's own thread. Returns at once; from one other thread."""
        if not self._waits or self._closed:
            self._backend.post(function, *args)
            return
        self._errands.append(lambda: self._backend.post(function, *args))
        if self._thread is None:
            self._thread = native.start_thread(self._run, name="ginkgo-poster")
        self._ring()

    def close(self, timeout: float = 2.0) -> None:
        """End the thread, after what is posted already. Called in the tree's thread, at its end."""
        self._closed = True
        if self._thread is not None:
            self._errands.append(None)
            self._ring()
            self._thread.join(timeout)
            self._thread = None

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it rings already

    def _run(self) -> None:
        while True:
            self._bell.acquire()
            while self._errands:
                errand = self._errands.popleft()
                if errand is None:
                    return
                errand()
