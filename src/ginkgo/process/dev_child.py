"""``ginkgo dev``, in the process that runs the tree.

It imports everything while the one before it still serves, and goes on when that one has ended. A
thread of its own hears what the parent asks, and notices the parent's end.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from ..async_ import native
from ..servers import listen
from .dev_channel import DEV_FD, Channel
from .dev_files import blamed, imported
from .dev_sockets import Kept, Sockets
from .running import Running
from .target import NoSuchModule

_FAREWELL = 5.0  # seconds to stop in order in, when the parent is gone


class Inside:
    """This process, as ``ginkgo dev`` sees it.

    Args:
        fd: the channel to it.

    Attributes:
        page: the URL of the control plane's page, where it has one.
    """

    def __init__(self, fd: int) -> None:
        end = native.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=fd)
        end.setblocking(True)
        self.page: str | None = None
        self._channel = Channel(end)
        self._sockets: Sockets | None = None
        self._go = native.lock()
        self._go.acquire()
        native.start_thread(self._hear, name="ginkgo-dev")

    @classmethod
    def inherited(cls) -> Inside:
        """This end of the channel, in a process that ``ginkgo dev`` has started.

        Its number is taken out of the environment: processes that are started here have none.
        """
        fd = int(os.environ.pop(DEV_FD))
        os.set_inheritable(fd, False)
        return cls(fd)

    def companion(self) -> Callable[[Running], Beside]:
        """Everything is imported: wait until the process before this one has ended."""
        self._channel.send("loaded", files=imported())
        self._go.acquire()
        listen.keeper = self._sockets
        return self._attach

    def failed(self, error: BaseException) -> None:
        """It comes to nothing: say which files it may be because of."""
        hopeless = isinstance(error, NoSuchModule)
        self._channel.send("failed", files=[*imported(), *blamed(error)], hopeless=hopeless)

    def _attach(self, running: Running) -> Beside:
        def changed(state: str) -> None:
            if state == "ready" and self._sockets is not None:
                unused = self._sockets.drop_unused()
                self._channel.send("ready", files=imported(), unused=unused, page=self.page)

        running.on_state(changed)
        return Beside()

    def _hear(self) -> None:
        try:
            while True:
                for message, fds in self._channel.receive():
                    self._follow(message, fds)
        except EOFError:
            os.kill(os.getpid(), signal.SIGTERM)
            native.sleep(_FAREWELL)
            os.kill(os.getpid(), signal.SIGKILL)

    def _follow(self, message: dict[str, Any], fds: list[int]) -> None:
        match message["kind"]:
            case "go":
                given = zip(message["sockets"], fds, strict=True)
                kept = [Kept(name, address, kind, fd) for (name, address, kind), fd in given]
                self._sockets = Sockets(self._channel, kept)
                self._go.release()
            case "files?":
                self._channel.send("files", files=imported())
            case "dropped" if self._sockets is not None:
                self._sockets.dropped()


class Beside:
    """What the runner closes at the end: nothing; the channel's end is the process's."""

    def close(self) -> None:
        """The tree has stopped."""

    def withdraw(self) -> None:
        """The process ends at once."""
