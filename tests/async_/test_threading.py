"""What is the threading backend's own: real scripts, waits that can be ended, descriptors."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
import time
from collections.abc import Iterator
from queue import Empty, Full
from typing import Any

import pytest
from tests.core.test_scripts import HELLO, LIMIT, Run, script, wait_for_line
from tests.trees import Wrong

from ginkgo import Service
from ginkgo.async_ import threading as threads
from ginkgo.async_.bridge import bridge
from ginkgo.async_.threading import Stopping
from ginkgo.async_.threading_primitives import Event, Lock, Queue
from ginkgo.core import tasks

__all__ = ["script"]  # a fixture

ON_THREADS = """from ginkgo import Service
    from ginkgo.core.context import context
    context.backend = "threading"
"""


class App(Service):
    backend = "threading"


@pytest.fixture
def app() -> Iterator[App]:
    with App() as service:
        yield service


# -- scripts ----------------------------------------------------------------------------------


def on_threads(text: str) -> str:
    return text.replace("from ginkgo import Service", ON_THREADS, 1)


@pytest.mark.fault("O4")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_a_script_in_order(script: Run, number: int):
    process = script(on_threads(HELLO))
    wait_for_line(process, "Hello World")
    process.send_signal(number)
    output, _ = process.communicate(timeout=LIMIT)
    assert [line for line in output.splitlines() if line != "Hello World"] == ["Goodbye", "the end"]
    assert process.returncode == 0


IDLE = """
    import resource
    import sys
    import threading
    import time

    from ginkgo import Service

    class Waits(Service):
        def do_start(self):
            self.spawn(self.async_.event().wait)
            self.every(3600, bool)
            self.spawn_later(3600, bool)

    root = Service()
    for _ in range(10):
        root.add_service(Waits())

    def look():
        root.wait("ready")
        time.sleep(0.2)
        before = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(1)
        after = resource.getrusage(resource.RUSAGE_SELF)
        print("woken", after.ru_nvcsw - before.ru_nvcsw)
        print("others", {"gevent", "asyncio"} & set(sys.modules))
        root.stop()

    threading.Thread(target=look).start()
    root.serve_forever()
"""


def test_an_idle_tree_uses_no_cpu_and_no_other_backend(script: Run):
    process = script(on_threads(IDLE))
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    assert int(output.split()[1]) <= 3, "the thread that looks wakes once or twice itself"
    assert output.splitlines()[1] == "others set()"


@pytest.mark.fault(30)
def test_sys_exit_in_a_task_is_the_status_of_the_script(script: Run):
    process = script(
        on_threads(
            """
    import sys
    from ginkgo import Service

    class Ends(Service):
        def do_start(self):
            self.spawn(sys.exit, 3)

        def do_stop(self):
            print("stopped in order")

    Ends().serve_forever()
    """
        )
    )
    assert process.communicate(timeout=LIMIT)[0].splitlines() == ["stopped in order"]
    assert process.returncode == 3


@pytest.mark.fault(71)
@pytest.mark.fault(72)
@pytest.mark.fault(74)
def test_threads_that_never_end_do_not_keep_the_process(script: Run):
    process = script(
        on_threads(
            """
    import logging
    import time
    from ginkgo import Service

    logging.basicConfig()

    class Stuck(Service):
        stop_timeout = 0.1

        def do_start(self):
            self.spawn(self.say_when_ready)
            self.spawn(time.sleep, 1e6)

        def say_when_ready(self):
            self.wait("ready")
            print("started")

        def do_stop(self):
            time.sleep(1e6)

    Stuck().serve_forever()
    """
        )
    )
    wait_for_line(process, "started")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=LIMIT)
    assert time.monotonic() - began < 3
    assert "a task is left behind" in output
    assert "Stuck: do_stop does not end, and is left behind" in output
    assert "in do_stop" in output
    assert process.returncode == 1


def test_ctrl_c_during_a_start_that_hangs_stops_the_script(script: Run):
    process = script(
        on_threads(
            """
    from ginkgo import Service

    class Slow(Service):
        def do_start(self):
            print("starting")
            self.async_.sleep(60)

        def do_stop(self):
            print("stopped")

    Slow().serve_forever()
    """
        )
    )
    wait_for_line(process, "starting")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=LIMIT)[0].split() == ["stopped"]
    assert process.returncode == 0


def test_a_patched_process_is_refused(script: Run):
    process = script(
        """
        from gevent import monkey
        monkey.patch_all()
        from ginkgo import Service

        class App(Service):
            backend = "threading"

        try:
            App().start()
        except Exception as error:
            print(error)
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    assert output.startswith("the threading backend needs real threads")


# -- waits that end ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["sleep", "event", "queue", "full queue", "lock", "thread"])
def test_a_stop_ends_what_a_task_waits_for(what: str):
    app = App()
    ended: list[str] = []
    may_end = threading.Event()
    full, taken = Queue[int](1), Lock()
    full.put(1)
    taken.acquire()
    waits: dict[str, Any] = {
        "sleep": lambda: app.async_.sleep(3600),
        "event": lambda: app.async_.event().wait(),
        "queue": lambda: app.async_.queue().get(),
        "full queue": lambda: full.put(2),
        "lock": taken.acquire,
        "thread": lambda: app.async_.to_thread(may_end.wait),
    }
    begun = Event()

    def work() -> None:
        begun.set()
        try:
            waits[what]()
        except Stopping:
            ended.append(what)
            raise

    app.start()
    task = app.spawn(work)
    assert begun.wait(LIMIT)
    before = time.monotonic()
    app.stop()
    may_end.set()
    assert time.monotonic() - before < 0.5
    assert ended == [what]
    assert task.successful()
    assert full.qsize() == 1
    taken.release()


