"""A config file that hangs, in each of the ways, and in each of the places."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest

from ginkgo.config import ConfigError, Settings

HANGS = {
    "computing": "while True:\n    pass\n",
    "catching all": "while True:\n    try: x = 1\n    except BaseException: x = 2\n",
}
WAITS = {"waiting": "import time\ntime.sleep(1000)\n"}


def load_within(path: str, seconds: float) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Settings(deadline=seconds).load_file(path)
    return caught.value


def in_a_thread(act: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(act()))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.fault(6)
@pytest.mark.parametrize("text", (HANGS | WAITS).values(), ids=HANGS | WAITS)
def test_a_file_that_hangs_is_ended_at_the_deadline(write: Any, text: str) -> None:
    path = write(text)
    error = load_within(path, 0.2)
    assert str(error).startswith(f"{path}:")
    assert "it was still running after 0.2 s, and was stopped here" in str(error)
    assert error.status == 78
    assert error.hint


@pytest.mark.fault(6)
@pytest.mark.parametrize("text", HANGS.values(), ids=HANGS)
def test_a_file_that_hangs_is_ended_in_another_thread_too(write: Any, text: str) -> None:
    path = write(text)
    error = in_a_thread(lambda: load_within(path, 0.2))
    assert "it was still running after 0.2 s" in str(error)


def test_without_a_deadline_a_file_takes_its_time(write: Any) -> None:
    config = Settings(deadline=0)
    config.load_file(write("rate = sum(range(100_000))"))
    assert config.get("rate") == 4_999_950_000


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in sorted(signal.valid_signals())]


def test_signals_are_given_back(write: Any) -> None:
    before = handlers()
    alarm = signal.getitimer(signal.ITIMER_REAL)[0]
    load_within(write("while True: pass"), 0.2)
    Settings().load_file(write("rate = 1"))
    assert handlers() == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] <= alarm


def test_a_signal_that_somebody_uses_is_left_alone(write: Any) -> None:
    mine = {number: lambda *_: None for number in range(signal.SIGRTMIN + 1, signal.SIGRTMAX + 1)}
    before = {number: signal.signal(number, handler) for number, handler in mine.items()}
    try:
        error = load_within(write("while True: pass"), 0.2)
        assert "it was still running after 0.2 s" in str(error)
        assert {number: signal.getsignal(number) for number in mine} == mine
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_signal_that_the_file_takes_is_the_files(write: Any) -> None:
    code = "import signal\nsignal.signal(signal.SIGRTMAX, signal.SIG_IGN)\nrate = 1\n"
    before = signal.getsignal(signal.SIGRTMAX)
    try:
        Settings(deadline=5).load_file(write(code))
        assert signal.getsignal(signal.SIGRTMAX) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGRTMAX, before)


def run(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", dedent(code), *args], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("text", ["rate = 1\n", HANGS["computing"]], ids=["good", "hangs"])
def test_nothing_is_left_in_the_interpreter_by_a_load_in_a_thread(write: Any, text: str) -> None:
    # A pending exception that never comes keeps CPython 3.11 in a traced function for ever.
    done = run(
        """
        import bdb, faulthandler, sys, threading
        from ginkgo.config import ConfigError, Settings

        def load():
            try:
                Settings(deadline=0.2).load_file(sys.argv[1])
            except ConfigError:
                pass

        faulthandler.dump_traceback_later(20, exit=True)
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
        print(bdb.Bdb().runcall(lambda: "gone through"))
        """,
        write(text),
    )
    assert (done.stdout, done.stderr) == ("gone through\n", "")


@pytest.mark.fault(6)
def test_a_real_interrupt_while_a_file_runs_stays_one(write: Any) -> None:
    path = write("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n")
    done = run(
        """
        import sys
        from ginkgo.config import ConfigError, Settings
        try:
            Settings(deadline=20).load_file(sys.argv[1])
        except KeyboardInterrupt:
            print("interrupted")
        """,
        path,
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@pytest.mark.fault(6)
@pytest.mark.parametrize("text", (HANGS | WAITS).values(), ids=HANGS | WAITS)
def test_a_file_that_hangs_is_ended_in_a_process_that_gevent_has_patched(
    write: Any, text: str
) -> None:
    done = run(
        """
        from gevent import monkey
        monkey.patch_all()
        import gevent, sys
        from ginkgo.config import ConfigError, Settings

        ticks = 0
        def tick():
            global ticks
            while True:
                gevent.sleep(0.01)
                ticks += 1

        def load():
            try:
                Settings(deadline=0.2).load_file(sys.argv[1])
            except ConfigError as error:
                return str(error)

        ticker = gevent.spawn(tick)
        told = gevent.spawn(load).get()
        print(told.splitlines()[0])
        assert not ticker.dead
        ticker.kill()
        """,
        write(text),
    )
    assert done.stderr == ""
    assert "it was still running after 0.2 s" in done.stdout


def test_what_ends_the_greenlet_that_loads_is_no_error_of_the_file(write: Any) -> None:
    done = run(
        """
        import gevent, sys
        from ginkgo.config import Settings

        loading = gevent.spawn(Settings().load_file, sys.argv[1])
        gevent.sleep(0)
        gevent.sleep(0)
        loading.kill()
        print(repr(loading.value))
        """,
        write("import gevent\ngevent.sleep(1000)\n"),
    )
    assert (done.stdout, done.stderr) == ("GreenletExit()\n", "")
