"""A web server for ASGI applications, with uvicorn's protocols.

uvicorn reads requests and calls the application. The listening socket, what comes in, how it stops
and where its log goes are Ginkgo's. Its own `Server`, with its signal handlers and its timer, is
not used.

Source: the ASGI specification (https://asgi.readthedocs.io), its lifespan protocol too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Coroutine
from email.utils import formatdate
from time import monotonic
from typing import Any, Unpack

from ..core.errors import ApplicationFailed, ConfigError
from ..core.tasks import is_coroutine_function
from .asyncio_stream import ProtocolServer, connection_of
from .kinds import ConnectionOptions
from .listening import CUT_TIME, FIRST_WORD, given_or_own
from .traffic import Durations

try:
    from uvicorn.config import Config
    from uvicorn.server import ServerState
except ImportError as error:
    raise ConfigError(
        "ASGIServer, and WSGIServer on asyncio, need uvicorn, which is not installed: "
        'pip install "ginkgo[asyncio]"',
    ) from error

error_logger = logging.getLogger("uvicorn.error")
# The steps of a lifespan are those of the service, which tells them itself.
lifespan_logger = logging.getLogger("uvicorn.lifespan")
lifespan_logger.setLevel(logging.WARNING)


class ASGIServer(ProtocolServer):
    """A server that answers HTTP requests and WebSockets with an ASGI application.

    The application's lifespan is supported: the server is ready when its startup is complete, and
    a startup that fails fails the start. When the server stops, idle connections are closed, and
    requests under way have `drain_timeout` seconds. In a tree that runs on gevent the application
    runs on the bridge.

    Args:
        address: as for :class:`~ginkgo.servers.asyncio_stream.StreamServer`, as are the arguments
            for TLS, limits and drain.
        application: ``await application(scope, receive, send)``; None when the subclass has a
            method `application`.
        access_log: write a line for each request to the logger ``uvicorn.access``.
        lifespan: ``auto``, ``on`` or ``off``: uvicorn's setting.
        uvicorn: more of uvicorn's settings, ``{"root_path": "/api"}``.

    Attributes:
        requests: requests that have ended, those too whose client left before the answer.
        failed: requests for which the application raised.

    Example:
        >>> app = Starlette(...)
        >>> def AppServer():
        ...     return ASGIServer(":8000", app)
    """

    backend: str | None = None
    only_on: str | None = None  # it brings its loop along

    def __init__(
        self,
        address: Any,
        application: Any = None,
        *,
        access_log: bool = False,
        lifespan: Any = "auto",
        uvicorn: dict[str, Any] | None = None,
        **options: Unpack[ConnectionOptions],
    ) -> None:
        super().__init__(address, **options)
        given_or_own(
            self, ASGIServer.application, application, f"at {self._address} has no application"
        )
        given = {} if self._is_given(application) else {"interface": "asgi3"}
        self._config = Config(
            self._called(),
            access_log=access_log,
            lifespan=lifespan,
            log_config=None,
            **(given | (uvicorn or {})),
        )
        self._durations: Durations = Durations()
        self._lifespan: Any = None
        self._life: asyncio.Task[Any] | None = None
        self._level = logging.NOTSET
        self._shared: Shared

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request. A subclass writes it, unless the constructor gets a function."""
        raise NotImplementedError

    def _is_given(self, application: Any) -> bool:
        """Whether uvicorn has to find out which version of ASGI it speaks.

        It takes a method for an application of version 2, whatever its arguments are.
        """
        return application is not None and not is_coroutine_function(application)

    def _called(self) -> Any:
        """What uvicorn calls."""
        return self.application

    @property
    def requests(self) -> int:
        """How many requests have ended, since the server was made."""
        return self._durations.total

    def do_start(self) -> Any:
        """Listen, start the application up, and answer."""
        self.bind()
        return self._on_loop(self._come_up())

    def do_stop(self) -> Any:
        """Answer what is under way, and shut the application down."""
        return self._on_loop(self._come_down())

    def _on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Awaited on asyncio; elsewhere run to its end on the bridge."""
        return work if asyncio._get_running_loop() is not None else self.async_.run(work)

    async def _come_up(self) -> None:
        self._set_level()
        if not self._config.loaded:
            self._config.load()
            self._config.loaded_app = self._counting(self._config.loaded_app)
        self._shared = Shared(self._config)
        lifespan: Any = self._config.lifespan_class(self._config)
        lifespan.logger = lifespan_logger
        if hasattr(lifespan, "main"):
            lifespan.main = self._living(lifespan.main)
        try:
            await lifespan.startup()
        except BaseException:  # raised again, a cancellation too
            await self._end_life()  # uvicorn lets it go on
            raise
        if lifespan.should_exit:
            raise ApplicationFailed(
                f"{self.path}: the application's startup failed",
                hint="The log of uvicorn.lifespan has its traceback.",
            )
        self._lifespan = lifespan
        super().do_start()

    def do_reload(self) -> Any:
        """Take a new certificate and a new level of the log, if there are any."""
        super().do_reload()
        self._set_level()

    def _set_level(self) -> None:
        """uvicorn takes a logger without a level of its own for one that traces every step."""
        level = logging.getLogger("uvicorn").getEffectiveLevel()
        if error_logger.level in (logging.NOTSET, self._level):
            error_logger.setLevel(level)
            self._level = level

    async def _come_down(self) -> None:
        try:
            await super().do_stop()
        finally:
            lifespan, self._lifespan = self._lifespan, None
            if lifespan is not None:
                await _end(await _not_ended(self._shared.tasks))
                try:
                    await lifespan.shutdown()
                finally:
                    await self._end_life()

    def _counting(self, application: Any) -> Any:
        """The application; how long each request takes, and whether it raises, is counted."""
        durations = self._durations

        async def count(scope: Any, receive: Any, send: Any) -> Any:
            if scope["type"] != "http":
                return await application(scope, receive, send)
            began = monotonic()
            try:
                return await application(scope, receive, send)
            except Exception:  # raised again: it is counted here, and told by uvicorn
                self._request_failed()
                raise
            finally:
                durations.add(monotonic() - began)

        return count

    def _request_failed(self) -> None:
        self.failed += 1

    def _living(self, main: Any) -> Any:
        """The application's lifespan, as a coroutine function that can be found again."""

        async def live() -> None:
            self._life = asyncio.current_task()
            await main()

        return live

    async def _end_life(self) -> None:
        """End what the application still does in its lifespan."""
        life, self._life = self._life, None
        if life is not None and not life.done():
            await _end([life])

    def make_protocol(self) -> Any:
        """Make the protocol of a new connection."""
        return self._config.http_protocol_class(  # type: ignore[call-arg]
            config=self._config,
            server_state=self._shared,
            app_state=self._lifespan.state,
            _loop=self._loop,
        )


