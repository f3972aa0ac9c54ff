"""Which process holds a port: what a person wants to know who is told that it is taken.

    /proc/net/tcp       local address -> inode of the socket      (proc(5))
    /proc/PID/fd/N      -> "socket:[inode]"

Only root sees the descriptors of other users' processes; for anybody else the answer may be "not
known". On a machine with very many processes the search is given up. Nothing here raises.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from .addresses import Address

_TCP_LISTEN, _UDP_BOUND = "0A", "07"
_LONGEST_COMMAND = 80
# Seconds. A start that fails has to say so within one.
_PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds an address.

    Args:
        pid: its process id.
        command: its command line, shortened, and without anything that could upset a terminal.
    """

    pid: int
    command: str

    def __str__(self) -> str:
        if self.pid == os.getpid():
            return "this very process"
        return f"pid {self.pid} ({self.command})" if self.command else f"pid {self.pid}"


def holder_of(address: Address, *, datagram: bool = False) -> Holder | None:
    """Return the process that is bound to `address`, or None where that cannot be found out.

    Of several processes that share the socket it is the one with the lowest pid: as a rule the
    parent of the others.

    Args:
        address: what could not be bound; a host has to be an IP address.
        datagram: look for UDP sockets instead of TCP.
    """
    try:
        if address.path:
            inodes = _unix_inodes(address.path)
        else:
            inodes = _inet_inodes(address, "udp" if datagram else "tcp")
        pid = _process_with({f"socket:[{inode}]" for inode in inodes}) if inodes else None
    except OSError:
        return None  # no /proc here
    return None if pid is None else Holder(pid, _command(pid))


def _unix_inodes(path: str) -> set[str]:
    """Num RefCount Protocol Flags Type St Inode Path"""
    wanted = os.path.abspath(path)
    with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as table:
        rows = (line.rstrip("\n").split(maxsplit=7) for line in table)
        return {row[6] for row in rows if len(row) == 8 and os.path.abspath(row[7]) == wanted}


def _inet_inodes(address: Address, protocol: str) -> set[str]:
    """The sockets in the way, those with exactly this address before those that overlap."""
    exact: set[str] = set()
    others: set[str] = set()
    for host, port, inode in _bound(protocol):
        if port == address.port:
            (exact if host == address.host else others).add(inode)
    return exact or others


def _bound(protocol: str) -> Iterator[tuple[str, int, str]]:
    """sl local_address rem_address st tx_queue:rx_queue tr:when retrnsmt uid timeout inode ..."""
    state = _TCP_LISTEN if protocol == "tcp" else _UDP_BOUND
    for table, family in ((protocol, socket.AF_INET), (protocol + "6", socket.AF_INET6)):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as rows:
                next(rows)
                for row in rows:
                    column = row.split()
                    if column[3] == state:
                        host, _, port = column[1].partition(":")
                        yield _ip(host, family), int(port, 16), column[9]
        except FileNotFoundError:
            continue  # no IPv6 in this kernel


def _ip(digits: str, family: socket.AddressFamily) -> str:
    """The kernel prints an address as 32-bit words in the byte order of the machine."""
    packed = b"".join(
        int(digits[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(digits), 8)
    )
    return socket.inet_ntop(family, packed)


def _process_with(links: set[str]) -> int | None:
    deadline = time.monotonic() + _PATIENCE
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        if time.monotonic() > deadline:
            break
        try:
            with os.scandir(f"/proc/{pid}/fd") as descriptors:
                if any(os.readlink(descriptor.path) in links for descriptor in descriptors):
                    return pid
        except OSError:
            continue  # it has ended meanwhile, or is not ours to look into
    return None


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    line = b" ".join(words).decode(errors="replace")
    line = "".join(char if char.isprintable() else "?" for char in line)
    if len(line) > _LONGEST_COMMAND:
        line = line[: _LONGEST_COMMAND - 3] + "..."
    return line
