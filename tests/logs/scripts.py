"""Programs of a few lines that log, run as processes of their own, and what they have logged."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE = 20.0  # seconds, for what takes a fraction of one on a quiet machine

PATCH = "from gevent import monkey; monkey.patch_all()\n"

PRELUDE = """
import codecs, encodings.idna, logging, os, pwd, sys, time
from ginkgo.core.errors import GinkgoError
from ginkgo.logs import build, files, format, opening, setup, stdio, tail, terminal
from ginkgo.logs.files import LogFile
from ginkgo.logs.terminal import BrokenPipe

def become_nobody():
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)

"""


def command(code: str, *args: object, patched: bool = False) -> list[str]:
    """The command that runs `code` with the logs imported, and `args` in sys.argv[1:]."""
    program = (PATCH if patched else "") + PRELUDE + textwrap.dedent(code)
    # -X dev: an unclosed file is told on stderr, where run() sees it.
    return [sys.executable, "-X", "dev", "-c", program, *map(str, args)]


def environment(**more: str) -> dict[str, str]:
    """The environment without what would buffer or unbuffer a program's output."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "LC_"))}
    return env | {"PYTHONDONTWRITEBYTECODE": "1"} | more


@contextmanager
def start(
    code: str, *args: object, patched: bool = False, **more: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `code` with pipes for stdin, stdout and stderr, unless `more` says otherwise."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options: Any = {"env": environment(), **pipes, **more}
    child: subprocess.Popen[bytes]
    child = subprocess.Popen(command(code, *args, patched=patched), **options)
    try:
        yield child
    finally:
        child.kill()  # if it still runs, the test has failed
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        child.wait()


def run(
    code: str, *args: object, patched: bool = False, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run `code` to its end, which must be a good one."""
    done = subprocess.run(
        command(code, *args, patched=patched),
        env=environment(**env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
        errors="surrogateescape",
    )
    assert done.returncode == 0, done.stderr
    return done


def lines(path: Path | str) -> list[str]:
    return Path(path).read_text().splitlines()


def messages(path: Path | str) -> list[str]:
    return [line.rpartition(": ")[2] for line in lines(path)]


def dict_config(path: str, **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "formatters": {"short": {"format": "%(levelname)s %(message)s"}},
        "filters": {"app": {"name": "app"}},
        "handlers": {
            "file": {
                "class": "logging.FileHandler",
                "filename": path,
                "formatter": "short",
                "filters": ["app"],
            },
            # before its target, by name: it has to wait
            "alarm": {"class": "logging.handlers.MemoryHandler", "capacity": 1, "target": "file"},
        },
        "loggers": {"app.db": {"level": "debug", "propagate": True}},
        "root": {"level": "INFO", "handlers": ["file"]},
        **more,
    }
