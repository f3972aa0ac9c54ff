"""Whether the settings of the control plane's TCP address are sound: closed unless it is opened.

::

    a loopback address          may do without a token: who is on this machine is let in, to read
    any other one               needs a token, and TLS or a clear warning
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core.errors import ConfigError
from ..servers.addresses import Address
from ..servers.listen import Listener, bind
from ..servers.tls import Certificate
from .settings import ProcessSettings

SHORTEST_TOKEN = 16

_MAKE_ONE = "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
"""What can be sent as a Bearer token (RFC 6750, 2.1)."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
"""What can stand in a Host header (RFC 9110, 7.2)."""


def check_address(process: ProcessSettings) -> None:
    """Look at the setting `control`.

    Raises:
        ConfigError: it is no address of TCP, or one beyond this machine without a token.
    """
    if process.control is None:
        return
    try:
        address = Address.parse(process.control)
    except ConfigError as error:
        raise ConfigError(f"control: {error}", hint=error.hint) from error
    if address.path:
        raise ConfigError(
            f"control is {process.control!r}, and has to be an address of TCP",
            hint="There is a unix socket always: `ginkgoctl` and `curl --unix-socket` use it.",
        )
    if not address.is_loopback and process.control_token is None:
        raise ConfigError(
            f"control is {process.control!r}, which can be reached from other machines, and there"
            " is no control_token",
            hint=f"Set control_token ({_MAKE_ONE}), or use 127.0.0.1:{address.port}.",
        )


def open_address(address: str) -> Listener:
    """Listen where `control` says: it may take root, which a process gives up.

    Raises:
        Unavailable: the port is taken, or this machine does not have the address.
        PermissionDenied: this user may not listen there.
        ConfigError: the address is none.
    """
    return bind(Address.parse(address), owner="the control plane (setting `control`)")


def check_token(process: ProcessSettings) -> None:
    """Look at the setting `control_token`.

    Raises:
        ConfigError: it can be guessed, or cannot be sent.
    """
    token = process.control_token
    if token is None:
        return
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"control_token has {len(token)} characters, and has to have {SHORTEST_TOKEN} or more",
            hint=_MAKE_ONE,
        )
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            "control_token may have ASCII letters, digits and -._~+/= in it, and nothing else",
            hint=_MAKE_ONE,
        )


def check_hosts(process: ProcessSettings) -> None:
    """Look at the setting `control_hosts`.

    Raises:
        ConfigError: one of them is no name.
    """
    for host in process.control_hosts:
        if not _HOST.fullmatch(host):
            raise ConfigError(
                f"control_hosts has {host!r}, and has to have names, without http:// and path",
                hint='Write control_hosts = ["ops.example.com"], with :port where it is another.',
            )


def check_certificate(process: ProcessSettings) -> None:
    """Look at the setting `control_certfile`, and at the key that belongs to it.

    Raises:
        ConfigError: they cannot be read, are not what they should be, or do not belong together.
    """
    if process.control_certfile is None:
        return
    try:
        Certificate(process.control_certfile, process.control_keyfile).load()
    except ConfigError as error:
        raise ConfigError(f"control_certfile: {error}", hint=error.hint) from error


def check_key(process: ProcessSettings) -> None:
    """Look at the setting `control_keyfile`.

    Raises:
        ConfigError: there is no certificate.
    """
    if process.control_keyfile is not None and process.control_certfile is None:
        raise ConfigError(f"control_keyfile {process.control_keyfile} needs a control_certfile")


def warnings(process: ProcessSettings) -> Iterator[str]:
    """Yield what is allowed, and should be thought about."""
    if process.control is None:
        return
    address = Address.parse(process.control)
    if not address.is_loopback and process.control_certfile is None:
        yield (
            f"control = {process.control!r} is without TLS: whoever is on the way reads the token."
            " Set control_certfile, or let only a proxy with TLS reach it."
        )
    if address.is_loopback and process.control_actions and process.control_token is None:
        yield (
            f"control = {process.control!r} lets every user of this machine act, because"
            " control_actions is set and control_token is not."
        )
