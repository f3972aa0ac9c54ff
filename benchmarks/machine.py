"""Processes under test: started on their own core, measured, ended by their own pid.

The server runs on the first core that this process may use and the load on the second, so that
every figure of a server is that of one core. Where there is only one, they share it, and
`core_note` says so. Nothing is left behind: what does not end on SIGTERM is killed.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Final

import psutil

from benchmarks.harness import Figures, Unmeasured

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
SERVERS: Final = HERE / "servers"
SCRIPTS: Final = HERE / "scripts"

START_LIMIT: Final = 30.0
"""Seconds that a server may take until it has told its port."""

END_LIMIT: Final = 15.0
"""Seconds that a process may take to end after SIGTERM before it is killed."""

COMMAND_LIMIT: Final = 60.0
"""Seconds that a command may take."""

SCRIPT_LIMIT: Final = 300.0
"""Seconds that a script which measures something in its own process may take."""

PORT: Final = re.compile(rb"^port (\d+)$|(?:Listening at:|running on) http://127.0.0.1:(\d+)")
"""How a server tells its port: ours and the bare ones, and then gunicorn and uvicorn."""


@cache
def cores() -> tuple[int, int]:
    """The servers' core and the load's; the same one twice where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[min(1, len(usable) - 1)]


def core_note() -> str:
    """Where servers and load run, in words."""
    server, load = cores()
    if server == load:
        return f"servers and load share core {server}: the ratios mean less"
    return f"servers on core {server}, load on core {load}"


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread, and what it starts meanwhile, runs on that core only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def scratch_environment() -> Iterator[dict[str, str]]:
    """An environment whose home and runtime folder are empty folders of its own.

    So nothing that runs here meets the user's own instances, nor leaves files with them.
    """
    with tempfile.TemporaryDirectory(prefix="ginkgo-bench-") as folder:
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
        yield {**kept, "HOME": folder, "XDG_RUNTIME_DIR": folder, "PYTHONPATH": str(ROOT)}


