"""What the servers on gevent have in common; :mod:`ginkgo.servers.serving` says how they stop."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from .listening import BREATHER
from .serving import BaseHandler, Serving, out_of_resources

if TYPE_CHECKING:
    _Greenlet = gevent.Greenlet[..., Any]
else:
    _Greenlet = gevent.Greenlet


class Handler(BaseHandler, _Greenlet):
    """The greenlet that handles one connection or one datagram."""

    __slots__ = ()

    spawning_stack_limit = 0  # it would always be the way from the loop to here

    @property
    def where(self) -> str:
        frame = self.gr_frame
        return "".join(traceback.format_stack(frame)).rstrip() if frame else ""


class Server(Serving):
    """A server on gevent; see :class:`~ginkgo.servers.listening.Listening`."""

    backend = only_on = "gevent"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watcher: Any = None
        self._timer: Any = None
        self._paused = False

    # -- taking in, in the hub -------------------------------------------------------------------

    def do_start(self) -> Any:
        """Listen, and take in."""
        self.bind()
        assert self._listener is not None  # noqa: S101 - for the type checker
        loop = gevent.get_hub().loop
        # Repeating, because libev starts a timer that has fired once with no time left.
        self._timer = loop.timer(BREATHER, BREATHER)
        self._watcher = loop.io(self._listener.socket.fileno(), 1)
        self._paused = True
        self._resume()

    def _pause(self) -> None:
        self._paused = True
        self._watcher.stop()

    def _resume(self) -> None:
        if self._paused and self._watcher is not None:
            self._paused = False
            self._timer.stop()
            self._watcher.start(self._readable)

    _has_room = _resume

    def _cannot_take_in(self, error: Exception) -> None:
        if out_of_resources(error):
            self._timer.again(self._resume)
            self.spawn(self._complain, error)  # the log may have to wait for a lock
        else:
            self.spawn(self._fail, error)

    def _serve(self, handler: Handler) -> None:
        handler.start()

    # -- stopping --------------------------------------------------------------------------------

    def _look_no_more(self) -> None:
        if self._watcher is not None:
            self._paused = False
            for watcher in (self._watcher, self._timer):
                watcher.stop()
                watcher.close()
            self._watcher = self._timer = None

    def _event(self) -> Event:
        return Event()

    async def _emptied_within(self, seconds: float) -> bool:
        return bool(self._emptied.wait(seconds))

    async def _end(self, victims: list[Any], patience: float) -> list[Any]:
        gevent.killall(victims, block=False)
        if patience:
            gevent.joinall(victims, timeout=patience / 2)
        for handler in victims:
            handler.hang_up()  # what swallowed the kill meets an error now
        if patience:
            gevent.joinall(victims, timeout=patience / 2)
        return [handler for handler in victims if patience and not handler.dead]
