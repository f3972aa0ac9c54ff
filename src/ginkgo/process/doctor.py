"""What a bug report should tell, and what is wrong with the place that Ginkgo runs in.

No application is imported, and nothing is changed. Of the environment, values are told only of
variables that are known to hold no secret.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import locale
import os
import platform
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable
from typing import Any

from .. import __version__
from ..core.errors import GinkgoError
from .instances import instances
from .places import runtime_folder

TOLD = (
    *("XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"),
    *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "KUBERNETES_SERVICE_HOST", "VIRTUAL_ENV"),
    *("LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "NO_COLOR", "PYTHONPATH", "PYTHONHOME"),
    *("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE"),
    *("PYTHONOPTIMIZE", "PYTHONSAFEPATH", "PYTHONUTF8", "PYTHON_GIL", "PYTHONTRACEMALLOC"),
)
"""Environment variables that are told with their values."""

NAMED = ("GINKGO_", "GEVENT", "PYTHON", "UVICORN_", "OTEL_")
"""Beginnings of those of which only the name is told: settings may be secrets."""

LIMITS = {
    "open files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "address space": resource.RLIMIT_AS,
    "core file": resource.RLIMIT_CORE,
}

KERNEL = {
    "queue of connections": "/proc/sys/net/core/somaxconn",
    "inotify instances": "/proc/sys/fs/inotify/max_user_instances",
    "inotify watches": "/proc/sys/fs/inotify/max_user_watches",
    "memory of the container": "/sys/fs/cgroup/memory.max",
    "CPU of the container": "/sys/fs/cgroup/cpu.max",
}

FEW_FILES = 1024


def examine() -> dict[str, Any]:
    """Look at everything.

    Returns:
        JSON-able data; `problems` has what is wrong, each with `what` and `do`.
    """
    problems: list[dict[str, str]] = []
    return {
        "schema": "ginkgo.doctor/1",
        "ginkgo": {"version": __version__, "from": _home(), "command": _command(problems)},
        "python": _python(),
        "platform": _platform(problems),
        "packages": _packages(problems),
        "gevent": _gevent(problems),
        "runtime": _runtime(problems),
        "limits": _limits(problems),
        "environment": _environment(),
        "places": _places(problems),
        "problems": problems,
    }


def _home() -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _command(problems: list[dict[str, str]]) -> str | None:
    """The command that a shell would find; another environment's is a common surprise."""
    found = shutil.which("ginkgo")
    ours = os.path.join(os.path.dirname(sys.executable), "ginkgo")
    if found and os.path.exists(ours) and not os.path.samefile(found, ours):
        _add(
            problems,
            f"the command ginkgo is {found}, and this Python's is {ours}",
            "put the folder of the one that is wanted first in PATH",
        )
    return found


def _python() -> dict[str, Any]:
    gil = getattr(sys, "_is_gil_enabled", None)
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "virtual_environment": sys.prefix != sys.base_prefix,
        "gil": True if gil is None else gil(),
    }


def _platform(problems: list[dict[str, str]]) -> dict[str, Any]:
    try:
        os.close(os.pidfd_open(os.getpid()))
        pidfd = True
    except (AttributeError, OSError):
        pidfd = False
        _add(
            problems,
            "the kernel has no pidfd_open (Linux 5.3 and later): it may be a sandbox's",
            "allow the system call; without it a pid that is used again can be taken for another",
        )
    encoding = locale.getencoding()
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "cpus": len(os.sched_getaffinity(0)),
        "systemd": os.path.isdir("/run/systemd/system"),
        "container": os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"),
        "uid": os.geteuid(),
        "encoding": encoding,
        "pidfd": pidfd,
    }


def _packages(problems: list[dict[str, str]]) -> dict[str, str | None]:
    """The versions of what Ginkgo needs and of what its extras bring; None: not installed."""
    found: dict[str, str | None] = {}
    for text in (*_requirements(problems), "greenlet"):
        requirement, _, marker = text.partition(";")
        match = re.match(r"[A-Za-z0-9._-]+", requirement)
        if match is None or match.group() in found or match.group() == "ginkgo":
            continue
        name = match.group()
        found[name] = _version(name)
        if found[name] is None and "extra" not in marker:
            _add(problems, f"{name} is not installed", f"pip install {name}")
    return found


