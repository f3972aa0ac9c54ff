"""An interruption of what a thread runs: it hits the statement, or nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
from textwrap import dedent

from ginkgo.control.interrupts import Interruptible


def test_whenever_it_comes_it_hits_the_statement_or_nothing() -> None:
    statements = Interruptible()
    ended, outside = threading.Event(), []
    began, hit = 0, 0

    def run() -> None:
        nonlocal began, hit
        try:
            statements.enter()
            for number in range(1, 300):
                began = number
                try:
                    statements.run(number, lambda: sum(range(2000)))
                except KeyboardInterrupt:
                    hit += 1
            statements.leave()
        except BaseException as error:
            outside.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that one has a turn while the other runs
    thread.start()
    while not ended.is_set():
        statements.interrupt(began)
    thread.join()
    sys.setswitchinterval(usual)
    assert (began, outside) == (299, [])
    assert hit > 0


def test_nothing_is_left_in_the_interpreter() -> None:
    # A pending exception that never comes keeps CPython 3.11 in a traced function for ever.
    code = """
        import bdb, faulthandler, sys, threading
        from ginkgo.control.interrupts import ALL, Interruptible

        faulthandler.dump_traceback_later(20, exit=True)
        statements, busy = Interruptible(), threading.Event()

        def endless():
            busy.set()
            while True:
                pass

        def run():
            statements.enter()
            try:
                statements.run(1, endless)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            statements.leave()

        thread = threading.Thread(target=run)
        thread.start()
        busy.wait()
        statements.interrupt(ALL)
        thread.join()
        sys.settrace(lambda *_: None)
        bdb.Bdb().runcall(lambda: [x for x in range(10)])
        print("traced")
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("interrupted\ntraced\n", "")
