"""A Python prompt inside the running process, for debugging.

Whoever can connect can do everything that the process can. So it listens where only this machine
can reach it, unless it is told otherwise in so many words, and best on a unix socket, which only
its own user may open: on a loopback address every user of the machine gets in.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

from gevent.backdoor import BackdoorServer as GeventBackdoor
from gevent.socket import socket as gevent_socket

from ..core.errors import ConfigError
from .addresses import Address, AddressLike
from .listen import Listener, bind
from .wrapper import ServerWrapper

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)


class BackdoorServer(ServerWrapper):
    """A server that gives everybody who connects a Python prompt in this process.

    Args:
        address: ``"unix:/run/app/backdoor.sock"``, ``("127.0.0.1", 5001)``; a port alone is one of
            127.0.0.1.
        locals: the names that are there at the prompt.
        banner: what is printed first.
        allow_remote: listen on an address that other machines may reach.

    Raises:
        ConfigError: other machines could reach that address, and `allow_remote` is not given.

    Example:
        >>> self.add_service(BackdoorServer("unix:/run/app/backdoor.sock", {"app": self}))

        $ nc -U /run/app/backdoor.sock
        >>> app.children
    """

    def __init__(
        self,
        address: AddressLike,
        locals: Mapping[str, Any] | None = None,
        banner: str | None = None,
        *,
        allow_remote: bool = False,
    ) -> None:
        super().__init__(self._server, drain_timeout=0.0)
        given = Address.parse(address)
        if not given.path and not given.host and not allow_remote:
            given = Address("127.0.0.1", given.port)
        if not given.is_loopback and not allow_remote:
            raise ConfigError(
                f"a backdoor at {given} could be entered from other machines",
                hint="Use a unix socket or 127.0.0.1; or say allow_remote=True.",
            )
        self._given = given
        self._locals = dict(locals or {})
        self._banner = banner
        self._listener: Listener | None = None

    @property
    def address(self) -> Address:
        """Where it listens; before it is bound, where it is going to."""
        return self._given if self._listener is None else self._listener.address

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while that is not known, and for a unix socket."""
        return self.address.port or None

    def do_start(self) -> Any:
        """Listen, and say so where others can get in."""
        super().do_start()
        if not self._given.path:
            logger.warning(
                "%s: a backdoor is open at %s: who can connect, every user of this machine at "
                "least, can do all that this process can",
                self.path,
                self.address,
            )

    def do_stop(self) -> Any:
        """Listen no more, and end the sessions."""
        self._close_listener()
        super().do_stop()

    def unbind(self) -> None:
        """Undo a :meth:`bind` that no start has followed."""
        self._close_listener()
        super().unbind()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _server(self) -> Any:
        self._listener = bind(self._given, owner=self.path)
        listening = self._listener.socket
        shared = gevent_socket(listening.family, listening.type, fileno=listening.dup().detach())
        server = _Backdoor(shared, locals=self._locals, banner=self._banner)
        server.path = self.path
        return server


class _Backdoor(GeventBackdoor):
    path = ""

    def handle(self, conn: socket.socket, _address: Any) -> None:
        peer = Address.of(_address) if isinstance(_address, tuple) else "a client of the socket"
        logger.info("%s: %s has come in", self.path, peer)
        try:
            super().handle(conn, _address)
        finally:
            logger.info("%s: %s has left", self.path, peer)