def test_a_task_that_only_computes_sees_that_its_service_stops(app: App):
    def compute() -> int:
        rounds = 0
        while not app.async_.stopping:
            rounds += 1
        return rounds

    task = app.spawn(compute)
    app.stop()
    assert task.get() >= 0


def test_context_variables_are_those_of_who_spawned(app: App):
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("mine")
    assert app.spawn(variable.get).get() == "mine"
    assert app.async_.to_thread(variable.get) == "mine"


def test_a_thread_has_the_name_of_its_task(app: App):
    def work() -> str:
        return threading.current_thread().name

    assert app.spawn(work).get().startswith("App: ")
    assert app.spawn(work).get().endswith("work")


def test_a_task_that_is_not_done_has_no_result_yet(app: App):
    task = app.spawn(app.async_.sleep, 60)
    with pytest.raises(TimeoutError):
        task.get(timeout=0.01)
    with pytest.raises(TimeoutError):
        task.get(block=False)
    task.kill()
    assert task.get() is None


def test_a_task_may_end_itself(app: App):
    tried = []

    def work() -> None:
        own.append(app.spawn(bool))
        me.get().kill()
        tried.append("not reached")

    own: list[Any] = []
    me = Queue[Any]()
    task = app.spawn(work)
    me.put(task)
    assert task.get() is None
    assert not tried


def test_what_is_left_to_one_who_is_told_to_end_goes_to_the_next():
    queue, lock = Queue[int](), Lock()
    lock.acquire()
    with App() as app:
        got = Queue[Any]()
        first = app.spawn(queue.get)
        second = app.spawn(lambda: got.put(queue.get()))
        first.kill()
        queue.put(1)
        assert got.get(timeout=LIMIT) == 1
        third = app.spawn(lock.acquire)
        third.kill()
        lock.release()
        assert not lock.locked()
        second.join()


def test_the_queue_does_not_wait_when_it_must_not():
    queue = Queue[int](1)
    with pytest.raises(Empty):
        queue.get_nowait()
    queue.put_nowait(1)
    assert queue.full()
    with pytest.raises(Full):
        queue.put_nowait(2)
    with pytest.raises(Full):
        queue.put(2, timeout=0.01)
    assert (queue.get(), queue.empty(), len(queue)) == (1, True, 0)


def test_a_lock_that_nobody_has_cannot_be_released():
    lock = Lock()
    with lock:
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(timeout=0.01)
    with pytest.raises(RuntimeError, match="nobody has"):
        lock.release()


def test_many_threads_get_what_many_put():
    queue, total = Queue[int](3), []
    with App() as app:
        getting = [app.spawn(lambda: [queue.get() for _ in range(100)]) for _ in range(4)]
        for start in range(4):
            app.spawn(lambda start=start: [queue.put(start * 100 + n) for n in range(100)])
        for task in getting:
            total += task.get(timeout=LIMIT)
    assert sorted(total) == [*range(400)]


def test_a_lock_keeps_many_threads_apart():
    lock, count = Lock(), [0]

    def add() -> None:
        for _ in range(200):
            with lock:
                before = count[0]
                time.sleep(0)
                count[0] = before + 1

    with App() as app:
        for task in [app.spawn(add) for _ in range(4)]:
            task.join(LIMIT)
    assert count == [800]


@pytest.mark.fault(72)
def test_a_hook_that_hangs_in_c_is_shown_and_left_behind(caplog, monkeypatch):
    monkeypatch.setattr(tasks, "GRACE", 0.02)
    may_end = threading.Event()

    class Hangs(App):
        start_timeout = 0.05

        def do_start(self) -> None:
            may_end.wait()

    with pytest.raises(TimeoutError, match="do_start did not return within"):
        Hangs().start()
    may_end.set()
    assert "do_start does not end, and is left behind" in caplog.text
    assert "may_end.wait()" in caplog.text


# -- coroutines -------------------------------------------------------------------------------


def test_a_coroutine_runs_on_the_bridge_and_ends_with_its_service():
    begun, ended = Event(), Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    try:
        with App() as app:
            assert app.async_.run(answer()) == 42
            with pytest.raises(TimeoutError):
                app.async_.run(asyncio.sleep(60), timeout=0.01)
            app.spawn(work)
            assert begun.wait(LIMIT)
        assert ended.is_set()
    finally:
        bridge.close()


# -- descriptors ------------------------------------------------------------------------------


def test_a_descriptor_is_watched_until_it_is_closed(caplog):
    backend = threads.backend()
    reader, writer = os.pipe()
    arrived = Queue[bytes]()

    def read() -> None:
        data = os.read(reader, 100)
        arrived.put(data)
        if data == b"!":
            raise Wrong("told, and watched on")

    watch = backend.watch(reader, read)
    for data in (b"1", b"!", b"2"):
        os.write(writer, data)
        assert arrived.get(timeout=LIMIT) == data
    watch.close()
    watch.close()
    os.write(writer, b"3")
    with pytest.raises(Empty):
        arrived.get(timeout=0.02)
    os.close(reader)
    os.close(writer)
    assert len(caplog.records) == 1


def test_what_watches_a_descriptor_may_stop_a_tree_and_close_its_watch():
    backend = threads.backend()
    reader, writer = os.pipe()
    app = App()
    app.start()

    def read() -> None:
        watch.close()
        app.stop()  # begins it: this cannot wait

    watch = backend.watch(reader, read)
    os.write(writer, b"1")
    assert app.wait("stopped", timeout=LIMIT)
    os.close(reader)
    os.close(writer)
