"""The doors of the control plane: where a request came in, and what is asked of it there.

    unix socket     its file lets in whom it lets in, and the kernel says who it is: nothing else
    TCP             Host and Origin of our own, a token where one is set, actions only if allowed

Sources: faults that other projects' consoles had (DNS rebinding, forms of foreign pages, a check
that forgot a method), RFC 6750 (Bearer), RFC 6265bis (cookies, the `__Host-` prefix).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from .messages import Request, reject

if TYPE_CHECKING:
    from .guard import Guard


@dataclass(frozen=True)
class Door:
    """A place where requests come in.

    Attributes:
        names: the Host headers that are let in, in lower case; None for a unix socket, whose file
            is the door and which no name can be rebound to.
        port: where an IP address of this machine with this port is let in as well: no name can be
            rebound to make a browser send that. None where only `names` are.
        actions: whether anything but reading is allowed here.
        guard: who asks for the token; None where none is asked for.
        url: where it is; None for the unix socket.
    """

    names: frozenset[str] | None = None
    port: int | None = None
    actions: bool = True
    guard: Guard | None = None
    url: str | None = None

    def serves(self, host: str) -> bool:
        """Whether a Host header, in lower case, names this instance."""
        if self.names is None or host in self.names:
            return True
        name, colon, port = host.rpartition(":")
        if self.port is None or not colon or port != str(self.port):
            return False
        try:
            ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
        except ValueError:
            return False
        return True


FOREIGN = "A page of another site sent this."
OWN_PAGE = "Open this instance's own page, at / of this address."

UNIX = Door()
"""The unix socket: only its owner and root reach it, and the kernel vouches for them."""


def check_origin(request: Request, door: Door) -> None:
    """Refuse what a foreign web page made a browser send.

    A page can aim requests at any address that its reader's browser reaches, also by a name that it
    has rebound to it (DNS rebinding), but it cannot hide where it comes from (RFC 6454, Fetch
    Metadata). This is asked for every route and method alike.

    Raises:
        Rejection: 403.
    """
    host = request.headers.get("host", "").lower()
    if not door.serves(host):
        reject(
            403,
            f"Host {host!r} is not served here",
            "Only this instance's own names are.",
            "If it is one, name it in the setting control_hosts.",
        )
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host:
        reject(403, f"Origin {origin!r} may not ask here", FOREIGN, OWN_PAGE)
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        reject(403, "A cross-site request was refused", FOREIGN, OWN_PAGE)


def own_names(host: str, port: int, more: tuple[str, ...]) -> frozenset[str]:
    """Return the Host headers that are let in at an address.

    Args:
        host: what the listener is bound to, without brackets.
        port: where it listens.
        more: further names, each for this port, for a port of its own (`name:8080`), or for the
            default one where a proxy stands before us.
    """
    shown = f"[{host}]" if ":" in host else host
    local = {"localhost", "127.0.0.1", "[::1]", shown}
    names = {f"{name}:{port}" for name in local}
    if port in (80, 443):
        names |= local
    for name in more:
        names |= {name.lower(), f"{name.lower()}:{port}"}
    return frozenset(names)
