"""Ctrl+C in ``ginkgoctl shell``: it ends the statement, and neither the shell nor the process."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from tests.workshop import DEADLINE, Program, Workshop

APP = """
    import os
    from ginkgo import Service

    class App(Service):
        def do_start(self):
            print("up", flush=True)
"""
BACKENDS = ["gevent", "asyncio", "threading"]
CTRL_C, CTRL_D = b"\3", b"\4"
ENDLESS = "call(print, 'busy'); exec('while True: pass')\n"
LOUD = f"try: exec({ENDLESS!r})\nfinally: call(print, 'over')"


def begin(shop: Workshop, backend: str) -> Program:
    shop.write("app.py", APP)
    program = shop.begin("ginkgo", "--backend", backend, "--set", "backdoor=True", "app.App")
    program.wait_for("A backdoor is open")
    return program


class Terminal:
    """A shell on a terminal, with somebody who types."""

    def __init__(self, shop: Workshop) -> None:
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            ["ginkgoctl", "app.App", "shell"],
            cwd=shop.folder,
            env=shop.env | {"TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # its own: Ctrl+C
        )
        os.close(slave)
        self._seen = ""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def read_to(self, text: str, timeout: float = DEADLINE) -> str:
        """Wait for a text; returns what came before it."""
        deadline = time.monotonic() + timeout
        while text not in self._seen:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._master], [], [], left)[0], f"no {text!r}: {self._seen!r}"
            self._seen += os.read(self._master, 4096).decode()
        before, _, self._seen = self._seen.partition(text)
        return before

    def interrupts(self) -> str:
        """Press Ctrl+C at a prompt, again where Python's readline was not yet waiting for it."""
        deadline = time.monotonic() + DEADLINE
        while True:
            self.type(CTRL_C)
            try:
                return self.read_to(">>> ", 0.5)
            except AssertionError:
                assert time.monotonic() < deadline

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self._master)


@contextmanager
def terminal(shop: Workshop) -> Iterator[Terminal]:
    opened = Terminal(shop)
    try:
        opened.read_to(">>> ")
        yield opened
    finally:
        opened.close()


def is_free(shop: Workshop) -> bool:
    """Whether no thread carries out what a shell was told."""
    found = shop.ctl("app.App", "dump").stdout
    return "<shell>" not in found


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_endless_statement_is_interrupted_and_the_shell_goes_on(
    shop: Workshop, backend: str
) -> None:
    program = begin(shop, backend)
    with terminal(shop) as shell:
        for count in (1, 2):
            shell.type(ENDLESS.encode())
            program.wait_for("^busy$", count=count)
            shell.type(CTRL_C)
            told = shell.read_to(">>> ")
            assert re.search(r'File "<shell>", line 1, in <module>.*KeyboardInterrupt', told, re.S)
            assert "ginkgo" not in told.lower()  # no frame of ours
        shell.type(b"6 * 7\n")
        assert "42" in shell.read_to(">>> ")
        assert is_free(shop)
        shell.type(CTRL_D)
        assert shell.process.wait(DEADLINE) == 0
    assert program.stops() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_at_a_prompt_it_drops_what_was_typed(shop: Workshop, backend: str) -> None:
    program = begin(shop, backend)
    with terminal(shop) as shell:
        assert "KeyboardInterrupt" in shell.interrupts()
        shell.type(b"if True:\n")
        shell.read_to("... ")
        assert "KeyboardInterrupt" in shell.interrupts()
        shell.type(b"half a word")
        shell.read_to("half a word")
        shell.interrupts()
        shell.type(b"6 * 7\n")
        assert "42" in shell.read_to(">>> ")
        shell.type(CTRL_D)
        assert shell.process.wait(DEADLINE) == 0
    assert program.stops() == 0


def test_on_gevent_a_statement_that_sleeps_is_interrupted_too(shop: Workshop) -> None:
    program = begin(shop, "gevent")
    with terminal(shop) as shell:
        shell.type(b"import time; call(print, 'busy'); time.sleep(1000)\n")
        program.wait_for("^busy$")
        shell.type(CTRL_C)
        assert "KeyboardInterrupt" in shell.read_to(">>> ")
        shell.type(b"import time; time.sleep(0); 6 * 7\n")  # its hub is whole
        assert "42" in shell.read_to(">>> ")
    assert program.stops() == 0


@pytest.mark.parametrize("backend", ["asyncio", "threading"])
def test_what_waits_in_c_is_told_and_may_be_left(shop: Workshop, backend: str) -> None:
    program = begin(shop, backend)
    wait = (
        b"import os, time; os.mkfifo('gate'); call(print, 'busy'); "
        b"os.close(os.open('gate', os.O_RDONLY)); call(print, 'on')\n"
    )
    with terminal(shop) as shell:
        shell.type(wait)
        program.wait_for("^busy$")
        shell.type(CTRL_C)
        told = shell.read_to("leaves the shell")
        assert "cannot interrupt" in told and ">>> " not in told
        os.close(os.open(shop.folder / "gate", os.O_WRONLY))  # its wait is over
        assert "KeyboardInterrupt" in shell.read_to(">>> ")
        (shop.folder / "gate").unlink()
        shell.type(wait)
        program.wait_for("^busy$", count=2)
        while shell.process.poll() is None:  # whoever does not wait to be told leaves too
            with suppress(AssertionError, OSError):
                shell.type(CTRL_C)
                shell.read_to("leaves the shell", 0.1)
        assert shell.process.returncode == 130
        program.wait_for("has left")  # though what it has begun still waits
        os.close(os.open(shop.folder / "gate", os.O_WRONLY))
    assert not [line for line in program.lines if line == "on"]
    assert program.stops() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_statement_ends_with_the_shell_that_it_was_typed_in(shop: Workshop, backend: str) -> None:
    program = begin(shop, backend)
    with terminal(shop) as shell:
        shell.type(f"exec({LOUD!r})\n".encode())
        program.wait_for("^busy$")
        shell.process.kill()
        program.wait_for("^over$")
    program.wait_for("has left")
    assert is_free(shop)
    assert program.stops() == 0


def test_from_a_pipe_ctrl_c_ends_the_client(shop: Workshop) -> None:
    program = begin(shop, "gevent")
    client = shop.piped("ginkgoctl", "app.App", "shell")
    assert client.stdin is not None and client.stdout is not None
    client.stdin.write("call(print, 'busy')\nexec('while True: pass')\n")
    client.stdin.flush()
    program.wait_for("^busy$")
    client.send_signal(signal.SIGINT)
    assert client.wait(DEADLINE) == 130
    client.stdin.close()
    client.stdout.close()
    program.wait_for("has left")
    assert program.stops() == 0


def test_an_interrupt_that_comes_too_late_hits_nothing(shop: Workshop) -> None:
    program = begin(shop, "threading")
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rwb") as stream:
        sock.settimeout(DEADLINE)
        sock.connect(str(shop.runtime / "ginkgo/app.App/backdoor.sock"))
        for _ in range(50):
            stream.write(b'{"source": "x = 1\\n"}\n')
            stream.flush()
            assert b'"output": ""' in stream.readline()
            stream.write(b'{"interrupt": true}\n{"source": "6 * 7\\n"}\n')
            stream.flush()
            assert b'"output": "42\\n"' in stream.readline()
        stream.write(b'{"source": "while True: pass\\n\\n"}\n{"interrupt": true}\n')
        stream.flush()  # it may come before the statement has begun
        assert b"KeyboardInterrupt" in stream.readline()
    assert program.stops() == 0
