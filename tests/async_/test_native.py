"""Threads, locks, sockets and pollers that are real, also where gevent has patched the process."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from ginkgo.async_ import native


def run(code: str) -> str:
    """Run code in an interpreter of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_imports_no_gevent() -> None:
    assert (
        run("""
        import sys
        import ginkgo.async_.native as native
        native.lock(); native.epoll().close()
        print([name for name in sys.modules if name.startswith(("gevent", "greenlet"))])
    """)
        == "[]"
    )


def test_originals_are_found_behind_the_patches() -> None:
    assert (
        run("""
        from ginkgo.async_ import native  # before the patching: it looks up late
        from gevent import monkey; monkey.patch_all()
        import select, socket
        made = native.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        print(type(made).__module__, hasattr(select, "epoll"), type(native.epoll()).__module__,
              type(native.lock()).__module__, type(native.rlock()).__module__,
              native.original("time", "sleep").__self__.__name__)
    """)
        == "socket False select _thread _thread time"
    )


def test_a_thread_runs_while_the_hub_is_blocked() -> None:
    assert (
        run("""
        from ginkgo.async_ import native
        from gevent import monkey; monkey.patch_all()
        import gevent, os, time
        got = []
        def work():
            one, other = native.socketpair()
            one.send(b"through")
            got.append(other.recv(7).decode())
            native.sleep(0.01)
            got.append("slept")
            one.close(); other.close()
        thread = native.start_thread(work, name="worker")
        native.original("time", "sleep")(0.5)  # nothing of gevent runs meanwhile
        print(*got, thread.join(0))
    """)
        == "through slept True"
    )


def test_what_is_accepted_is_of_the_original_class_too() -> None:
    assert (
        run("""
        from ginkgo.async_ import native
        from gevent import monkey; monkey.patch_all()
        import socket, tempfile
        with tempfile.TemporaryDirectory() as folder:
            listener = native.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(folder + "/s"); listener.listen()
            print(native.accept(listener))
            client = native.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.connect(folder + "/s")
            sock = native.accept(listener)
            print(type(sock).__module__, sock.getblocking(), sock.get_inheritable())
            for each in (sock, client, listener):
                each.close()
    """)
        == "None\nsocket False False"
    )


def test_a_native_thread_takes_no_signals() -> None:
    masks = []
    thread = native.start_thread(
        lambda: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ())), name="masked"
    )
    assert thread.join(10)
    assert {signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD} <= masks[0]
    assert signal.SIGSEGV not in masks[0]  # faulthandler needs it
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_native_thread_can_be_told_apart_by_its_name() -> None:
    go = native.lock()
    go.acquire()
    names = []

    def work() -> None:
        names.extend(
            Path(f"/proc/self/task/{task}/comm").read_text().strip()
            for task in os.listdir("/proc/self/task")
        )
        go.acquire()

    thread = native.start_thread(work, name="a-name-too-long-for-the-kernel")
    assert thread.alive
    assert not thread.join(0.01)
    go.release()
    assert thread.join(10)
    assert not thread.alive
    assert "a-name-too-long" in names


def test_a_thread_whose_function_raises_has_ended(capfd: pytest.CaptureFixture[str]) -> None:
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        thread = native.start_thread(lambda: 1 / 0, name="short")
        assert thread.join(10)
        deadline = time.monotonic() + 10
        while thread.alive:
            assert time.monotonic() < deadline
    finally:
        sys.unraisablehook = hook
