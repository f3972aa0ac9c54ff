"""What ``ginkgo dev`` and the process that it runs tell each other: JSON lines, and descriptors.

::

    ginkgo dev                                      the process with the tree
        |  <--- loaded {files} ------------------      everything is imported
        |  ---- go {sockets} + descriptors ----->      the one before has ended: start
        |  <--- socket {id, address, kind} + fd --     it has bound something: keep it
        |  <--- drop {id}, ---- dropped --------->      one that is not wanted is in the way
        |  <--- ready {files, unused, page} ------
        |  ---- files? -------------------------->
        |  <--- files {files} --------------------
        |  <--- failed {files} -------------------

The end of either is the end of the socket, and so known to the other at once.

Source: unix(7), SCM_RIGHTS.
"""

from __future__ import annotations

import json
import os
import socket as socket_module
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ..async_ import native

DEV_FD = "GINKGO_DEV_FD"
"""The environment variable with the number of the child's end."""

_AT_MOST = 250  # descriptors in one message; the kernel takes 253 (SCM_MAX_FD)
_CHUNK = 65536


class Channel:
    """One end.

    Args:
        socket: a stream socket of the unix family, of the original class, that blocks.
    """

    def __init__(self, socket: socket_module.socket) -> None:
        self.socket = socket
        self._sending = native.lock()
        self._rest = b""
        self._fds: deque[int] = deque()

    def send(self, kind: str, fds: Sequence[int] = (), **content: Any) -> bool:
        """Send a message, from any thread. False: the other one is gone."""
        fds = fds[:_AT_MOST]
        line = json.dumps({"kind": kind, "fds": len(fds), **content}).encode() + b"\n"
        with self._sending:
            try:
                sent = socket_module.send_fds(self.socket, [line], list(fds)) if fds else 0
                self.socket.sendall(line[sent:])
            except (BrokenPipeError, ConnectionResetError):
                return False
        return True

    def receive(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """Wait for something to arrive, and yield the messages that are complete.

        Raises:
            EOFError: the other one is gone.
        """
        try:
            data, fds, _, _ = socket_module.recv_fds(self.socket, _CHUNK, _AT_MOST)
        except ConnectionResetError:
            data, fds = b"", []
        if not data:
            raise EOFError
        for fd in fds:
            os.set_inheritable(fd, False)
        self._fds.extend(fds)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            yield message, [self._fds.popleft() for _ in range(message["fds"])]

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
