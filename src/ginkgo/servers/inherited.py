"""Sockets that were bound by whoever started this process, and their way to the servers.

::

    systemd --- fd 3 "web", fd 4 "admin" ---> offer()           before the tree is made
                                                |
      StreamServer("fd:web")          by name --+--> take()     when it binds
      WSGIServer("127.0.0.1:8000") by address --+               unused(): nobody has asked for them

A server gets a copy of the descriptor. The original stays open for as long as the process runs, so
that a server that is restarted finds its socket again, and nobody who waits in the kernel's queue
meanwhile is refused.

Source: sd_listen_fds(3), systemd.socket(5).
"""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import ConfigError
from .addresses import Address

KINDS = {int(socket.SOCK_STREAM): "stream", int(socket.SOCK_DGRAM): "datagram"}


@dataclass(eq=False)
class Inherited:
    """One socket that was handed over.

    Attributes:
        fd: its descriptor.
        name: the one that it was given; not necessarily the only one of that name.
        address: where it is bound.
        family, kind: of socket(2).
        dual_stack: whether IPv4 clients come in through IPv6.
        owner: the path of the service that took it; empty for nobody.
    """

    fd: int
    name: str
    address: Address
    family: int
    kind: int
    dual_stack: bool = False
    owner: str = ""
    _copy: Any = field(default=None, repr=False)

    @property
    def free(self) -> bool:
        """Whether no server listens on it now."""
        copy = None if self._copy is None else self._copy()
        return copy is None or copy.fileno() < 0

    def copy(self, owner: str) -> socket.socket:
        """A socket object of its own for a server; it does not block."""
        made = socket.socket(self.family, self.kind, 0, os.dup(self.fd))
        made.setblocking(False)
        if self.kind == socket.SOCK_STREAM and self.family != socket.AF_UNIX:
            # As `listen.bind` does: an answer of two sends shall not wait for an acknowledgement.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.owner = owner
        self._copy = weakref.ref(made)
        return made

    def __str__(self) -> str:
        return f'fd {self.fd} ("{self.name}", {self.address})'


_offered: list[Inherited] = []


def offer(sockets: Iterable[Inherited]) -> None:
    """Let the servers of this process take these, in place of all that were offered before."""
    _offered[:] = sockets


def unused() -> list[Inherited]:
    """Those that no server has asked for so far."""
    return [each for each in _offered if not each.owner]


def take(address: Address, kind: int, owner: str = "") -> socket.socket | None:
    """The socket for a server that is going to listen.

    Args:
        address: where it wants to; one of a name wants the socket of that name, others the one
            that is bound at the same address.
        kind: SOCK_STREAM or SOCK_DGRAM.
        owner: the path of the service.

    Returns:
        A new socket object; None where there is none, and the server has to bind one.

    Raises:
        ConfigError: there is none of that name, or it is of another kind.
    """
    if address.name:
        return _named(address.name, kind, owner or "the server").copy(owner)
    for each in _offered:
        if each.kind == kind and each.free and _same(each, address):
            return each.copy(owner)
    return None


def _named(name: str, kind: int, owner: str) -> Inherited:
    what = f"{owner} cannot listen on fd:{name}"
    found = [each for each in _offered if each.name == name]
    found = found or [each for each in _offered if str(each.fd) == name]
    if not found:
        had = ", ".join(map(str, _offered)) or "none"
        raise ConfigError(
            f"{what}: no socket of that name was handed to this process (handed over: {had})",
            hint=f"The socket unit names it with FileDescriptorName={name}. To try it by hand: "
            f"systemd-socket-activate -l PORT --fdname={name} ginkgo TARGET",
        )
    fitting = [each for each in found if each.kind == kind]
    if not fitting:
        wanted = KINDS[kind].capitalize()
        raise ConfigError(
            f"{what}: {found[0]} is a {KINDS.get(found[0].kind, 'foreign')} socket",
            hint=f"In the socket unit it is Listen{wanted}=.",
        )
    for each in fitting:
        if each.free:
            return each
    raise ConfigError(
        f"{what}: {fitting[0].owner or 'another server'} listens on {fitting[0]} already",
        hint="A socket is for one server; the unit may have several of the same name.",
    )


def _same(given: Inherited, address: Address) -> bool:
    """Whether a socket is bound where a server wants to listen."""
    if address.path or given.address.path:
        return os.path.abspath(address.path or ".") == given.address.path
    if address.port == 0 or address.port != given.address.port:
        return False
    if not address.host:
        return given.address.host == "::" if given.dual_stack else given.address.host == "0.0.0.0"  # noqa: S104
    return _ip(given.address.host) in _ips(address.host)


def _ips(host: str) -> set[object]:
    """All that a host's name may stand for."""
    if (literal := _ip(host)) is not None:
        return {literal}
    try:
        return {_ip(str(found[4][0])) for found in socket.getaddrinfo(host, None)} - {None}
    except (OSError, UnicodeError):
        return set()  # to bind it will say so, in better words


def _ip(host: str) -> object:
    from ipaddress import ip_address

    try:
        return ip_address(host)
    except ValueError:
        return None
