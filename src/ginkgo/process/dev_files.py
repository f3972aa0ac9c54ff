"""Which files a program consists of, and when they change.

Those of the user's own that were really imported, not what is installed and not Python's. What
changes is told by watchfiles; whether it was one of them is seen by comparing.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator

from ..core.errors import Unavailable

Stamp = tuple[int, int, int]

_INSTALLED = ("site-packages", "dist-packages")
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PYTHONS = tuple(
    {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")} | {_OURS + os.sep}
)
_NOT_SOURCE = ("__pycache__", "node_modules")
_MOST_FOLDERS = 2000
_MOST_FILES = 20_000


def imported() -> list[str]:
    """The user's files among the modules that this process has imported, in no order."""
    found = set()
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and is_users(path):
            found.add(path)
    return list(found)


def blamed(error: BaseException | None) -> list[str]:
    """The user's files that an error comes from: what failed to be imported is no module."""
    found: set[str] = set()
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, SyntaxError) and error.filename:
            found.add(os.path.abspath(error.filename))
        frame = error.__traceback__
        while frame is not None:
            found.add(frame.tb_frame.f_code.co_filename)
            frame = frame.tb_next
        error = error.__cause__ or error.__context__
    return [path for path in found if is_users(path)]


def is_users(path: str) -> bool:
    """Whether a file is the user's own."""
    if not os.path.isabs(path) or path.startswith(_PYTHONS):
        return False
    return not any(part in _INSTALLED for part in path.split(os.sep))


def stamp(path: str) -> Stamp | None:
    """What changes when a file changes; None where it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def stamps(paths: Iterable[str]) -> dict[str, Stamp | None]:
    """The stamp of each of these files."""
    return {path: stamp(path) for path in paths}


def below(tops: Iterable[str]) -> tuple[set[str], set[str]]:
    """The folders and the Python files below some folders: where what is missing may come to be.

    Not those that are hidden, a virtual environment, or no place for sources.
    """
    folders: set[str] = set()
    files: set[str] = set()
    for top in tops:
        for folder, inner, names in os.walk(top):
            if "pyvenv.cfg" in names or folder in folders:
                inner.clear()
                continue
            if len(folders) >= _MOST_FOLDERS or len(files) >= _MOST_FILES:
                break
            inner[:] = [
                name for name in inner if not name.startswith(".") and name not in _NOT_SOURCE
            ]
            folders.add(folder)
            files.update(os.path.join(folder, name) for name in names if name.endswith(".py"))
    return folders, files


class Watcher:
    """Watches folders in a thread.

    Args:
        wake: called in the thread when something has changed, and now and then when nothing has:
            not every file system tells.
        say: prints a line.

    Raises:
        Unavailable: watchfiles is not installed.
    """

    _STEP = 50  # milliseconds of quiet after a change, before it is told: editors write in steps
    _MOST = 400  # milliseconds to wait for that quiet
    _TICK = 1000  # milliseconds after which it is looked all the same

    def __init__(self, wake: Callable[[], object], say: Callable[[str], object]) -> None:
        try:
            import watchfiles
        except ImportError as error:
            raise Unavailable(
                "ginkgo dev needs watchfiles, which is not installed",
                hint='pip install "ginkgo[dev]"',
            ) from error
        self._watch = watchfiles.watch
        self._wake = wake
        self._say = say
        self._folders: frozenset[str] = frozenset()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, folders: Iterable[str]) -> None:
        """Watch these folders, and not what is below them."""
        wanted = frozenset(folder for folder in folders if os.path.isdir(folder))
        if wanted == self._folders and self._thread is not None and self._thread.is_alive():
            return
        self.close()
        self._folders = wanted
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(wanted, self._stop), name="ginkgo-watch", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Watch no longer."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, folders: frozenset[str], stop: threading.Event) -> None:
        try:
            for _ in self._changes(folders, stop):
                self._wake()
        except (OSError, RuntimeError) as error:  # inotify(7)'s limits, a folder that is gone
            self._say(f"files are looked at once a second, as they cannot be watched: {error}")
            while not stop.wait(self._TICK / 1000):
                self._wake()

    def _changes(self, folders: frozenset[str], stop: threading.Event) -> Iterator[object]:
        return self._watch(
            *folders,
            watch_filter=None,
            debounce=self._MOST,
            step=self._STEP,
            stop_event=stop,
            rust_timeout=self._TICK,
            yield_on_timeout=True,
            recursive=False,
            raise_interrupt=False,
            ignore_permission_denied=True,
        )
