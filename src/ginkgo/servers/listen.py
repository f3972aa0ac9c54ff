"""From an address to a socket that listens there, or to an error that says what is in the way.

This knows no backend: the sockets are those of the :mod:`socket` module, and do not block. It may
be called long before the server starts, by a runner that still has the privileges that it takes.

A unix socket's file is born with its final mode, replaces a file that nobody answers at any more,
and is removed when the listener is closed, if it is still the same file.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import replace
from typing import Any, Protocol

from ..core.errors import (
    CannotCreate,
    ConfigError,
    GinkgoError,
    PermissionDenied,
    SystemFailure,
    Unavailable,
)
from . import inherited
from .addresses import Address
from .ports import holder_of

# How many connections the kernel completes and queues while the server is busy; it cuts the number
# down to its own limit, net.core.somaxconn (listen(2)).
BACKLOG = 1024


class Keeper(Protocol):
    """Somebody who keeps listening sockets for the process that follows this one."""

    def take(self, address: Address, kind: int) -> socket.socket | None:
        """Return the socket that was bound when the same `address` was asked for before."""

    def keep(self, address: Address, listener: Listener) -> None:
        """Keep a copy of what was bound because `address` was asked for."""


keeper: Keeper | None = None
"""Who keeps this process's listening sockets; None: they end with it."""


class Listener:
    """A socket that listens (a datagram socket: that is bound), and where it does so.

    Attributes:
        socket: the socket; it does not block.
        address: where it listens, with the port that the kernel chose where 0 was asked for.
        dual_stack: whether IPv4 clients come in through IPv6, as ``::ffff:192.0.2.1``.
        kept: whether the socket stays open when the listener is closed: who is queued then is the
            next process's.
    """

    __slots__ = ("_file", "address", "dual_stack", "kept", "socket")

    def __init__(self, bound: socket.socket, address: Address, *, owns_file: bool = False) -> None:
        self.socket = bound
        self.address = address
        self.dual_stack = bound.family == socket.AF_INET6 and not bound.getsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
        )
        self._file = _identity(address.path) if owns_file else None
        self.kept = False

    @classmethod
    def adopt(cls, given: socket.socket) -> Listener:
        """Listen on a socket that somebody else has bound, and will close.

        Raises:
            ConfigError: a stream socket that does not listen.
        """
        listening = given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if given.type == socket.SOCK_STREAM and not listening:
            raise ConfigError(f"a server was given a socket that does not listen: {given!r}")
        own = given.dup()
        own.setblocking(False)
        return cls(own, Address.of(own.getsockname()))

    def give_to(self, uid: int, gid: int) -> None:
        """Let a unix socket's file belong to somebody else: whom the process is going to run as."""
        if self._file is not None:
            os.chown(self.address.path, uid, gid, follow_symlinks=False)

    def keep(self) -> None:
        """Somebody has a copy of the socket, and a unix socket's file is theirs to remove."""
        self._file = None
        self.kept = True

    def withdraw(self) -> None:
        """Remove a unix socket's file, so that nobody new comes; who is queued can be accepted."""
        if self._file is not None and _identity(self.address.path) == self._file:
            try:
                os.unlink(self.address.path)
            except OSError:
                pass  # the folder is not ours to write any more: the next start replaces the file
        self._file = None

    def close(self) -> None:
        """Listen no longer."""
        self.withdraw()
        self.socket.close()


def bind(
    address: Address,
    *,
    owner: str = "",
    backlog: int = BACKLOG,
    datagram: bool = False,
    mode: int = 0o600,
) -> Listener:
    """Bind a socket to `address`, and listen.

    Args:
        address: where to. A name that stands for several addresses is bound at the first of them,
            an IPv4 address if there is one. Where the process was started with a socket that is
            bound there already, or has that name, it is taken.
        owner: the path of the service, for error messages.
        backlog: how many connections the kernel may queue.
        datagram: make a UDP (or unix datagram) socket.
        mode: the permissions of a unix socket's file.

    Raises:
        Unavailable: the address is taken, or this machine does not have it.
        ConfigError: a socket of that name was not handed over.
        PermissionDenied: this user may not bind there.
        CannotCreate: a unix socket's file cannot be made.
        SystemFailure: anything else, no descriptor left for example.
    """
    what = f"{owner or 'the server'} cannot listen on {address}"
    kind = socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM
    if address.path:
        address = replace(address, path=os.path.abspath(address.path))
    handed_over = inherited.take(address, kind, owner)
    if handed_over is not None:
        return Listener(handed_over, Address.of(handed_over.getsockname()))
    kept = None if keeper is None else keeper.take(address, kind)
    if kept is not None:
        listener = Listener(kept, address if address.path else _spoken(address, kept))
        listener.keep()
        return listener
    if address.path:
        listener = _bind_unix(address, kind, backlog, mode, what)
    else:
        listener = _bind_first(address, kind, backlog, what)
    if keeper is not None:
        keeper.keep(address, listener)
        listener.keep()
    return listener


def _bind_first(address: Address, kind: int, backlog: int, what: str) -> Listener:
    """Bind at the first of the socket addresses that this machine has."""
    candidates = _resolve(address, kind, what)
    for family, sockaddr in candidates:
        try:
            return _bind_inet(address, family, sockaddr, kind, backlog)
        except OSError as error:
            no_ipv6 = error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
            if not no_ipv6 or sockaddr is candidates[-1][1]:
                raise _explained(error, address, what, kind == socket.SOCK_DGRAM) from error
    raise AssertionError("a name stands for at least one address")


