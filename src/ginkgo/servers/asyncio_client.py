"""A client that keeps its connection, on asyncio; see :mod:`ginkgo.servers.reconnecting`."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from .asyncio_stream import close, have_raised
from .reconnecting import Reconnecting


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

    async def _keep_connected(self) -> None:
        await self._stay_connected()

    async def _handle(self, streams: Any) -> None:
        answer = self.handle(*streams)
        if inspect.isawaitable(answer):
            await answer
        await close(streams[1])

    def _is_told_to_end(self, error: BaseException) -> bool:
        task = asyncio.current_task()  # a handler may also await what others have cancelled
        return task is not None and task.cancelling() > 0

    def _was_lost(self, streams: Any, error: BaseException) -> bool:
        return have_raised(error, *streams)

    def _hang_up(self, streams: Any) -> None:
        streams[1].transport.abort()

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
