"""Does what a page tells its reader to do, and looks whether it comes out as the page shows.

- A block with a name is saved under it, in a folder of the page's own.
- A Python block without a name is run, as a script or, where it has prompts, as a doctest.
- A console block is run line by line, by a shell: what follows ``$`` is a command, the rest is
  what it prints. ``...`` stands for anything, in a line or as lines; times, pids, versions,
  durations, the width of columns and the numbers in instances' names may differ. A command has to
  end, and with status 0 unless ``$ echo $?`` shows another one.
- A command whose output ends in ``...`` goes on, as a server does; ``^C`` interrupts it. What is
  still running when its section of the page is over is interrupted then. Output without a command
  above it is what the first of those prints next.

Ports from 7000 to 7099 and from 8000 to 8099 are others in truth, so that pages can be played side
by side, and a folder in ``/srv`` is the page's own.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tests.docs import standins
from tests.docs.pages import ROOT, Block
from tests.workshop import Program, Workshop

# What a page shows that is different every time: in the escaped text -> in the regular expression.
_VARYING = (
    (re.compile(r"\d{4}\\-\d\d\\-\d\d\\ \d\d:\d\d:\d\d,\d{3}"), r"[\\d-]{10} [\\d:,]{12}"),
    (re.compile(r"\d{4}\\-\d\d\\-\d\d\\ \d\d:\d\d:\d\d"), r"[\\d-]{10} [\\d:]{8}"),
    (re.compile(r"\b\d+(?:\\\.\d+)?(\\ (?:%|MiB))"), r"[\\d.]+\1"),
    (re.compile(r"\d{4}\\-\d\d\\-\d\dT\d\d:\d\d:\d\d(?:\\.\d+)?Z"), r"[\\dT:.-]+Z"),
    (re.compile(r"(?:\\ ){2,}"), r" +"),
    (re.compile(r"(\bpid|\\-p)(\\ | \+)\d+"), r"\1\2\\d+"),
    (re.compile(r"\\-[0-9a-f]{8}\b"), r"-[0-9a-f]{8}"),
    (re.compile(r"\bginkgo\\ \d[\w\\.]+"), r"ginkgo [\\w.]+"),
    (re.compile(r'"pid":\\ \d+'), r'"pid": \\d+'),
    (re.compile(r"\b\d+\\\.\d+((?:\\ )?m?s)\b"), r"\\d+(?:\\.\\d+)?\1"),
)
PATIENCE = 30.0  # seconds, for what takes three at most on a quiet machine
_TARGET = re.compile(r"(?:^|\s)ginkgo\s.*?(\S+)$")
_PORT = re.compile(r"\b[78]0\d\d\b")
_FOLDER = re.compile(r"/srv/\w+")


@dataclass(slots=True)
class Step:
    """One command of a console block, or None for the one that is running, and what it prints."""

    command: str | None
    expected: list[str] = field(default_factory=list)
    interrupted: bool = False
    after: list[str] = field(default_factory=list)
    status_is_shown: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it is still running when the reader goes on."""
        return not self.interrupted and self.expected[-1:] == ["..."]


def steps(text: str) -> Iterator[Step]:
    """The steps of a console block."""
    step: Step | None = None
    for line in text.rstrip("\n").split("\n"):
        if line.startswith("$ "):
            if step is not None:
                step.status_is_shown = line == "$ echo $?"
                yield step
            step = Step(line[2:])
            continue
        step = step or Step(None)
        if line == "^C":
            step.interrupted = True
        elif step.command is not None and step.command.endswith("\\"):
            step.command += f"\n{line.removeprefix('> ')}"
        else:
            (step.after if step.interrupted else step.expected).append(line)
    if step is not None:
        yield step


def as_pattern(expected: list[str], whole: bool) -> re.Pattern[str]:
    """The regular expression for lines as a page shows them.

    Args:
        whole: whether nothing may follow.
    """
    parts = []
    for line in expected:
        if line == "...":
            parts.append(r"(?:[^\n]*\n)*?")
            continue
        pattern = r"[^\n]*?".join(re.escape(part) for part in line.rstrip().split("..."))
        for varying, replacement in _VARYING:
            pattern = varying.sub(replacement, pattern)
        parts.append(pattern + r"[ \t]*\n")
    return re.compile("".join(parts) + (r"\Z" if whole else ""))


@dataclass(slots=True)
class Running:
    """A command that goes on, and how many of its lines were seen."""

    command: str
    program: Program
    seen: int = 0

    def shows(self, expected: list[str]) -> None:
        """Wait for these lines, which come next."""
        pattern = as_pattern(expected, whole=False)
        deadline = time.monotonic() + PATIENCE
        while True:
            lines = self.program.lines[self.seen :]
            text = "".join(f"{line}\n" for line in lines)
            if match := pattern.match(text):
                self.seen += match.group().count("\n")
                return
            try:
                left = max(0.0, deadline - time.monotonic())
                self.program.wait_for("", count=self.seen + len(lines) + 1, timeout=left)
            except AssertionError:
                raise _unlike(self.command, expected, text) from None

    def interrupt(self) -> int:
        """Ctrl+C, as a terminal sends it: to the whole group. Returns the exit status."""
        os.killpg(self.program.pid, signal.SIGINT)
        return self.program.ends(PATIENCE)


