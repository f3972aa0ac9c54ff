"""Services in real scripts, each an interpreter of its own: no runner, real signals, real exits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LIMIT = 20.0  # seconds

Run = Callable[..., subprocess.Popen]


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Run]:
    """Start a script; gives the process, whose output is text."""
    started: list[subprocess.Popen] = []

    def run(text: str, *arguments: str) -> subprocess.Popen:
        path = tmp_path / "script.py"
        path.write_text(textwrap.dedent(text))
        process = subprocess.Popen(
            [sys.executable, *arguments, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for_line(process: subprocess.Popen, line: str) -> None:
    for read in process.stdout:
        if read.strip() == line:
            return
    pytest.fail(f"no {line!r} before the end, status {process.wait()}")


HELLO = """
    from ginkgo import Service

    class HelloWorld(Service):
        def do_start(self):
            self.spawn(self.hello_forever)

        def hello_forever(self):
            while True:
                print("Hello World")
                self.async_.sleep(0.01)

        def do_stop(self):
            print("Goodbye")

    if __name__ == "__main__":
        HelloWorld().serve_forever()
        print("the end")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_a_script_in_order(script: Run, number: int):
    process = script(HELLO)
    wait_for_line(process, "Hello World")
    process.send_signal(number)
    output, _ = process.communicate(timeout=LIMIT)
    assert [line for line in output.splitlines() if line != "Hello World"] == [
        "Goodbye",
        "the end",
    ]
    assert process.returncode == 0


def test_ctrl_c_during_the_start_stops_a_script_in_order(script: Run):
    process = script(
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
    wait_for_line(process, "starting")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT)
    assert output.split() == ["stopped"]
    assert process.returncode == 0


def test_an_idle_script_stops_too(script: Run):
    process = script(
        """
        from ginkgo import Service

        class Idle(Service):
            def do_start(self):
                print("started")

        Idle().serve_forever()
        """
    )
    wait_for_line(process, "started")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=LIMIT)[0] == ""
    assert process.returncode == 0