class Running:
    """A server under test that has told its port."""

    def __init__(self, argv: Sequence[str], env: dict[str, str]) -> None:
        self.env = env
        self.began = time.perf_counter()
        with on_core(cores()[0]):
            self.process = subprocess.Popen(
                argv,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        self.port = 0
        self._last_lines: deque[bytes] = deque(maxlen=20)
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the process that was started; it may have children."""
        return self.process.pid

    def wait_for_port(self) -> None:
        """Raises:
        Unmeasured: it ended, or told no port in time; with the last lines that it wrote.
        """
        self._told.wait(START_LIMIT)
        if not self.port:
            output = b"".join(self._last_lines).decode(errors="replace").strip()
            raise Unmeasured(f"the server did not tell its port; it wrote:\n{output}")

    def cpu_seconds(self) -> float:
        """CPU time that it and its children have used, in ticks of 10 ms."""
        top = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (top, *top.children(recursive=True))]
        return sum(t.user + t.system for t in times)

    def end(self) -> None:
        """SIGTERM, and SIGKILL to it and its children if that does not end it."""
        if self.process.poll() is None:
            children = psutil.Process(self.pid).children(recursive=True)
            self.process.terminate()
            try:
                self.process.wait(END_LIMIT)
            except subprocess.TimeoutExpired:
                for child in children:
                    _kill_if_there(child)
                self.process.kill()
                self.process.wait()
        self._reader.join(END_LIMIT)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _read(self) -> None:
        """Finds the port, and keeps the pipe from filling up."""
        output: IO[bytes] | None = self.process.stdout
        assert output is not None
        for line in output:
            self._last_lines.append(line)
            found = PORT.search(line.strip())
            if found and not self.port:
                self.port = int(found[1] or found[2])
                self._told.set()
        self._told.set()


def _kill_if_there(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        pass  # it has just ended, which is what was wanted


@contextmanager
def running(argv: Sequence[str]) -> Iterator[Running]:
    """Runs a server in its own environment until it has told its port; ends it afterwards.

    Raises:
        Unmeasured: it did not come up.
    """
    with scratch_environment() as env:
        server = Running(argv, env)
        try:
            server.wait_for_port()
            yield server
        finally:
            server.end()


class Lineup:
    """Servers that stand side by side while the load goes from one to the other.

    So that rounds can be short and many. A server that has nothing to do takes no CPU from the one
    that is measured. Each is started when it is first wanted, and all are ended together.

    Example::

        with Lineup() as servers:
            servers.get(python("gevent_echo.py")).port
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._servers: dict[tuple[str, ...], Running] = {}

    def __enter__(self) -> Lineup:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def get(self, argv: Sequence[str]) -> Running:
        """The server that this command starts.

        Raises:
            Unmeasured: it does not come up.
        """
        key = tuple(argv)
        if key not in self._servers:
            self._servers[key] = self._stack.enter_context(running(argv))
        return self._servers[key]


def python(script: str, *arguments: str) -> list[str]:
    """The command that runs a script of `servers/` with this interpreter."""
    return [sys.executable, str(SERVERS / script), *arguments]


def ginkgo(name: str) -> list[str]:
    """The command that runs a class of `servers/` with Ginkgo."""
    return [console_script("ginkgo"), target(name)]


def target(name: str) -> str:
    """A class of `servers/`, `ginkgo_servers.Echo` for example, as the command line names it."""
    return f"{SERVERS.parent.name}.{SERVERS.name}.{name}"


def console_script(name: str) -> str:
    """The path of a command that is installed beside this interpreter.

    Raises:
        Unmeasured: it is not.
    """
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise Unmeasured(f"{name} is not installed beside {sys.executable}: run `make bench`")
    return str(path)


def figures_of(script: str, *arguments: str, core: int | None = None) -> Figures:
    """Runs a script of `scripts/`; its last line is JSON with figures.

    Args:
        core: where it runs, instead of the servers' core.

    Raises:
        Unmeasured: it failed; with the last line that it wrote.
    """
    with scratch_environment() as env, on_core(cores()[0] if core is None else core):
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / script), *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=SCRIPT_LIMIT,
            check=False,
        )
    if done.returncode != 0:
        raise Unmeasured(_last_line(done.stderr) or f"{script}: status {done.returncode}")
    figures: dict[str, float] = json.loads(_last_line(done.stdout))
    return figures


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def memory_kib(pid: int) -> float:
    """The proportional set size of a process, in KiB (proc_pid_smaps(5)).

    PSS counts a page that several processes share once, so that forked workers are not counted
    twice.
    """
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return float(line.split()[1])
    raise Unmeasured("this kernel does not tell the PSS of a process")


def seconds_of(argv: Sequence[str], env: dict[str, str]) -> float:
    """How long a command takes from its start to its end, on the servers' core.

    Raises:
        Unmeasured: it fails; with the last line that it wrote.
    """
    with tempfile.TemporaryFile("w+") as output, on_core(cores()[0]):
        began = time.perf_counter()
        process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=output, stderr=output)
        await_end(process, COMMAND_LIMIT)
        took = time.perf_counter() - began
        output.seek(0)
        wrote = _last_line(output.read())
    if process.returncode != 0:
        raise Unmeasured(f"status {process.returncode}: {wrote}")
    return took


def await_end(process: subprocess.Popen[bytes], limit: float) -> None:
    """Wait for the end of a process, without the 50 ms at which Popen.wait(timeout) looks.

    A process that does not end within `limit` seconds is killed.

    Raises:
        Unmeasured: it had to be killed.
    """
    descriptor = os.pidfd_open(process.pid)
    try:
        ended, _, _ = select.select([descriptor], [], [], limit)
    finally:
        os.close(descriptor)
    if not ended:
        process.kill()
    process.wait()
    if not ended:
        raise Unmeasured(f"{process.args!r} did not end within {limit:g} s")
