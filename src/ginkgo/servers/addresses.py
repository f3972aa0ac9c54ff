"""Addresses: what may be written for one, and how it is printed.

======================  ========================================================================
``("0.0.0.0", 7000)``   host and port, as the standard library takes them
``"localhost:7000"``    the same, in one string
``"[::1]:7000"``        IPv6 addresses have brackets, because they are full of colons themselves
``":7000"``, ``7000``   every interface, IPv4 and IPv6
``"0.0.0.0:7000"``      every interface, IPv4 only
``"[::]:7000"``         every interface, IPv6 only
``"unix:/run/a.sock"``  a unix socket
``"fd:web"``            the socket of that name which whoever started this process has bound for it
                        (``systemd:web`` is the same): see :mod:`ginkgo.servers.inherited`
======================  ========================================================================

Port 0 lets the kernel choose a free one. A client that is given the address of every interface
connects to this machine itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.errors import ConfigError

# sun_path has 108 bytes, the last of them 0 (unix(7)).
LONGEST_PATH = 107

_HOST = re.compile(r"[\w.:%-]+")


class AddressError(ConfigError, ValueError):
    """What was given as an address is none."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, or a client connects to.

    Args:
        host: a name, an IPv4 or IPv6 address (without brackets), or ``""`` for every interface.
        port: 0 to 65535.
        path: of a unix socket; host and port mean nothing then.
        name: of a socket that this process was started with; nothing else is known of it then.

    Example:
        >>> Address.parse("[::1]:7000")
        Address(host='::1', port=7000, path='')
        >>> print(Address.parse(("127.0.0.1", 7000)))
        127.0.0.1:7000
    """

    host: str = ""
    port: int = 0
    path: str = ""
    name: str = field(default="", repr=False)

    @classmethod
    def parse(cls, given: AddressLike) -> Address:
        """Return the address that `given` stands for.

        Raises:
            AddressError: it stands for none; the message says why.
        """
        if isinstance(given, Address):
            return given
        if isinstance(given, str):
            return _from_text(given)
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(port=_port(given, given))
        if isinstance(given, (tuple, list)) and len(given) >= 2:
            host, port = given[0], given[1]
            if host is None or isinstance(host, str):
                return cls(_host(host or "", given), _port(port, given))
        raise AddressError(f"{given!r} is not an address", hint=_FORMS)

    @classmethod
    def of(cls, sockname: Any) -> Address:
        """Return the address in what ``getsockname()``, ``getpeername()`` or ``accept()`` gave."""
        if isinstance(sockname, tuple):
            return cls(sockname[0], sockname[1])
        return cls(path=sockname.decode() if isinstance(sockname, bytes) else sockname)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it: a unix socket, or a loopback address."""
        from ipaddress import ip_address

        if self.path or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def for_connecting(self) -> Address:
        """The same, where "every interface" is the loopback: what a client connects to.

        Raises:
            AddressError: it is the name of a socket of our own.
        """
        if self.name:
            raise AddressError(f"{self} is where a server listens: nobody can connect to a name")
        if self.path or self.host not in ("", "0.0.0.0", "::"):  # noqa: S104
            return self
        return replace(self, host={"": "localhost", "::": "::1"}.get(self.host, "127.0.0.1"))

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        if self.name:
            return f"fd:{self.name}"
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{host}:{self.port}"


def without_mapping(sockname: Any) -> Any:
    """The address of a peer, as it would be on a socket that is for one version of IP alone.

    Args:
        sockname: what a socket for both versions gave for it: an IPv4 address is mapped into IPv6
            there (RFC 4291, section 2.5.5.2).
    """
    if sockname[0].startswith("::ffff:"):
        return sockname[0][7:], sockname[1]
    return sockname


def client_name(sockname: Any) -> str:
    """Who is at the other side, for the log."""
    if isinstance(sockname, tuple):
        return str(Address.of(sockname))
    return "a client of the unix socket"


AddressLike = Address | str | int | tuple[Any, ...] | list[Any]
"""What may be given where an address is wanted."""

_HANDED_OVER = ("fd:", "systemd:")

_FORMS = (
    'Write ("host", port), "host:port", "[::1]:port", ":port", a port, "unix:/path", '
    'or "fd:name" for a socket of systemd\'s.'
)


def _from_text(text: str) -> Address:
    if text.startswith("unix:"):
        return Address(path=_path(text.removeprefix("unix:"), text))
    if text.startswith(_HANDED_OVER):
        name = text.partition(":")[2]
        if not name or ":" in name or not name.isprintable():
            raise AddressError(f"{text!r} is not an address: it has no name", hint=_FORMS)
        return Address(name=name)
    if text.isdecimal():
        return Address(port=_port(text, text))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise AddressError(f"{text!r} is not an address: it has no port", hint=_FORMS)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise AddressError(
                f"{text!r} is not an address: brackets are for IPv6 addresses", hint=_FORMS
            )
    elif ":" in host:
        raise AddressError(
            f"{text!r} is not an address: it has more than one colon",
            hint='An IPv6 address is written in brackets: "[::1]:7000".',
        )
    return Address(_host("" if host == "*" else host, text), _port(port, text))


def _host(host: str, given: object) -> str:
    if host == "*":
        return ""
    if host and not _HOST.fullmatch(host):
        raise AddressError(f"{given!r} is not an address: {host!r} is no host", hint=_FORMS)
    return host


def _port(port: object, given: object) -> int:
    if isinstance(port, str) and port.isascii() and port.isdecimal() and len(port) < 9:
        port = int(port)
    if isinstance(port, int) and not isinstance(port, bool) and 0 <= port <= 65535:
        return port
    raise AddressError(
        f"{given!r} is not an address: the port is a number from 0 to 65535", hint=_FORMS
    )


def _path(path: str, given: object) -> str:
    if not path or "\0" in path:
        raise AddressError(f"{given!r} is not an address: it has no path", hint=_FORMS)
    length = len(path.encode(errors="surrogateescape"))
    if length > LONGEST_PATH:
        raise AddressError(
            f"{given!r} is not an address: a unix socket's path has at most {LONGEST_PATH} bytes, "
            f"this one has {length}",
            hint="Choose a shorter path, in /run for example.",
        )
    return path
