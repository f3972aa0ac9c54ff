"""The TLS socket that a handler gets, on threads. Imported only where there is TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from .traffic import Traffic, add_traffic

if TYPE_CHECKING:
    from .threading_stream import Connection


class TLSConnection(ssl.SSLSocket):
    """The standard library's, which tells what it has carried when it closes."""

    traffic: Traffic | None = None

    @classmethod
    def around(cls, connection: Connection, context: ssl.SSLContext) -> TLSConnection:
        """Take a connection over; the handshake is still to come."""
        traffic, connection.traffic = connection.traffic, None
        # What context.wrap_socket() does, but for the class: the context may be the user's.
        made: TLSConnection = cls._create(  # type: ignore[attr-defined]
            connection, server_side=True, do_handshake_on_connect=False, context=context
        )
        made.traffic = traffic
        return made

    def _real_close(self, *args: Any) -> None:
        add_traffic(self)
        super()._real_close(*args)  # type: ignore[misc]
