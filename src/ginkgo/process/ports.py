"""Who holds an address that we wanted: one more line in the message, where it can be found out.

The kernel lists its sockets with their inodes in /proc/net, and each process's sockets in
/proc/PID/fd: the two are brought together. Another user's processes are not to be seen without
root, other systems have no /proc, and on a large machine the search ends after half a second: the
answer is then None, and the message goes without.

Source: proc(5), proc_pid_net(5).
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from .pids import name_of, open_links, running_pids

_PATIENCE = 0.5  # seconds: a start that fails has to say so within one
_LISTENING = "0A"


def holder_of(
    family: int, address: str, port: int = 0, kind: int = socket.SOCK_STREAM
) -> tuple[int, str] | None:
    """Find the process that holds an address.

    Args:
        family: AF_INET, AF_INET6 or AF_UNIX.
        address: the numeric address, "" for all; for AF_UNIX the path ("@name" for an abstract
            one).
        port: the port; not used for AF_UNIX.
        kind: SOCK_STREAM or SOCK_DGRAM.

    Returns:
        The pid and name of the process (the one with the lowest pid, where several share it), or
        None where it cannot be found out. Never raises.
    """
    deadline = time.monotonic() + _PATIENCE
    try:
        if family == socket.AF_UNIX:
            inodes = list(_unix_inodes(address))
        else:
            inodes = _inet_inodes(family, address, port, kind, deadline)
        return _owner_of(inodes, deadline) if inodes else None
    except (OSError, ValueError, IndexError):
        return None  # a kernel that writes its tables in another way: then without


def _owner_of(inodes: list[str], deadline: float) -> tuple[int, str] | None:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in running_pids():
        try:
            if any(link in wanted for _, link in open_links(pid)):
                return pid, name_of(pid) or "?"
        except OSError:
            pass  # gone, or another user's
        if time.monotonic() > deadline:
            break
    return None


class _Row(NamedTuple):
    address: bytes
    port: int
    state: str
    inode: str


def _inet_inodes(family: int, address: str, port: int, kind: int, deadline: float) -> list[str]:
    """The sockets in our way: those that listen, or else whatever is bound there."""
    wanted = _packed(family, address)

    def found_in(rows: Iterable[_Row]) -> list[str]:
        return [
            row.inode
            for row in rows
            if row.port == port and row.inode != "0" and _overlap(wanted, row.address)
        ]

    table = "tcp" if kind == socket.SOCK_STREAM else "udp"
    tables = (f"/proc/net/{table}", f"/proc/net/{table}6")
    # The kernel lists those that listen first; the connections behind them can be very many.
    for only_listening in (True, False):
        inodes = []
        for path in tables:
            rows: Iterable[_Row] = _inet_rows(path, deadline)
            if only_listening:
                rows = takewhile(lambda row: row.state == _LISTENING, rows)
            inodes += found_in(rows)
        if inodes:
            return inodes
    return []


def _inet_rows(path: str, deadline: float) -> Iterator[_Row]:
    try:
        with open(path, "rb") as lines:
            next(lines, None)  # the headings
            for line in lines:
                if time.monotonic() > deadline:
                    return
                fields = line.decode("ascii").split()
                address, _, port = fields[1].partition(":")
                yield _Row(_in_network_order(address), int(port, 16), fields[3], fields[9])
    except FileNotFoundError:
        return  # a kernel without IPv6


def _in_network_order(digits: str) -> bytes:
    """The kernel prints addresses as 32-bit numbers in the machine's own byte order."""
    raw = bytes.fromhex(digits)
    if sys.byteorder == "big":
        return raw
    return b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))


def _packed(family: int, address: str) -> bytes:
    if not address:
        return bytes(16 if family == socket.AF_INET6 else 4)
    return socket.inet_pton(family, address.partition("%")[0])


def _overlap(one: bytes, other: bytes) -> bool:
    """Whether two addresses exclude each other: the same, or one of them means all.

    `::` takes IPv4 in as well, where it is not told otherwise (IPV6_V6ONLY).
    """
    one, other = _unmapped(one), _unmapped(other)
    if len(one) == len(other):
        return one == other or not any(one) or not any(other)
    return not any(one if len(one) > len(other) else other)


def _unmapped(address: bytes) -> bytes:
    mapped = bytes(10) + b"\xff\xff"  # ::ffff:127.0.0.1
    return address[12:] if len(address) == 16 and address.startswith(mapped) else address


def _unix_inodes(path: str) -> Iterator[str]:
    wanted = os.fsencode(path)
    with open("/proc/net/unix", "rb") as lines:
        next(lines, None)
        for line in lines:
            columns = line.rstrip(b"\n").split(None, 7)
            if len(columns) == 8 and columns[7] == wanted:
                yield columns[6].decode("ascii")