def test_an_idle_tree_uses_no_cpu(script: Run):
    process = script(
        """
        import resource
        import threading
        import time

        from ginkgo import Service

        root = Service()
        for _ in range(100):
            root.add_service(Service())

        def look():
            root.wait("ready")
            before = resource.getrusage(resource.RUSAGE_SELF)
            time.sleep(0.5)
            after = resource.getrusage(resource.RUSAGE_SELF)
            print("woken", after.ru_nvcsw - before.ru_nvcsw)
            root.stop()

        threading.Thread(target=look).start()
        root.serve_forever()
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    assert int(output.split()[1]) <= 3, "the thread that looks wakes once or twice itself"


def test_a_failed_service_ends_a_script_with_its_traceback(script: Run):
    process = script(
        """
        from ginkgo import Service

        class Broken(Service):
            def do_start(self):
                self.spawn(self.work)

            def work(self):
                1 / 0

        Broken().serve_forever()
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert output.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "in work" in output


@pytest.mark.fault(30)
@pytest.mark.parametrize("status", [0, 3])
def test_sys_exit_in_a_task_is_the_status_of_the_script(script: Run, status: int):
    process = script(
        f"""
        import sys
        from ginkgo import Service

        class Ends(Service):
            def do_start(self):
                self.spawn(sys.exit, {status})

            def do_stop(self):
                print("stopped in order")

        Ends().serve_forever()
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    assert output.splitlines() == ["stopped in order"]
    assert process.returncode == status


@pytest.mark.fault(71)
def test_a_task_that_will_not_end_does_not_keep_the_process(script: Run):
    process = script(
        """
        from ginkgo import Service

        class Stubborn(Service):
            stop_timeout = 0.1

            def do_start(self):
                self.spawn(self.work)
                print("started")

            def work(self):
                while True:
                    try:
                        self.async_.sleep(60)
                    except BaseException:
                        pass

        Stubborn().serve_forever()
        """
    )
    wait_for_line(process, "started")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=LIMIT)
    assert "StopTimeout: Stubborn: 1 task did not end" in output
    assert process.returncode == 1


def test_a_script_may_be_patched_by_gevent(script: Run):
    process = script(
        """
        from gevent import monkey
        monkey.patch_all()

        import queue, socket, subprocess, threading, time
        from ginkgo import Service
        from ginkgo.async_ import native

        class Worker(Service):
            def do_start(self):
                self.jobs = queue.Queue()
                self.lock = threading.Lock()
                self.spawn(self.work)
                self.spawn(self.tick)
                self.ticks = 0

            def tick(self):
                while True:
                    self.ticks += 1
                    time.sleep(0.001)

            def work(self):
                while True:
                    job = self.jobs.get()
                    with self.lock:
                        job()

        class App(Service):
            def __init__(self):
                self.worker = self.add_service(Worker())

            def do_start(self):
                self.done = threading.Event()
                self.worker.jobs.put(self.done.set)
                assert self.done.wait(10)
                subprocess.run(["echo", "child"], check=True)
                thread = threading.Thread(target=self.in_greenlet)
                thread.start()
                thread.join()
                real = native.start_thread(self.in_thread, name="real")
                while real.alive:
                    time.sleep(0.001)
                assert self.async_.to_thread(native.original("threading", "get_ident")) > 0

            def in_greenlet(self):
                self.worker.restart()
                print("restarted by what threading.Thread is now")

            def in_thread(self):
                self.worker.stop()
                self.worker.start()
                self.worker.wait("ready")
                self.worker.spawn(bool)
                print("restarted by a thread of the operating system")

        app = App()
        with app:
            before = app.worker.ticks
            while app.worker.ticks == before:
                time.sleep(0.001)
        app.start()
        app.stop()
        print(app.state, app.worker.state)
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    cycle = [
        "child",
        "restarted by what threading.Thread is now",
        "restarted by a thread of the operating system",
    ]
    assert output.splitlines() == [*cycle, *cycle, "stopped stopped"]
    assert process.returncode == 0


def test_a_tree_runs_in_a_thread_of_its_own(script: Run):
    process = script(
        """
        import threading
        from ginkgo import Service

        class Echo(Service):
            def do_start(self):
                self.where = threading.get_ident()
                self.spawn(self.async_.sleep, 60)

        echo = Echo()
        waiting = threading.Thread(target=lambda: print("waited", echo.wait("ready")))
        waiting.start()
        serving = threading.Thread(target=echo.serve_forever)
        serving.start()
        assert echo.wait("ready", timeout=10)
        assert echo.where == serving.ident
        waiting.join()
        echo.restart()
        assert echo.where == serving.ident
        echo.stop()
        serving.join()
        print(echo.state)
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    assert output.splitlines() == ["waited True", "stopped"]
    assert process.returncode == 0


def test_whoever_waits_or_stops_first_does_not_take_the_tree_to_its_thread(script: Run):
    process = script(
        """
        import threading
        from ginkgo import Service

        root = Service()
        root.add_service(Service())

        def other():
            root.stop()
            root.reload()
            root.set_ready()
            root.async_.event()
            waits.set()
            print("ready", root.wait("ready"))
            root.stop()

        waits = threading.Event()
        thread = threading.Thread(target=other)
        thread.start()
        waits.wait()
        root.serve_forever()
        thread.join()
        print(root.state)
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    assert output.splitlines() == ["ready True", "stopped"]
    assert process.returncode == 0


def test_a_tree_that_is_at_rest_may_be_started_in_another_thread(script: Run):
    process = script(
        """
        import threading
        from ginkgo import Service

        class Echo(Service):
            def do_start(self):
                print(threading.current_thread().name)

        echo = Echo()
        for name in "first", "second":
            thread = threading.Thread(target=echo.serve_forever, name=name)
            thread.start()
            echo.wait("ready")
            echo.stop()
            thread.join()
        echo.stop()
        import gevent
        gevent.sleep(0)
        with echo:
            pass
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    assert output.split() == ["first", "second", "MainThread"]
    assert process.returncode == 0


def test_a_tree_whose_thread_has_ended_says_so(script: Run):
    process = script(
        """
        import threading
        from ginkgo import Service

        echo = Service()
        thread = threading.Thread(target=echo.start)
        thread.start()
        thread.join()
        for call in echo.stop, echo.start, echo.reload, lambda: echo.spawn(bool):
            try:
                call()
            except Exception as error:
                print(error)
        """
    )
    output, _ = process.communicate(timeout=LIMIT)
    assert output.splitlines() == ["Service lives in a thread that has ended"] * 4
    assert process.returncode == 0