async def _not_ended(tasks: Collection[asyncio.Task[Any]]) -> Collection[asyncio.Task[Any]]:
    """The tasks that do not end by themselves, though the last of their answer has been sent."""
    left = {task for task in tasks if not task.done()}
    if left:
        _, left = await asyncio.wait(left, timeout=FIRST_WORD)
    return left


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """End tasks of the application, in so far as they let themselves be ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CUT_TIME)


class Shared(ServerState):
    """What the connections of a server share. Its `date` header is made when it is needed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._second = 0
        self._headers: list[tuple[bytes, bytes]] = []
        super().__init__()
        self.connections: Any = Protocols()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            date = [(b"date", formatdate(now, usegmt=True).encode())]
            self._headers = (
                date if self._config.date_header else []
            ) + self._config.encoded_headers
        return self._headers

    @default_headers.setter
    def default_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        """uvicorn's constructor sets it; nobody else does."""


class Protocols(set[Any]):
    """The protocols that are connected.

    A connection that becomes a WebSocket gets another protocol: the one leaves, and the other comes
    at once. Its connection is watched as that of the first was.
    """

    _left: Any = None

    def discard(self, protocol: Any) -> None:
        super().discard(protocol)
        self._left = connection_of(protocol)

    def add(self, protocol: Any) -> None:
        super().add(protocol)
        if connection_of(protocol) is None and self._left is not None:
            self._left.watch(protocol)
