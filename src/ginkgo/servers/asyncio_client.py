"""A client that keeps its connection, on asyncio; see :mod:`ginkgo.servers.reconnecting`."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from .asyncio_stream import close
from .listening import raised_by
from .reconnecting import Reconnecting, _ConnectionLog, logger


class StreamClient(Reconnecting):
    """A client that calls ``handle(reader, writer)`` with a connection, whenever it has a new one.

    The two are asyncio's. All else is as it is for the clients of the other backends, and so are
    the arguments: see :class:`~ginkgo.servers.reconnecting.Reconnecting`.

    Example:
        >>> class Reader(StreamClient):
        ...     async def handle(self, reader, writer):
        ...         async for line in reader:
        ...             print(line.strip())
    """

    backend = only_on = "asyncio"

    async def _keep_connected(self) -> None:  # type: ignore[override]
        log = _ConnectionLog(self, self._clock)
        waits = self.retry.waits(self._random)
        while not self.async_.stopping:
            self.attempts += 1
            try:
                streams = await self._connect()
            except OSError as error:
                log.away(f"cannot reach {self.address}: {error}")
            else:
                since = self._clock()
                log.there()
                log.away(f"lost the connection to {self.address}: {await self._use(streams)}")
                if self._clock() - since >= self.retry.healthy:
                    waits = self.retry.waits(self._random)
            paused: Any = self._sleep(next(waits))
            await paused

    async def _use(self, streams: Any) -> str:  # type: ignore[override]
        """Call the handler. Returns why the connection is over."""
        reader, writer = streams
        self.connections += 1
        self.connected = True
        try:
            answer = self.handle(reader, writer)
            if inspect.isawaitable(answer):
                await answer
            await close(writer)
            return "the handler is done with it"
        except BaseException as error:
            if isinstance(error, (SystemExit, KeyboardInterrupt)) or _is_cancelled():
                raise  # the task's end is told by its service
            if isinstance(error, (OSError, asyncio.IncompleteReadError)) and (
                raised_by(reader, error) or raised_by(writer, error)
            ):
                return str(error)
            self.failed += 1
            below = error.__traceback__ and error.__traceback__.tb_next  # without our own frame
            logger.error(
                "%s: the handler failed: %s: %s",
                self.path,
                type(error).__name__,
                error,
                exc_info=(type(error), error, below),
            )
            return "its handler failed"
        finally:
            self.connected = False
            writer.transport.abort()

    async def _connect(self) -> Any:
        to = self.address.for_connecting
        options: dict[str, Any] = {}
        if self._context is not None:
            options = {"ssl": self._context, "server_hostname": self.server_hostname}
        try:
            async with asyncio.timeout(self.connect_timeout):
                if to.path:
                    return await asyncio.open_unix_connection(to.path, **options)
                return await asyncio.open_connection(to.host, to.port, **options)
        except TimeoutError as error:
            raise TimeoutError(f"no connection within {self.connect_timeout:g} s") from error
        except UnicodeError as error:
            raise OSError(f"{to.host!r} is no name of a host: {error}") from error

    def _pause(self, seconds: float) -> Any:
        return asyncio.sleep(seconds)


def _is_cancelled() -> bool:
    """Whether this task is told to end: a handler may also await what others have cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
