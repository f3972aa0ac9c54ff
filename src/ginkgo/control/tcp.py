"""The control plane's TCP address: what is set for it, its listener, and its door."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from ginkgo.async_ import native
from ginkgo.process.control_address import open_address
from ginkgo.process.settings import ProcessSettings
from ginkgo.servers.addresses import Address
from ginkgo.servers.listen import Listener
from ginkgo.servers.tls import Certificate

from .door import Door, own_names
from .guard import Guard

if TYPE_CHECKING:
    import ssl


class Tcp(NamedTuple):
    """What is set for the address.

    Attributes:
        address: where to listen, as `host:port`.
        token: what is asked of everybody who comes there; None for nothing.
        actions: whether anything but reading is allowed there.
        hosts: further names that it is reached by.
        certfile, keyfile: PEM files, for TLS.
        listener: what listens there already, because it took root to begin with that.
    """

    address: str
    token: str | None = None
    actions: bool = False
    hosts: tuple[str, ...] = ()
    certfile: str | None = None
    keyfile: str | None = None
    listener: Listener | None = None


class Entrance(NamedTuple):
    """An open address.

    Attributes:
        listener: of the original class, whatever the process has patched; it does not block.
        door: what is asked there.
        certificate: for TLS; without files there is none.
    """

    listener: socket.socket
    door: Door
    certificate: Certificate | None = None

    @property
    def context(self) -> ssl.SSLContext | None:
        """TLS for the next connection, or None."""
        return None if self.certificate is None else self.certificate.context


def from_settings(process: ProcessSettings, listener: Listener | None = None) -> Tcp | None:
    """Return what the settings say; None if there is to be no address."""
    if process.control is None:
        return None
    return Tcp(
        process.control,
        process.control_token,
        process.control_actions,
        tuple(process.control_hosts),
        process.control_certfile,
        process.control_keyfile,
        listener,
    )


def open_entrance(tcp: Tcp) -> Entrance:
    """Listen.

    Raises:
        Unavailable: the port is taken, or this machine does not have the address.
        PermissionDenied: this user may not listen there.
        ConfigError: the address is none, or the certificate is not usable.
    """
    certificate = Certificate(tcp.certfile, tcp.keyfile)
    certificate.load()
    address = Address.parse(tcp.address)
    bound = (tcp.listener or open_address(tcp.address)).socket
    family, kind = bound.family, bound.type
    listener = native.socket(family, kind, fileno=bound.detach())
    host, port = listener.getsockname()[:2]
    scheme = "https" if tcp.certfile else "http"
    guard = None
    if tcp.token is not None:
        guard = Guard(tcp.token, port, secure=tcp.certfile is not None)
    door = Door(
        names=own_names(host, port, tcp.hosts),
        port=None if address.is_loopback else port,
        actions=tcp.actions,
        guard=guard,
        url=f"{scheme}://{Address(host, port).for_connecting}/",
    )
    return Entrance(listener, door, certificate)
