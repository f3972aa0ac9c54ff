"""The doors of the control plane: where a request came in, and what is asked of it there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Door:
    """A place where requests come in.

    Attributes:
        names: the Host headers that are let in; None for a unix socket, whose file is the door and
            which no name can be rebound to.
        actions: whether anything but reading is allowed here.
    """

    names: frozenset[str] | None = None
    actions: bool = True


UNIX = Door()
"""The unix socket: only its owner and root reach it, and the kernel vouches for them."""