def _unlike(command: str, expected: list[str], output: str) -> AssertionError:
    shown = "\n".join(expected)
    return AssertionError(f"$ {command}\nthe page shows:\n{shown}\nit printed:\n{output}")


class Session:
    """A reader at work.

    Args:
        place: the folder to work in; it is the page's own.
        page: the page, for messages.
        root: what its name in them is relative to.
    """

    def __init__(self, place: Workshop, page: Path, root: Path = ROOT) -> None:
        self.place = place
        self.page = page.relative_to(root)
        self.running: list[Running] = []
        self.status = 0
        self._ports: dict[str, str] = {}
        tools = place.folder / ".tools"
        standins.install(tools)
        place.env["PATH"] = f"{tools}{os.pathsep}{place.env['PATH']}"
        place.env["COLUMNS"] = "88"

    def play(self, blocks: list[Block]) -> None:
        """Do everything that the page says."""
        for _, section in groupby(blocks, key=lambda block: block.section):
            for block in section:
                try:
                    self.do(block)
                except AssertionError as error:
                    raise AssertionError(f"{self.page}:{block.line}: {error}") from None
            while self.running:
                self._end(self.running.pop())

    def do(self, block: Block) -> None:
        """Do what one block says."""
        text = self._as_here(block.text)
        if block.kind == "console":
            self.console(text)
        elif block.name is not None:
            path = self.place.folder / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif block.kind == "python":
            self.python(text)

    def python(self, text: str) -> None:
        """Run a block as a script, or as a doctest where it has prompts."""
        prompts = text.lstrip().startswith(">>> ")
        script = self.place.folder / (".block.txt" if prompts else ".block.py")
        script.write_text(text)
        self._to_its_end([sys.executable, *(["-m", "doctest"] if prompts else []), str(script)])

    def console(self, text: str) -> None:
        """Run the commands of a block."""
        for step in steps(text):
            if step.command is None:
                assert self.running, "no command is running whose output this could be"
                self.running[0].shows(step.expected)
                if step.interrupted:
                    self._interrupt(self.running.pop(0), step)
            elif step.goes_on or step.interrupted:
                self._begin(step)
            else:
                self._run(step)

    def _begin(self, step: Step) -> None:
        assert step.command is not None
        command, env = step.command, {}
        if command.startswith("python3 "):
            env = {"PYTHONUNBUFFERED": "1"}  # as on a terminal
        elif command == "make quickstart":
            command = f"make --no-print-directory -C '{ROOT}' -o .venv/run quickstart"
            env = {"GINKGO_PORT": self._port("7000"), "GINKGO_WEB_PORT": self._port("8000")}
        program = self.place.begin("bash", "-c", command, start_new_session=True, env=env)
        running = Running(step.command, program)
        self.running.append(running)
        running.shows(step.expected)
        if step.interrupted:
            self._interrupt(self.running.pop(), step)
        elif target := _TARGET.search(command):
            # A reader takes longer to go to the next terminal than a service to be ready.
            self._to_its_end(["ginkgoctl", target.group(1), "wait"])

    def _interrupt(self, running: Running, step: Step) -> None:
        self.status = running.interrupt()
        if step.after:
            running.shows(["...", *step.after])
            rest = running.program.lines[running.seen :]
            assert not rest or step.after[-1] == "...", f"and then it printed {rest}"
        if not step.status_is_shown:
            self._check_end(running)

    def _end(self, running: Running) -> None:
        self.status = running.interrupt()
        self._check_end(running)

    def _check_end(self, running: Running) -> None:
        if running.command.startswith("ginkgo "):
            assert self.status == 0, f"$ {running.command}\nends with status {self.status}"

    def _run(self, step: Step) -> None:
        assert step.command is not None
        command = self._as_run(step.command)
        output = self._to_its_end(["bash", "-c", command], may_fail=step.status_is_shown)
        if step.command.startswith("make "):
            values = re.findall(r"\w+=\"(.*?)\"", step.command)
            assert all(value in output for value in values), _unlike(command, values, output)
        elif step.expected:
            pattern = as_pattern(step.expected, whole=True)
            if not pattern.match("".join(f"{line}\n" for line in output.split("\n"))):
                raise _unlike(step.command, step.expected, output)

    def _to_its_end(self, command: list[str], may_fail: bool = False) -> str:
        """Run a command, and return what it printed on stdout and stderr."""
        program = self.place.begin(*command)
        self.status = program.ends(PATIENCE)
        if not may_fail:
            assert self.status == 0, f"{command[-1]}\nstatus {self.status}:\n{program.output}"
        return program.output

    def _as_run(self, command: str) -> str:
        """The command, so that it can be run in a test: make would run the tests in the tests."""
        if command.startswith("make "):
            return command.replace("make ", f"make -n -C '{ROOT}' ", 1)
        if command.startswith("python3 -m venv "):
            return f"{command} --without-pip"  # ten seconds, and the pip of the page is a stand-in
        if "$?" in command:
            return f"(exit {self.status}); {command}"
        return command

    def _as_here(self, text: str) -> str:
        text = _FOLDER.sub(str(self.place.folder), text)
        return _PORT.sub(lambda match: self._port(match.group()), text)

    def _port(self, shown: str) -> str:
        if shown not in self._ports:
            self._ports[shown] = str(quiet_port())
        return self._ports[shown]


def quiet_port() -> int:
    """A free port that the kernel gives to nobody who asks for just any port (ip(7))."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
