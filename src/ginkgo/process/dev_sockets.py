"""The listening sockets that stay open while ``ginkgo dev`` restarts what listens on them.

A socket is bound by the process that runs the tree, which sends a copy to its parent; the next
process gets it back when it asks for the same address. In between the kernel queues who connects:
nobody is refused. A server that was given port 0 keeps the port that it got.

A unix socket's file is the parent's to remove, at the end.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..async_ import native
from ..servers.addresses import Address
from ..servers.listen import Listener
from .dev_channel import Channel

_PATIENCE = 2.0  # seconds for the parent to close a socket, before the bind is tried all the same


@dataclass
class Kept:
    """A listening socket that stays open.

    Args:
        id: what it is called between the two processes.
        address: what was asked for, as text.
        kind: SOCK_STREAM or SOCK_DGRAM.
        fd: this process's own copy.
        used: what was made of it here; the copy of whoever listens.
    """

    id: str
    address: str
    kind: int
    fd: int
    used: socket.socket | None = None

    @property
    def in_use(self) -> bool:
        """Whether somebody listens on it in this process."""
        return self.used is not None and self.used.fileno() >= 0


class Sockets:
    """The child's side: gives servers what was kept, and has what they bind kept.

    Args:
        channel: to the parent.
        kept: what the parent has handed over.
    """

    def __init__(self, channel: Channel, kept: Iterable[Kept]) -> None:
        self._channel = channel
        self._kept = list(kept)
        self._numbers = itertools.count(1)
        self._dropped = native.lock()
        self._dropped.acquire()

    def take(self, address: Address, kind: int) -> socket.socket | None:
        """The kept socket for an address, if there is one that nobody uses."""
        free = [each for each in self._kept if each.kind == kind and not each.in_use]
        for kept in free:
            if kept.address == str(address):
                kept.used = socket.socket(fileno=os.dup(kept.fd))
                kept.used.setblocking(False)
                return kept.used
        for kept in free:
            if _in_the_way(kept.fd, address):
                self._drop(kept)
        return None

    def keep(self, address: Address, listener: Listener) -> None:
        """Have the parent keep what a server has bound."""
        bound = listener.socket
        name = f"{os.getpid()}-{next(self._numbers)}"
        kept = Kept(name, str(address), bound.type, os.dup(bound.fileno()), bound)
        self._kept.append(kept)
        self._channel.send(
            "socket", [kept.fd], id=kept.id, address=kept.address, socket_kind=int(kept.kind)
        )

    def drop_unused(self) -> list[str]:
        """Close what no server of this tree has asked for. Returns what it was called."""
        unused = [each for each in self._kept if each.used is None]
        for kept in unused:
            self._forget(kept)
        return [kept.id for kept in unused]

    def dropped(self) -> None:
        """The parent has closed its copy of what was to be dropped. In the channel's thread."""
        if self._dropped.locked():
            self._dropped.release()

    def _drop(self, kept: Kept) -> None:
        self._forget(kept)
        if self._channel.send("drop", id=kept.id):
            self._dropped.acquire(timeout=_PATIENCE)

    def _forget(self, kept: Kept) -> None:
        self._kept.remove(kept)
        native.original("os", "close")(kept.fd)  # now: gevent's is for later


def _in_the_way(fd: int, address: Address) -> bool:
    """Whether a bound socket keeps another from being bound at `address`."""
    # The original class: gevent's closes the descriptor later.
    with native.original("socket", "socket")(fileno=os.dup(fd)) as bound:
        name: Any = bound.getsockname()
    if address.path or not isinstance(name, tuple):
        return bool(address.path) and name == address.path
    return bool(address.port) and name[1] == address.port
