"""A folder in which tests run the real commands, and what they must not leave behind.

Every process that a test starts has a mark in its environment. When the test is over, no process
may have it any more, and the runtime folder holds no socket, pid or record.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

DEADLINE = 20.0  # seconds, for what takes a fraction of one on a quiet machine
INTERRUPT = signal.SIGINT
LEFT = ("pid", "instance.json", "control.sock")


# What a program imports that becomes another user: the interpreter that runs these tests may be one
# that only root can read.
EVERYTHING = """
    import importlib
    import pkgutil

    import ginkgo

    for module in pkgutil.walk_packages(ginkgo.__path__, "ginkgo."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("ast", "difflib", "encodings.idna", "_ast"):
        importlib.import_module(name)
"""


class Program:
    """A command that was started, and the lines that it has printed."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.pid = process.pid
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        """What was printed so far, on stdout and stderr."""
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, count: int = 1, timeout: float = DEADLINE) -> list[str]:
        """Wait until `count` lines match; returns them."""

        def matching() -> list[str]:
            return [line for line in self.lines if re.search(pattern, line)]

        deadline = time.monotonic() + timeout
        with self._changed:
            while len(found := matching()) < count:
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    what = "ended" if self._ended else "is late"
                    raise AssertionError(
                        f"no {count} lines like {pattern!r}: it {what}\n{self.output}"
                    )
                self._changed.wait(left)
        return found

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def ends(self, timeout: float = DEADLINE) -> int:
        """Wait for its end; returns the exit status (negative: the signal)."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return status

    def stops(self, number: int = INTERRUPT, timeout: float = DEADLINE) -> int:
        """Send a signal and wait for the end."""
        self.signal(number)
        return self.ends(timeout)


class Workshop:
    """A folder, an environment and the programs that were started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        # Not in the test's own folder: a socket's path may have 107 characters (unix(7)).
        self.runtime = Path(tempfile.mkdtemp(prefix="ginkgo-"))
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GINKGO_", "XDG_", "PYTEST", "COV"))
            and name not in ("RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID")
            and name not in ("KUBERNETES_SERVICE_HOST", "JOURNAL_STREAM", "COLUMNS", "NO_COLOR")
        }
        self.env.pop("PYTHONUNBUFFERED", None)
        self.env |= {
            "GINKGO_TEST_ID": self.mark,
            "XDG_RUNTIME_DIR": str(self.runtime),
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.programs: list[Program] = []

    def write(self, name: str, text: str) -> Path:
        """Write a file in the folder; the text is dedented."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def run(
        self, *command: str, timeout: float = DEADLINE, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; stdout and stderr are apart."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.env | (env or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def ginkgo(self, *args: str, **more: object) -> subprocess.CompletedProcess[str]:
        """Run ``ginkgo`` to its end."""
        return self.run("ginkgo", *args, **more)  # type: ignore[arg-type]

    def ctl(self, *args: str, **more: object) -> subprocess.CompletedProcess[str]:
        """Run ``ginkgoctl`` to its end."""
        return self.run("ginkgoctl", *args, **more)  # type: ignore[arg-type]

    def begin(self, *command: str, env: dict[str, str] | None = None, **more: object) -> Program:
        """Start a command that goes on; stdout and stderr together."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **more,  # type: ignore[call-overload]
        )
        program = Program(process)
        self.programs.append(program)
        return program

    def piped(self, *command: str) -> subprocess.Popen[str]:
        """Start a command that reads what the test writes; stdout is a pipe, stderr is ours."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def marked(self) -> list[int]:
        """The processes that carry this workshop's mark."""
        mark = f"GINKGO_TEST_ID={self.mark}".encode()
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                        found.append(int(entry))
        return found

    def left_files(self) -> list[str]:
        """What a clean stop must have removed from the runtime folders."""
        return sorted(
            str(path.relative_to(self.runtime))
            for path in self.runtime.rglob("*")
            if path.name in LEFT
        )

    def close(self) -> None:
        """End what still runs, and complain about it."""
        for program in self.programs:
            if program.process.poll() is None:
                program.process.kill()
            program.ends()
            assert program.process.stdout is not None
            program.process.stdout.close()
        reap_orphans()
        left = [pid for pid in self.marked() if not _zombie(pid)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            wait_gone(pid)
        reap_orphans()
        assert not left, f"left behind: processes {left}"
        assert not self.left_files(), f"left behind: {self.left_files()}"


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def become_subreaper() -> None:
    """Orphans of the processes that tests start become ours, and are seen (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def reap_orphans() -> None:
    """Collect the ended daemons that became this process's children."""
    me = str(os.getpid())
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            if fields[1] == me and fields[0] == "Z":
                os.waitpid(int(entry), os.WNOHANG)


def wait_gone(pid: int, timeout: float = DEADLINE) -> None:
    """Wait for the end of a process, be it a child or not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(timeout * 1000), f"process {pid} does not end"
    finally:
        os.close(fd)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(condition: object, timeout: float = DEADLINE) -> None:
    """Wait until `condition()` holds: for what has no event to wait for, as another's file."""
    deadline = time.monotonic() + timeout
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline, "it does not come to be"
        time.sleep(0.01)


@contextlib.contextmanager
def workshop(folder: Path) -> Iterator[Workshop]:
    """A workshop, closed at the end."""
    place = Workshop(folder)
    try:
        yield place
    finally:
        try:
            place.close()
        finally:
            shutil.rmtree(place.runtime)
