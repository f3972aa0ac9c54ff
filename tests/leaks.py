"""What a test must not leave behind in its own process: tasks, threads, descriptors, dumb loggers.

A snapshot is taken before each test and compared after it. Ends take a moment (a greenlet that was
killed dies when it is next switched to), so that the comparison is repeated until it holds or its
time is over.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

PATIENCE = 5.0  # seconds in which what was told to end has to be gone

NOT_OURS = ("/pytest-of-", "/.hypothesis/", "/dev/pts/", "/dev/null")
"""Descriptors of pytest and its plugins, which come and go as they like."""


@dataclass(frozen=True)
class Snapshot:
    """What there was at one moment."""

    descriptors: dict[int, str]
    threads: frozenset[str]
    tasks: dict[int, Any] = field(repr=False)
    loggers: dict[str, tuple[Any, ...]] = field(repr=False)

    @classmethod
    def take(cls) -> Snapshot:
        """What there is now."""
        tasks = {id(task): task for task in (*greenlets(), *asyncio_tasks())}
        return cls(descriptors(), frozenset(os.listdir("/proc/self/task")), tasks, loggers())

    def left_since(self, before: Snapshot) -> list[str]:
        """What is here and was not there, in words."""
        left = [
            f"descriptor {fd}: {target}"
            for fd, target in self.descriptors.items()
            if before.descriptors.get(fd) != target
        ]
        left += [f"native thread {thread}" for thread in self.threads - before.threads]
        left += [
            f"{type(task).__name__}: {where(task)}"
            for ident, task in self.tasks.items()
            if before.tasks.get(ident) is not task
        ]
        left += [
            f"logger {name} with (level, disabled, propagate, tells errors) {state}"
            for name, state in self.loggers.items()
            if before.loggers.get(name, state) != state
        ]
        return left


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Fail when the body leaves something behind."""
    _make_hub()
    before = Snapshot.take()
    yield
    left = wait_until_gone(before)
    assert not left, "left behind:\n" + "\n".join(left)


def wait_until_gone(before: Snapshot) -> list[str]:
    """What is left of what was not there before, when all that is on its way out has had time."""
    deadline = time.monotonic() + PATIENCE
    _end_thread_pools()
    while left := Snapshot.take().left_since(before):
        if time.monotonic() > deadline:
            break
        gc.collect()
        _let_others_run()
    return left


def descriptors() -> dict[int, str]:
    """The open descriptors and what they lead to, but for those that are not a test's."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the one with which the folder was listed
        if not any(part in target for part in NOT_OURS):
            found[int(name)] = target
    return found


def loggers() -> dict[str, tuple[Any, ...]]:
    """What holds for each logger of ours; not by asking it, for it remembers the answer."""
    silenced = logging.root.manager.disable >= logging.ERROR
    known = logging.root.manager.loggerDict.copy()
    return {
        name: (
            each.level,
            each.disabled,
            each.propagate,
            silenced or each._cache.get(logging.ERROR, True),
        )
        for name, each in known.items()
        if isinstance(each, logging.Logger) and name.startswith("ginkgo")
    }


def greenlets() -> Iterator[Any]:
    """Greenlets that were started and have not ended, but the hubs and the one that looks."""
    greenlet = sys.modules.get("greenlet")
    if greenlet is None:
        return
    hub = sys.modules["gevent.hub"].Hub if "gevent.hub" in sys.modules else ()
    current = greenlet.getcurrent()
    for found in gc.get_objects():
        # type(): isinstance asks some objects for their __class__, and proxies answer with an error
        if not issubclass(type(found), greenlet.greenlet) or isinstance(found, hub):
            continue
        if found is current or not found:
            continue
        # Without a frame: another thread's main greenlet, or gevent's that are still to begin.
        if found.gr_frame is not None or hasattr(found, "started"):
            yield found


def asyncio_tasks() -> Iterator[Any]:
    """Tasks of every event loop of this process that are not done."""
    tasks = sys.modules.get("asyncio.tasks")
    if tasks is not None:
        known = getattr(tasks, "_scheduled_tasks", None) or getattr(tasks, "_all_tasks", ())
        yield from (task for task in tuple(known) if not task.done())


def where(task: Any) -> str:
    """What a task is doing."""
    frame = getattr(task, "gr_frame", None)
    stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
    return f"{task!r}\n{stack}"


def _make_hub() -> None:
    """A hub keeps some descriptors for as long as its thread lives: have them from the start."""
    gevent = sys.modules.get("gevent")
    if gevent is not None and _hub() is None:
        wakeup = gevent.get_hub().loop.async_()
        wakeup.start(bool)
        wakeup.stop()
        wakeup.close()


def _end_thread_pools() -> None:
    """gevent keeps the threads of its pool for the next who needs one."""
    hub = _hub()
    if hub is not None and hub._threadpool is not None:
        hub._threadpool.kill()
        hub._threadpool = None


def _let_others_run() -> None:
    gevent = sys.modules.get("gevent")
    pause: Callable[[float], object] = time.sleep if gevent is None else gevent.sleep
    pause(0.005)


def _hub() -> Any:
    local = sys.modules.get("gevent._hub_local")
    return None if local is None else local.get_hub_if_exists()
