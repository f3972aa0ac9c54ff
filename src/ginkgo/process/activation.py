"""Socket activation: the sockets that systemd has bound for this process.

::

    LISTEN_PID=4711            whom they are for: another's are left alone
    LISTEN_FDS=2               the descriptors 3 and 4
    LISTEN_FDNAMES=web:admin   FileDescriptorName= of their socket units

What is wrong with them is told with the descriptor's number, before anything is started.

Source: sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import MutableMapping

from ..async_ import native
from ..core.errors import ConfigError
from ..servers.addresses import Address
from ..servers.inherited import KINDS, Inherited

FIRST = 3
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
NAMELESS = "unknown"  # what sd_listen_fds_with_names(3) calls those without a name

_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def inherited_sockets(environ: MutableMapping[str, str], pid: int) -> list[Inherited]:
    """Return the sockets that were handed to process `pid`; programs started from here get none.

    Args:
        environ: the environment; the variables are taken out of it.
        pid: this process's id, when it was started.

    Raises:
        ConfigError: one of them is no socket that a server can have; it names the descriptor.
    """
    told = {name: environ.pop(name, None) for name in VARIABLES}
    if not told["LISTEN_FDS"] or not told["LISTEN_PID"]:
        return []
    if _number("LISTEN_PID", told["LISTEN_PID"]) != pid:
        return []
    count = _number("LISTEN_FDS", told["LISTEN_FDS"])
    names = _names(told["LISTEN_FDNAMES"], count)
    found = []
    for fd, name in enumerate(names, FIRST):
        found.append(_look_at(fd, name))
        os.set_inheritable(fd, False)
    return found


def _number(variable: str, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise _wrong(f"{variable} is {text!r}, and should be a number")


def _names(text: str | None, count: int) -> list[str]:
    if count > os.sysconf("SC_OPEN_MAX") - FIRST:
        raise _wrong(f"LISTEN_FDS is {count}: so many descriptors no process can have")
    if text is None:
        return [NAMELESS] * count
    names = text.split(":") if text else []
    if len(names) != count:
        raise _wrong(f"LISTEN_FDNAMES has {len(names)} names ({text}) for LISTEN_FDS={count}")
    return names


def _look_at(fd: int, name: str) -> Inherited:
    what = f'fd {fd} ("{name}") of LISTEN_FDS'
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        raise _wrong(f"{what} is not open") from None
    if not stat.S_ISSOCK(mode):
        raise _wrong(
            f"{what} is no socket", "Only ListenStream= and ListenDatagram= can be served."
        )
    found = native.original("socket", "socket")(fileno=fd)
    try:
        family, kind = found.family, found.type
        listens = kind != socket.SOCK_STREAM or found.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        )
        dual = family == socket.AF_INET6 and not found.getsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
        )
        name_of = found.getsockname() if family in _FAMILIES else None
    finally:
        found.detach()
    if name_of is None or kind not in KINDS:
        raise _wrong(
            f"{what} is a socket of family {_plain(family)} and type {_plain(kind)}",
            "Servers have TCP, UDP and unix sockets.",
        )
    if not listens:
        raise _wrong(
            f"{what} does not listen: it is a connection", "The socket unit needs Accept=no."
        )
    return Inherited(fd, name, Address.of(name_of), int(family), int(kind), dual)


def _plain(value: int) -> str:
    return getattr(value, "name", str(value))


def _wrong(
    message: str, hint: str = "They are set by systemd for its socket units."
) -> ConfigError:
    return ConfigError(f"socket activation: {message}", hint=hint)