def explained(error: OSError, address: Address, owner: str) -> GinkgoError:
    """What to raise instead of the `error` that somebody else's way of binding has raised."""
    return _explained(error, address, f"{owner} cannot listen on {address}", datagram=False)


def _resolve(address: Address, kind: int, what: str) -> list[tuple[int, Any]]:
    """The socket addresses to try, in order: for every interface IPv6 with IPv4 in it is first."""
    if not address.host:
        return [
            (socket.AF_INET6, ("::", address.port)),
            (socket.AF_INET, ("0.0.0.0", address.port)),  # noqa: S104
        ]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:  # a literal needs no resolver, which in a patched process is a thread
            socket.inet_pton(family, address.host)
        except OSError:
            continue
        return [(family, (address.host, address.port))]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Unavailable(
            f"{what}: host {address.host!r} is not known ({reason})",
            hint="Check the name, or write the IP address.",
        ) from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return [(found[0][0], found[0][4])]


def _bind_inet(address: Address, family: int, sockaddr: Any, kind: int, backlog: int) -> Listener:
    bound = socket.socket(family, kind)
    try:
        if family == socket.AF_INET6:
            # Never left to net.ipv6.bindv6only: the same line means the same on every machine.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address.host != ""))
        if kind == socket.SOCK_STREAM:
            # Lets a restart bind while connections of its predecessor are in TIME_WAIT. On UDP it
            # would let two processes share the port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit it. Without it an answer of two sends waits for the peer's
            # delayed acknowledgement, 40 ms.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bound.bind(sockaddr)
        if kind == socket.SOCK_STREAM:
            bound.listen(backlog)
        bound.setblocking(False)
        return Listener(bound, _spoken(address, bound))
    except BaseException:
        bound.close()
        raise


def _spoken(address: Address, bound: socket.socket) -> Address:
    """Where a socket listens that was bound because `address` was asked for."""
    host, port = bound.getsockname()[:2]
    return Address(host if address.host else "", port)


def _bind_unix(address: Address, kind: int, backlog: int, mode: int, what: str) -> Listener:
    bound = socket.socket(socket.AF_UNIX, kind)
    listener = None
    try:
        # Before the bind, which takes the file's mode from the socket's: there is no moment in
        # which it is open to others.
        os.fchmod(bound.fileno(), mode)
        _bind_path(bound, address, kind, what)
        listener = Listener(bound, address, owns_file=True)
        if stat.S_IMODE(os.lstat(address.path).st_mode) != mode:
            os.chmod(address.path, mode)  # the umask had taken bits away
        if kind == socket.SOCK_STREAM:
            bound.listen(backlog)
        bound.setblocking(False)
        return listener
    except BaseException as error:
        (listener or bound).close()
        if isinstance(error, OSError):
            raise _explained(error, address, what, kind == socket.SOCK_DGRAM) from error
        raise


def _bind_path(bound: socket.socket, address: Address, kind: int, what: str) -> None:
    try:
        bound.bind(address.path)
        return
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    stale = _identity(address.path)
    if stale is None or not stat.S_ISSOCK(os.lstat(address.path).st_mode):
        raise CannotCreate(
            f"{what}: there is a file, and it is not a socket",
            hint="Nothing was removed. Choose another path, or remove the file yourself.",
        )
    if _answers(address.path, kind):
        raise _taken(address, what, datagram=kind == socket.SOCK_DGRAM)
    if _identity(address.path) == stale:  # not replaced meanwhile by somebody who is alive
        os.unlink(address.path)
    bound.bind(address.path)


def _answers(path: str, kind: int) -> bool:
    """Whether a process is behind the file. In doubt there is: nothing living is ever removed."""
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _taken(address: Address, what: str, *, datagram: bool) -> Unavailable:
    holder = holder_of(address, datagram=datagram)
    by = f" by {holder}" if holder is not None else ""
    return Unavailable(
        f"{what}: the address is in use{by}",
        hint=f"Stop that process, or choose another {'path' if address.path else 'port'}.",
    )


def _explained(error: OSError, address: Address, what: str, datagram: bool) -> GinkgoError:
    reason = error.strerror or str(error)
    match error.errno:
        case errno.EADDRINUSE:
            return _taken(address, what, datagram=datagram)
        case errno.EACCES | errno.EPERM | errno.EROFS if address.path:
            return PermissionDenied(
                f"{what}: {reason}",
                hint=f"The user with id {os.geteuid()} has to be able to write the folder.",
            )
        case errno.EACCES | errno.EPERM:
            return PermissionDenied(
                f"{what}: this user may not (ports below 1024 are reserved)",
                hint="Start as root and set `user`, let systemd hand the socket over, grant "
                "CAP_NET_BIND_SERVICE, or choose a port from 1024.",
            )
        case errno.EADDRNOTAVAIL:
            return Unavailable(
                f"{what}: no interface of this machine has that address",
                hint=f'":{address.port}" listens on every interface.',
            )
        case errno.EAFNOSUPPORT:
            return Unavailable(f"{what}: this machine has no IPv6")
        case errno.ENOENT | errno.ENOTDIR if address.path:
            return CannotCreate(f"{what}: {reason}", hint="Its folder has to exist.")
    return SystemFailure(f"{what}: {reason}")