def _requirements(problems: list[dict[str, str]]) -> Iterable[str]:
    try:
        return importlib.metadata.requires("ginkgo") or ()
    except importlib.metadata.PackageNotFoundError:
        _add(
            problems,
            "ginkgo is imported from a folder, and is not installed",
            "pip install -e . in that folder",
        )
        return ("gevent", "msgspec", "psutil", "h11")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gevent(problems: list[dict[str, str]]) -> dict[str, Any]:
    try:
        import gevent

        version = importlib.import_module("gevent.core").get_version()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        _add(
            problems,
            f"gevent cannot be imported: {type(error).__name__}: {error}",
            'pip install --force-reinstall gevent greenlet; or `backend = "asyncio"`',
        )
        return {"loop": None, "backend": None}
    loop = gevent.get_hub().loop
    return {"loop": version, "backend": getattr(loop, "backend", None)}


def _runtime(problems: list[dict[str, str]]) -> dict[str, Any]:
    try:
        folder: str | None = runtime_folder("NAME")
    except GinkgoError as error:
        folder = None
        _add(problems, str(error), error.hint or "")
    told = []
    for found in instances():
        if os.geteuid() not in (0, found.owner) or (found.state == "stopped" and not found.stale):
            continue
        record = found.record
        name = os.path.basename(found.folder or "") if record is None else record.name
        state = "crashed" if found.state == "stopped" else found.state
        told.append({"name": name, "state": state, "pid": found.pid, "folder": found.folder})
        if found.state == "held":
            _add(
                problems,
                f"the lock of {name} is held by a process that is not its own: {found.reason}",
                f"ginkgoctl {name} status says which",
            )
        elif found.state == "stopped":
            _add(
                problems,
                f"{name} has ended without taking its files away: it was killed, or crashed",
                "its log tells more, or the kernel's (dmesg); its next start clears up",
            )
    return {"folder": folder, "instances": told}


def _limits(problems: list[dict[str, str]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, number in LIMITS.items():
        soft, hard = resource.getrlimit(number)
        told[name] = {"soft": _limit(soft), "hard": _limit(hard)}
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        _add(
            problems,
            f"a process may have {soft} files open: as many connections at most",
            "ulimit -n 65536, or LimitNOFILE=65536 in the unit",
        )
    for name, path in KERNEL.items():
        told[name] = _line_of(path)
    return told


def _limit(value: int) -> int | None:
    return None if value == resource.RLIM_INFINITY else value


def _line_of(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except (OSError, ValueError):
        return None


def _environment() -> dict[str, Any]:
    names = sorted(name for name in os.environ if name.startswith(NAMED) and name not in TOLD)
    told = {name: os.environ[name] for name in TOLD if name in os.environ}
    return {"values": told, "names": names}


def _places(problems: list[dict[str, str]]) -> dict[str, Any]:
    """Where something can be written: the current folder, home, and for temporary files."""
    told: dict[str, Any] = {}
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = None
        _add(problems, "the current folder has been deleted", "cd to one that is there")
    home = os.path.expanduser("~")
    try:
        temporary: str | None = tempfile.gettempdir()
    except FileNotFoundError:
        temporary = None
        _add(problems, "no temporary file can be written anywhere", "set TMPDIR to a folder")
    for name, path in (("here", here), ("home", home), ("temporary", temporary)):
        writable = path is not None and os.access(path, os.W_OK | os.X_OK)
        told[name] = {"path": path, "writable": writable}
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and not (os.path.isdir(session) and os.access(session, os.W_OK | os.X_OK)):
        _add(
            problems,
            f"XDG_RUNTIME_DIR is {session}, and that is no folder that can be written",
            "unset it, or have it name a folder of mode 0700 that belongs to this user",
        )
    return told


def _add(problems: list[dict[str, str]], what: str, do: str) -> None:
    problems.append({"what": what, "do": do})
