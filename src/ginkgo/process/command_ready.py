"""When an external program is ready: what may be given as `ready`, and how it is found out.

===========================  =====================================================================
``None``                     when it has been started
``"Listening on"``           when it has printed a line in which this regular expression is found
``re.compile("...")``        the same
``8000``, ``"[::1]:8000"``   when it accepts connections there; also ``("127.0.0.1", 8000)`` and
                             ``"unix:/run/app.sock"``
a function                   when a call of it returns something true; it is asked again and again,
                             with pauses that grow up to `LONGEST_PAUSE`
===========================  =====================================================================
"""

from __future__ import annotations

import errno
import ipaddress
import re
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

from ..async_ import native
from ..core.errors import ConfigError
from ..servers.addresses import Address, AddressError

Ready = Callable[[], Any] | re.Pattern[str] | Address | None
"""What `ready` comes down to."""

FIRST_PAUSE = 0.01  # seconds
LONGEST_PAUSE = 0.5

_FORMS = "Give a regular expression for a line of its output, an address, a port, or a function."


def parse_ready(given: Any) -> Ready:
    """Return what `given` stands for.

    Raises:
        ConfigError: it is nothing that could tell when a program is ready.
    """
    if given is None or callable(given) or isinstance(given, (re.Pattern, Address)):
        found: Ready = given
    elif isinstance(given, (int, tuple, list)):
        found = Address.parse(given)
    elif isinstance(given, str) and given:
        found = _address(given) or _pattern(given)
    else:
        raise ConfigError(f"ready = {given!r} says nothing", hint=_FORMS)
    if isinstance(found, Address):
        sockaddrs(found)
    return found


def _address(text: str) -> Address | None:
    """A text with a blank in it is what a program says, and no address."""
    if any(character.isspace() for character in text):
        return None
    try:
        return Address.parse(text)
    except AddressError:
        return None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"ready = {text!r} is not a regular expression: {error}",
            hint="re.escape() makes one of a text that is to be found as it is.",
        ) from None


def describe(ready: Ready) -> str:
    """What is waited for, in words."""
    if isinstance(ready, re.Pattern):
        return f"a line of its output with {ready.pattern!r} in it"
    if isinstance(ready, Address):
        return f"connections at {ready}"
    return f"{getattr(ready, '__qualname__', None) or ready!r} to say so"


def pauses() -> Iterator[float]:
    """Seconds between two looks: short ones at first, and never long ones."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(LONGEST_PAUSE, pause * 1.5)


def sockaddrs(address: Address) -> list[tuple[int, Any]]:
    """Family and socket address of each place where `address` may be reached.

    Names are not looked up but for localhost: that may take seconds, and the program runs here.

    Raises:
        ConfigError: the host is another name, or the port is 0.
    """
    if address.path:
        return [(socket.AF_UNIX, address.path)]
    host = address.for_connecting.host
    both = ("127.0.0.1", "::1")
    hosts = both if host == "localhost" else (host,)
    try:
        versions = [ipaddress.ip_address(each).version for each in hosts]
    except ValueError:
        versions = []
    if not versions or not address.port:
        raise ConfigError(
            f"ready = {str(address)!r}: this is no place to look for the program",
            hint='Give a port of this machine, or an IP address: "127.0.0.1:8000".',
        )
    families = {4: socket.AF_INET, 6: socket.AF_INET6}
    return [
        (families[version], (each, address.port))
        for version, each in zip(versions, hosts, strict=True)
    ]


class Knock:
    """Looks whether somebody accepts connections at an address, and never waits for it.

    An attempt that takes its time goes on until the next look.
    """

    def __init__(self, address: Address) -> None:
        self._to = sockaddrs(address)
        self._begun: list[tuple[Any, Any]] = []

    def answered(self) -> bool:
        """Whether a connection has come about."""
        attempts, self._begun = self._begun, []
        if not attempts:
            attempts = [
                (native.socket(family, socket.SOCK_STREAM), sockaddr)
                for family, sockaddr in self._to
            ]
        yes = False
        for connection, sockaddr in attempts:
            error = 0 if yes else connection.connect_ex(sockaddr)
            if error == errno.EINPROGRESS and _settled(connection):
                error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error in (errno.EINPROGRESS, errno.EALREADY):
                self._begun.append((connection, sockaddr))
                continue
            yes = yes or error in (0, errno.EISCONN)
            connection.close()
        if yes:
            self.close()
        return yes

    def close(self) -> None:
        """Give the attempts up."""
        while self._begun:
            self._begun.pop()[0].close()


def _settled(connection: Any) -> bool:
    """Whether an attempt has come to its end: on this machine it has, at once (connect(2))."""
    poll = native.original("select", "poll")()
    poll.register(connection, select.POLLOUT)
    return bool(poll.poll(0))
