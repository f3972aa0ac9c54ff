"""Processes that tests of the process room play with: each runs a few lines of Python.

An actor talks in lines: it prints, the test listens; the test tells it something, it reads. So both
sides stop at named points, and nobody has to sleep.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence

NOBODY = 65534
DEADLINE = 20.0

# The interpreter may lie where nobody else may read: what the lines need is imported before.
_BECOME_NOBODY = f"""
import ctypes, encodings.idna, grp, hashlib, json, os, pwd, random, resource, signal, socket, sys
import ginkgo.process.hygiene, ginkgo.process.launcher, ginkgo.process.pidfile
import ginkgo.process.privileges, ginkgo.process.runtime
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
    os.environ["HOME"] = "/nonexistent"
"""

_SAY = """
def say(*words):
    print(*words, flush=True)
"""


class Actor:
    """A process that runs some lines."""

    def __init__(
        self,
        lines: str,
        env: Mapping[str, str],
        *,
        args: Sequence[str] = (),
        nobody: bool = False,
        prefix: Sequence[str] = (),
        **more: object,
    ) -> None:
        code = (_BECOME_NOBODY if nobody else "") + _SAY + textwrap.dedent(lines)
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", code, *args],
            env={**env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            **more,  # type: ignore[call-overload]
        )
        self.pid = self.process.pid
        self._heard = b""

    def says(self) -> str:
        """Wait for its next line."""
        assert self.process.stdout is not None
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
            assert ready, "it says nothing"
            chunk = os.read(self.process.stdout.fileno(), 65536)
            assert chunk, f"it ended: {self.errors()}"
            self._heard += chunk
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode("utf-8", "backslashreplace")

    def tell(self, line: str = "") -> None:
        """Let it go on, where it waits in input()."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def ends(self) -> int:
        """Wait for its end; returns the exit status."""
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        """Kill it (-9), and wait for its end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE)

    def errors(self) -> str:
        """What it has written to stderr, once it has ended."""
        assert self.process.stderr is not None
        self.process.wait(DEADLINE)
        return self.process.stderr.read().decode("utf-8", "backslashreplace")

    def close(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def is_alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def clean_environment(home: str) -> dict[str, str]:
    """An environment in which every place is the test's own."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GINKGO_", "XDG_", "LISTEN_"))
        and name not in ("RUNTIME_DIRECTORY", "NOTIFY_SOCKET")
    }
    return env | {"XDG_RUNTIME_DIR": home, "HOME": home, "PYTHONDONTWRITEBYTECODE": "1"}
