"""Any server of gevent as a service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent.baseserver import BaseServer

from ..core.errors import ConfigError, UsageError
from ..core.service import Service
from .addresses import Address
from .listen import explained


class ServerWrapper(Service):
    """A service that starts and stops a server which is based on gevent's BaseServer.

    The server binds in :meth:`bind` or at the start: a port that is taken fails the start. At the
    stop it accepts no more. If it was made with a pool, its handlers have `drain_timeout` seconds
    to finish and are killed then; without a pool gevent does not know its handlers, and they go on.
    Ginkgo's own servers do better.

    Args:
        server: the server, or a function that makes it. gevent cannot start a server a second time:
            only with a function can the service be restarted.
        drain_timeout: seconds that the handlers of a pool have at stop.

    Attributes:
        wrapped: the server; None before the first start where a function makes it.

    Raises:
        UsageError: `server` is neither.

    Example:
        >>> from gevent.pywsgi import WSGIServer
        >>> self.add_service(ServerWrapper(WSGIServer(("0.0.0.0", 80), application)))
    """

    backend = only_on = "gevent"

    def __init__(
        self,
        server: BaseServer[Any] | Callable[[], Any],
        *,
        drain_timeout: float = 5.0,
    ) -> None:
        self.drain_timeout = drain_timeout
        self.wrapped: BaseServer[Any] | None = None
        self._make: Callable[[], Any] | None = None
        self._used = False
        if isinstance(server, BaseServer):
            self.wrapped = server
        elif callable(server):
            self._make = server
        else:
            raise UsageError(
                f"ServerWrapper takes a server of gevent, or a function that makes one: {server!r}"
            )

    @property
    def port(self) -> int | None:
        """The port that it listens on; None while that is not known, and for a unix socket."""
        return (self.wrapped.server_port or None) if self.wrapped is not None else None

    def bind(self) -> None:
        """Bind, if it does not listen yet.

        Raises:
            Unavailable: the address is taken, or this machine does not have it.
            PermissionDenied: this user may not bind there.
        """
        server = self._fresh()
        try:
            server.init_socket()
        except OSError as error:
            raise explained(error, Address.of(server.address), self.path) from error

    def unbind(self) -> None:
        """Undo a :meth:`bind` that no start has followed."""
        if self.wrapped is not None and not self._used:
            self.wrapped.close()
            self._used = True

    def do_start(self) -> Any:
        """Bind if need be, and accept."""
        self.bind()
        self._used = True
        self._fresh().start()

    def do_stop(self) -> Any:
        """Accept no more, and end the handlers of a pool."""
        if self.wrapped is not None:
            self.wrapped.stop(self.drain_timeout)

    def _fresh(self) -> BaseServer[Any]:
        """The server that was made for this start."""
        if self.wrapped is None or (self._used and self.wrapped.closed):
            if self._make is None:
                raise ConfigError(
                    f"{self.path}: gevent cannot start {type(self.wrapped).__name__} again",
                    hint="Give ServerWrapper a function that makes the server.",
                )
            self.wrapped = self._make()
            self._used = False
        return self.wrapped
