"""The world of threads, for :mod:`tests.dialects`.

Threads run when they like. So a test that says "let all that can run do so" needs to know when that
is the case: when every thread that the test has brought into being waits in
:meth:`ginkgo.async_.threading_waits.Waiter.wait`, and none of those has been woken.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ginkgo.async_ import threading as backend_module
from ginkgo.async_.base import run_to_end
from ginkgo.async_.threading import Stopping, Timeout
from ginkgo.async_.threading_primitives import Event
from ginkgo.async_.threading_waits import Strand, Waiter, current, start_thread

# Seconds that any one test may take; `make soak` has a long one.
LIMIT = 20.0 + 3 * float(os.environ.get("GINKGO_SOAK", "0"))


class ThreadAsker:
    def __init__(self, work: Callable[[], Any]) -> None:
        self._outcome: list[Any] = []
        self._error: BaseException | None = None
        self._ended = Event()
        self._work = work
        self._strand = Strand()
        start_thread(self._strand, self._run, "asker")

    def _run(self) -> None:
        try:
            self._strand.check()
            self._outcome.append(self._work())
        except Stopping as killed:
            self._outcome.append(killed)
        except BaseException as error:
            self._error = error
        del self._work
        self._ended.set()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    async def result(self) -> Any:
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def kill(self) -> None:
        self._strand.interrupt(Stopping())


class ThreadGate:
    def __init__(self) -> None:
        self._event = Event()

    def open(self) -> None:
        self._event.set()

    def shut(self) -> None:
        self._event.clear()

    async def passed(self, timeout: float | None = None) -> bool:
        return self._event.wait(timeout)


class ThreadingWorld:
    """Threads; a test is the main one."""

    name = "threading"
    turns = False
    loop = False
    Ended = Stopping

    def __init__(self) -> None:
        self._gates: list[ThreadGate] = []
        self.threads: list[threading.Thread] = []
        self._others = set(sys._current_frames())
        self.closing = False

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        with Timeout(LIMIT, AssertionError(f"the test hangs: over {LIMIT} s")):
            return run_to_end(work)

    def play(self, script: Any, *args: Any) -> Any:
        """Carry a script out within a hook or task."""
        return run_to_end(script(*args))

    def task(self, script: Any) -> Callable[..., Any]:
        """A script as what can be spawned; it has the script's short name."""

        def carry_out(*args: Any) -> Any:
            return self.play(script, *args)

        carry_out.__qualname__ = script.__name__
        return carry_out

    def ended(self, task: Any) -> bool:
        """Whether a service's task is over."""
        return bool(task.ready())

    def kill(self, task: Any) -> None:
        """End a service's task from outside."""
        task.kill(block=False)

    async def result(self, task: Any) -> Any:
        """Wait for a service's task; return or raise what came of it."""
        return task.get()

    def ask(self, function: Callable[..., Any], *args: Any) -> ThreadAsker:
        return ThreadAsker(lambda: self._answer(function, *args))

    def _answer(self, function: Callable[..., Any], *args: Any) -> Any:
        answer = function(*args)
        return run_to_end(answer) if inspect.iscoroutine(answer) else answer

    def gate(self) -> ThreadGate:
        """A gate; those that the test has not opened are opened at its end."""
        gate = ThreadGate()
        self._gates.append(gate)
        if self.closing:
            gate.open()
        return gate

    def soon(self, function: Callable[..., Any], *args: Any) -> None:
        """Have a function called where it cannot wait: under the monitor."""
        backend_module.backend().post(function, *args)

    def still(self) -> AbstractContextManager[Any]:
        """Keep the trees as they are for as long as the body takes."""
        return backend_module.backend().monitor

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function in a thread that Ginkgo does not know."""
        outcome: list[Any] = []
        error: list[BaseException] = []
        ended = Waiter()

        def call() -> None:
            try:
                outcome.append(function(*args))
            except BaseException as raised:
                error.append(raised)
            ended.set()

        thread = threading.Thread(target=call, daemon=True)
        self.threads.append(thread)
        thread.start()
        current().wait(ended)
        if error:
            raise error[0]
        return outcome[0]

    async def breathe(self) -> None:
        """Let all that can run do so, as long as it leads from one to the next."""
        deadline = time.monotonic() + LIMIT
        while not self._all_wait():
            assert time.monotonic() < deadline, "something never waits"
            time.sleep(0.0005)

    def _all_wait(self) -> bool:
        me = threading.get_ident()
        for ident, frame in sys._current_frames().items():
            if ident == me or ident in self._others:
                continue
            if frame.f_code is not Waiter.wait.__code__ or frame.f_locals["self"].woken:
                return False
        return True

    async def sleep(self, seconds: float) -> None:
        current().sleep(seconds)

    @contextmanager
    def limit(self, seconds: float, error: type[BaseException]) -> Iterator[None]:
        """Raise `error` in the body when `seconds` are over."""
        with Timeout(seconds, error):
            yield

    def close(self) -> None:
        """The test is over: what hangs on purpose may end."""
        self.closing = True
        for gate in tuple(self._gates):
            gate.open()

    def leave(self) -> None:
        """Nothing runs any more."""
