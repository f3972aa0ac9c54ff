"""Who is at the other end of a connection."""

from __future__ import annotations

import socket
import struct

from .messages import Peer, Remote

_UCRED = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid


def peer_of(sock: socket.socket) -> Peer:
    """Return who is at the other end of a unix socket, as the kernel noted it at its connect."""
    pid, uid, gid = _UCRED.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            name = file.read().decode("utf-8", "backslashreplace").rstrip("\n")
    except OSError:
        name = "?"  # gone already, or of another pid namespace
    return Peer(pid, uid, gid, name)


def remote_of(sock: socket.socket) -> Remote | None:
    """Return who is at the other end of a TCP socket; None if nobody is any more."""
    try:
        address, port = sock.getpeername()[:2]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # answers are written whole
    except OSError:
        return None
    return Remote(address, port)
