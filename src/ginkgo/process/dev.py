"""``ginkgo dev``: run a tree, and run it anew when what it has imported changes.

::

    the tree serves ──── app.py changed ────> a second process imports everything
        │                                          │            │
        │   <──── it cannot: told, waited for ─────┘            │ it can
        │                                                       v
        └──── SIGTERM, it stops in order ────────────────> it gets the sockets, and starts

What does not even import replaces nothing: the tree before it goes on serving. The listening
sockets stay open throughout, so that who connects meanwhile waits and is not refused. Each process
is a fresh interpreter; nothing of the application is ever imported here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .dev_channel import DEV_FD, Channel
from .dev_files import Stamp, Watcher, below, stamp, stamps
from .dev_sockets import Kept

GRACE = 5.0
"""Seconds that a tree has to stop in; what is under way then is cut off."""

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass
class Child:
    """A process that runs the tree, or is about to.

    Attributes:
        began: when it was told to go on, or was started.
        loaded: it has imported everything.
        going: it was told to start the tree.
        ending: when its time is over; None as long as nobody has told it to end.
        killed: its time was over.
        asked: it was asked for its files, and has not answered.
        hopeless: it was the first, and what was named is nowhere: no change of a file mends that.
    """

    process: subprocess.Popen[bytes]
    channel: Channel
    began: float = field(default_factory=time.monotonic)
    loaded: bool = False
    going: bool = False
    ending: float | None = None
    killed: bool = False
    asked: bool = False
    hopeless: bool = False

    def end(self) -> None:
        """Tell it to stop in order; where there is no tree to stop yet, end it."""
        if not self.going:
            self.process.kill()
        elif self.ending is None:
            self.ending = time.monotonic() + GRACE
            self.process.terminate()


class Developing:
    """One ``ginkgo dev``.

    Args:
        command: what runs the tree in the foreground.
        files: the target's config file, where it is one.
        extra: more files and folders that it depends on, templates for example.
        say: prints a line.

    Raises:
        Unavailable: watchfiles is not installed.
    """

    def __init__(
        self,
        command: Sequence[str],
        files: Sequence[str],
        extra: Sequence[str],
        say: Callable[[str], object],
    ) -> None:
        self._command = list(command)
        self._config = [os.path.abspath(path) for path in files]
        self._extra = [os.path.abspath(path) for path in extra]
        self._tops = [os.getcwd(), *(os.path.dirname(path) for path in self._config)]
        self._say = say
        self._status: int | None = None
        self._interrupts = 0
        self._signals: list[int] = []
        self._serving: Child | None = None
        self._next: Child | None = None
        self._leaving: list[Child] = []
        self._files: set[str] = set()
        self._broken = True
        self._stamps: dict[str, Stamp | None] = {}
        self._kept: dict[str, Kept] = {}
        self._paths: dict[str, tuple[int, int]] = {}
        self._selector = selectors.DefaultSelector()
        self._awake, self._waker = socket.socketpair()
        self._changed = False
        self._watcher = Watcher(self._wake, say)

    def run(self) -> int:
        """Run it until it is told to end, or ends by itself in order. Returns the exit status."""
        for end in (self._awake, self._waker):
            end.setblocking(False)
        self._selector.register(self._awake, selectors.EVENT_READ, self._woken)
        former = {number: signal.signal(number, self._signal) for number in _STOP}
        former[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        wakeup = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            self._load()
            while self._status is None or self._children():
                for key, _ in self._selector.select(self._patience()):
                    key.data()
                self._look_after()
            return self._status
        finally:
            self._close()
            signal.set_wakeup_fd(wakeup)
            for number, handler in former.items():
                signal.signal(number, handler)
            self._selector.close()
            self._awake.close()
            self._waker.close()

    # -- waiting ---------------------------------------------------------------------------------

    def _signal(self, number: int, frame: object) -> None:
        self._signals.append(number)

    def _wake(self) -> None:
        """Called by the watcher, in its thread."""
        self._changed = True
        with contextlib.suppress(BlockingIOError):  # full: it is going to wake up
            self._waker.send(b"\0")

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._awake.recv(4096)

    def _children(self) -> list[Child]:
        return [each for each in (self._serving, self._next, *self._leaving) if each is not None]

    def _patience(self) -> float | None:
        ends = [each.ending for each in self._children() if each.ending and not each.killed]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _look_after(self) -> None:
        while self._signals:
            self._told_to_stop(self._signals.pop(0))
        for child in self._children():
            if child.process.poll() is not None:
                self._ended(child)
            elif child.ending and not child.killed and child.ending <= time.monotonic():
                self._say(f"it did not stop within {GRACE:g} s: killed")
                child.killed = True
                child.process.kill()
        if self._changed and self._status is None:
            self._changed = False
            self._look_for_changes(ask=True)
        if self._next is not None and self._next.loaded and self._status is None:
            if self._serving is None:
                self._go(self._next)
            else:
                self._serving.end()

    def _told_to_stop(self, number: int) -> None:
        self._status = 0 if self._status is None else self._status
        self._interrupts += number == signal.SIGINT
        for child in self._children():
            child.end()
            if self._interrupts > 1:
                self._status = 128 + number
                child.process.kill()

    # -- processes -------------------------------------------------------------------------------

    def _load(self) -> None:
        """Start a process that imports everything."""
        self._look_around()
        ours, childs = socket.socketpair()
        with childs:
            process = subprocess.Popen(
                self._command,
                env={**os.environ, DEV_FD: str(childs.fileno())},
                pass_fds=(childs.fileno(),),
            )
        self._next = child = Child(process, Channel(ours))
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(child))

    def _go(self, child: Child) -> None:
        """Have it start the tree: the one before it has ended."""
        kept = list(self._kept.values())
        names = [(each.id, each.address, each.kind) for each in kept]
        child.channel.send("go", [each.fd for each in kept], sockets=names)
        child.going = True
        self._serving, self._next = child, None

    def _ended(self, child: Child) -> None:
        while child.channel.socket.fileno() >= 0 and self._hear(child):
            pass  # its last words
        self._hang_up(child)
        if child in self._leaving:
            self._leaving.remove(child)
            return
        if child is self._next:
            self._next = None
            if child.hopeless and self._status is None:
                self._status = child.process.returncode
                return
            stays = self._serving is not None and self._serving.ending is None
            which = " The one before goes on serving." if stays else ""
            self._wait_for_mending(f"it cannot be loaded.{which}")
            return
        self._serving = None
        status = child.process.returncode
        if child.ending is not None or self._status is not None:
            return
        if status == 0 and self._next is None:
            self._status = 0  # it was stopped by `ginkgoctl`, or has done what it was for
        elif self._next is None:
            how = f"status {status}" if status > 0 else f"signal {-status}"
            self._wait_for_mending(f"it ended with {how}.")

    def _wait_for_mending(self, what: str) -> None:
        if self._status is not None:
            return
        self._broken = True
        # What it wrote itself before it failed is no reason to try again.
        _, files = below(self._tops)
        self._stamps.update(stamps(files - self._files))
        self._say(f"{what} Waiting for a change.")

    def _hang_up(self, child: Child) -> None:
        if child.channel.socket.fileno() >= 0:
            self._selector.unregister(child.channel.socket)
            child.channel.close()

    def _hear(self, child: Child) -> bool:
        """Take what a child says; False: it says no more."""
        try:
            for message, fds in child.channel.receive():
                self._take(child, message, fds)
        except EOFError:
            self._hang_up(child)
            return False
        return True

    def _take(self, child: Child, message: dict[str, Any], fds: list[int]) -> None:
        match message["kind"]:
            case "loaded":
                child.loaded = True
                self._broken = False
                self._files = set()
                self._know(message["files"])
            case "failed":
                child.hopeless = message["hopeless"] and not self._files
                self._know(message["files"])
            case "files":
                child.asked = False
                self._know(message["files"])
                self._look_for_changes(ask=False)
            case "socket":
                (fd,) = fds
                name, address = message["id"], message["address"]
                self._kept[name] = Kept(name, address, message["socket_kind"], fd)
                self._remember_path(address)
            case "drop":
                self._drop(message["id"])
                child.channel.send("dropped")
            case "ready":
                for name in message["unused"]:
                    self._drop(name)
                self._know(message["files"])
                self._ready(child, message["page"])

    def _ready(self, child: Child, page: str | None) -> None:
        took = time.monotonic() - child.began
        shown = f"; its page is {page}" if page else ""
        self._say(f"ready in {took:.1f} s{shown}")

    # -- sockets ---------------------------------------------------------------------------------

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is None:
            return
        os.close(kept.fd)
        path = kept.address.removeprefix("unix:")
        if path in self._paths and kept.address not in [x.address for x in self._kept.values()]:
            mine = self._paths.pop(path)
            with contextlib.suppress(OSError):  # another's by now, or gone
                found = os.lstat(path)
                if (found.st_dev, found.st_ino) == mine:
                    os.unlink(path)

    def _remember_path(self, address: str) -> None:
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                self._paths[path] = (found.st_dev, found.st_ino)

    # -- files -----------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Note how everything is before it is imported, and watch it."""
        folders, files = below([*self._tops, *self._extra])
        known = self._files | files | set(self._config) | self._extras()
        self._stamps = stamps(known)
        self._watcher.watch(folders | {os.path.dirname(path) for path in known})
        self._broken = self._broken and self._serving is None

    def _know(self, files: Sequence[str]) -> None:
        """These have been imported."""
        new = set(files) - self._files
        self._files |= new
        for path in new:
            self._stamps.setdefault(path, stamp(path))
        if new:
            folders, _ = below([*self._tops, *self._extra])
            self._watcher.watch(folders | {os.path.dirname(path) for path in self._files})

    def _extras(self) -> set[str]:
        found = set()
        for top in self._extra:
            if os.path.isfile(top):
                found.add(top)
            for folder, inner, names in os.walk(top):
                inner[:] = [name for name in inner if not name.startswith(".")]
                found.update(os.path.join(folder, name) for name in names)
        return found

    def _look_for_changes(self, *, ask: bool) -> None:
        relevant = self._files | set(self._config) | self._extras()
        if self._broken:
            relevant |= below(self._tops)[1]
        changed = sorted(path for path in relevant if stamp(path) != self._stamps.get(path))
        if changed:
            self._again(changed)
        elif ask and not self._broken and self._serving is not None and not self._serving.asked:
            self._serving.asked = self._serving.channel.send("files?")

    def _again(self, changed: Sequence[str]) -> None:
        """Something has changed: load it anew."""
        names = [os.path.relpath(path) for path in changed[:3]]
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        self._say(f"{', '.join(names)}{more} changed")
        for path in changed:
            _forget_bytecode(path)
        if self._next is not None:
            self._next.end()
            self._leaving.append(self._next)
            self._next = None
        self._load()

    def _close(self) -> None:
        self._watcher.close()
        for child in self._children():
            child.process.kill()
            child.process.wait()
            self._hang_up(child)
        for name in list(self._kept):
            self._drop(name)


def _forget_bytecode(path: str) -> None:
    """Remove what was compiled of a source: it is known by the second in which that was written.

    Source: PEP 552, timestamp-based pycs.
    """
    with contextlib.suppress(OSError, NotImplementedError, ValueError):
        os.unlink(importlib.util.cache_from_source(path))
