"""Daemon threads of our own, for functions that block beside an asyncio loop.

An executor of the standard library is not used: its threads are waited for when the interpreter
ends, so that one job which never returns keeps the process alive. These are not, and each has all
of the caller's context variables. A thread that has done its work is kept a moment for the next.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from queue import Empty, SimpleQueue
from typing import Any

from .base import Outcome

IDLE = 5.0  # seconds that a thread waits for another job

asked_to_end: ContextVar[threading.Event | None] = ContextVar("asked_to_end", default=None)
"""In the thread of a task: set when the task is to end."""

asked_by: ContextVar[asyncio.Task[Any] | None] = ContextVar("asked_by", default=None)
"""In a worker thread: the task that waits for what it does."""

Job = Callable[[], object]


class Workers:
    """Threads that run one job each at a time; there are as many as there are jobs at once.

    Attributes:
        busy: how many jobs there are now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Job | None]] = []
        self._count = 0
        self.busy = 0

    def run(self, job: Job) -> None:
        """Run `job` in a thread; returns at once. It must let no exception out."""
        with self._lock:
            self.busy += 1
            if self._idle:
                self._idle.pop().put(job)  # the latest: its memory is the warmest
                return
            self._count += 1
            name = f"ginkgo-worker-{self._count}"
        threading.Thread(target=self._work, args=(job,), name=name, daemon=True).start()

    def _work(self, first: Job) -> None:
        jobs: SimpleQueue[Job | None] = SimpleQueue()
        job: Job | None = first
        while job is not None:
            job()
            job = None  # what it holds is not held while we wait
            with self._lock:
                self.busy -= 1
                self._idle.append(jobs)
            try:
                job = jobs.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if jobs in self._idle:
                        self._idle.remove(jobs)
                        return
                job = jobs.get()  # it was given one in the last moment

    def end_idle(self) -> None:
        """Let the threads that have nothing to do end."""
        with self._lock:
            while self._idle:
                self._idle.pop().put(None)


workers = Workers()
"""Those of this process."""


def in_thread(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> asyncio.Future[Outcome]:
    """Call a function in a worker thread; what it returned or raised is the future's result.

    Must be called in the running loop.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Outcome] = loop.create_future()
    context = copy_context()
    context.run(asked_by.set, asyncio.current_task())

    def call() -> None:
        outcome: Outcome
        future.thread = threading.get_ident()  # type: ignore[attr-defined]
        try:
            outcome = context.run(function, *args, **kwargs), None
        except BaseException as error:  # noqa: BLE001 - raised again in the task that waits
            outcome = None, error
        try:
            loop.call_soon_threadsafe(_tell, future, outcome)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    workers.run(call)
    return future


def sleep_in_thread(seconds: float) -> None:
    """Sleep in a worker thread.

    Raises:
        asyncio.CancelledError: the task that the thread runs for was told to end.
    """
    end = asked_to_end.get()
    if end is None:
        time.sleep(seconds)
    elif end.wait(seconds):
        raise asyncio.CancelledError


def _tell(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)
