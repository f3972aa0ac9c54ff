"""The control server: the API on a unix socket, and on TCP if it is set, from its own thread.

    clients ──> control.sock ──> the control thread ──> Api ──status, tree──> Instance (only read)
                                   ^        ^            └──reload, stop──> posted to its own loop
                            answers, states posted back

The thread answers while the application's loop is blocked, so it never waits for that loop and uses
nothing that belongs to it: native locks and sockets only, no `logging`, no import once it runs.
While nobody asks, it sleeps; nothing polls.

The socket's file is watched: when a cleaner of old files takes it away, a new one is made.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
import traceback
import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import cache, partial
from http import HTTPStatus

from ginkgo.async_ import native
from ginkgo.core.errors import GinkgoError, SystemFailure

from .api import Api, Call, Route
from .connection import Connection, Limits
from .door import UNIX, Door
from .inotify import RemovalWatch
from .instance import Instance
from .loop import NAME, Loop
from .messages import Answer, Peer, Request, error, stopped
from .peers import peer_of, remote_of
from .routes_page import files
from .socketfile import SocketFile
from .streams import Stream
from .tcp import Entrance, Tcp, open_entrance
from .tls import Tls

CLOSING_TIME = 0.5
"""Seconds that `close` gives to answers under way."""

REPORT_PERIOD = 10.0
"""Seconds in which what strangers can cause is reported once."""


class ControlServer:
    """Serves the API of one instance on `control.sock` in its runtime folder.

    Start it after privileges have been dropped: the file belongs to whoever the process is then.

    Args:
        folder: path or descriptor of the runtime folder.
        instance: what is asked and told.
        report: told of the server's own failures, in whole sentences, from the control thread: it
            must return at once, and hand the text to the application's loop. The default writes
            to standard error.
        audit: told of each request that changes something, and by whom; likewise.
        routes: what can be asked, if not the usual.
        limits: what clients may take up.
        tcp: the address to listen on besides; None for the unix socket alone.

    Example:
        server = ControlServer("/run/ginkgo/app", instance)
        server.start()
        ...
        server.close()
    """

    def __init__(
        self,
        folder: int | str | os.PathLike[str],
        instance: Instance,
        *,
        report: Callable[[str], None] | None = None,
        audit: Callable[[str], None] | None = None,
        routes: Iterable[Route] | None = None,
        limits: Limits | None = None,
        tcp: Tcp | None = None,
    ) -> None:
        self._folder = folder
        self._instance = instance
        self._report = report or _to_stderr
        self._audit = audit
        self._routes = routes
        self._limits = limits or Limits()
        self._tcp = tcp
        self._entrances: list[Entrance] = []  # the unix socket is the first of them
        self._connections: dict[int, Connection] = {}
        self._settled: dict[int, tuple[int, float | None, Callable[[], None]]] = {}
        self._thread: native.NativeThread | None = None
        self._owned = ExitStack()  # the descriptors
        self._spare: int | None = None
        self._refused_at = -REPORT_PERIOD
        self._end: float | None = None  # when the thread has to be at its end
        self._pid = 0

    # -- for the application

    def start(self) -> None:
        """Make the socket and start the thread.

        Raises:
            CannotCreate: the socket cannot be made, or another process answers on it.
            SystemFailure: the process is out of descriptors or threads.
        """
        try:
            with ExitStack() as self._owned:
                self._open()
                self._thread = native.start_thread(self._run, name=NAME)
                self._owned = self._owned.pop_all()
        except (OSError, RuntimeError) as problem:
            raise SystemFailure(f"the control server cannot start: {problem}") from problem
        self._pid = os.getpid()
        _forget_when_forked(self)
        self._api.open()

    def _open(self) -> None:
        self._file = SocketFile(self._folder)
        self._owned.callback(self._file.close)
        self._entrances = [Entrance(self._file.create(), UNIX)]
        self._owned.callback(self._close_listeners)
        self._owned.callback(self._file.remove)
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._owned.callback(self._drop_spare)
        self._loop = Loop(self._report)
        self._owned.callback(self._loop.close)
        self._api = Api(self._instance, self._loop, routes=self._routes, audit=self._audit)
        if self._tcp is not None:
            files()  # the page, read here and not by the thread
            self._entrances.append(open_entrance(self._tcp))
        self._api.url = self.url
        self._listen()
        self._watch_folder()

    @property
    def url(self) -> str | None:
        """The TCP address, as a browser takes it; None if there is none."""
        return next((one.door.url for one in self._entrances if one.door.url), None)

    def reload_certificates(self) -> None:
        """Use certificates that are in their files by now; connections that exist keep theirs.

        Raises:
            ConfigError: a file is not what it should be; the old one stays in use.
        """
        for entrance in self._entrances:
            if entrance.certificate is not None:
                entrance.certificate.reload()

    def close(self, timeout: float = 2.0) -> None:
        """Take the socket away, answer who still waits, and end the thread.

        Args:
            timeout: seconds after which the thread is left alone, which is reported.
        """
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._loop.post(self._begin_closing)
        if not thread.join(timeout):
            self._report(f"The control thread did not end in {timeout:g} s and is left alone.")

    def withdraw(self) -> None:
        """Take the socket away at once, for an end of the process without unwinding."""
        if self._thread is not None:
            self._end = time.monotonic()  # so that the file is not made again
            self._file.remove()

    # -- the thread

    def _run(self) -> None:
        try:
            self._loop.run(self._finished)
        except BaseException:  # raised; but a native thread has nobody who would tell it
            self._report(f"The control thread has ended:\n{traceback.format_exc()}")
            raise
        finally:
            for connection in list(self._connections.values()):
                connection.close()
            self._owned.close()

    def _finished(self) -> bool:
        if self._end is None:
            return False
        writing = any(one.phase == "writing" for one in self._connections.values())
        return not (self._loop.busy or writing) or time.monotonic() >= self._end

    def _begin_closing(self) -> None:
        self._end = time.monotonic() + CLOSING_TIME
        self._loop.after(CLOSING_TIME, self._drop_spare)  # only to wake up by then
        self._file.remove()
        self._stop_listening()
        self._api.close()
        self._loop.post(self._dismiss)  # behind the answers that are posted by now

    def _dismiss(self) -> None:
        now = time.monotonic()
        for connection in list(self._connections.values()):
            if connection.stream is not None:
                connection.stream.end()
                connection.pump(now)
            if connection.phase == "answering":
                connection.answer(stopped(), now)
            if connection.phase != "writing":
                connection.close()
            self._settle(connection)

    # -- connections

    def _listen(self) -> None:
        for entrance in self._entrances:
            fd = entrance.listener.fileno()
            if not self._loop.watches(fd):
                self._loop.watch(fd, select.EPOLLIN, partial(self._on_newcomers, entrance))

    def _stop_listening(self) -> None:
        for entrance in self._entrances:
            self._loop.unwatch(entrance.listener.fileno())

    def _close_listeners(self) -> None:
        for entrance in self._entrances:
            entrance.listener.close()

    def _on_newcomers(self, entrance: Entrance, _mask: int) -> None:
        self._accept(entrance)

    def _accept(self, entrance: Entrance) -> None:
        for _ in range(self._limits.connections):
            try:
                sock = native.accept(entrance.listener)
            except OSError as problem:
                self._out_of_descriptors(entrance, problem)
                return
            if sock is None:
                return
            self._admit(sock, entrance)

    def _admit(self, sock: socket.socket, entrance: Entrance) -> None:
        now = time.monotonic()
        peer = peer_of(sock) if entrance.door is UNIX else remote_of(sock)
        if peer is None:  # gone already
            sock.close()
            return
        self._make_room(entrance.door, now)
        context = entrance.context
        over = sock if context is None else Tls(sock, context)
        connection = Connection(over, peer, self._limits, entrance.door, self._on_request, now)
        self._connections[connection.fd] = connection
        self._settle(connection)
        if isinstance(peer, Peer) and peer.uid not in (0, os.geteuid()):
            self._refuse_stranger(connection, peer, now)

    def _refuse_stranger(self, connection: Connection, peer: Peer, now: float) -> None:
        why = f"It belongs to uid {os.geteuid()}; you are uid {peer.uid}."
        do = "Ask as its user, or as root."
        connection.turn_away(error(403, "This is not your instance", why, do), now)
        self._settle(connection)
        self._report_seldom(f"Refused {peer} on the control socket.", now)

    def _report_seldom(self, text: str, now: float) -> None:
        if now - self._refused_at >= REPORT_PERIOD:
            self._refused_at = now
            self._report(text)

    def _make_room(self, door: Door, now: float) -> None:
        """Drop the connection with least to lose, the oldest of them: a newcomer always gets in.

        Each door has room of its own: whoever comes over TCP crowds nobody out of the unix socket.
        """
        there = [one for one in self._connections.values() if one.door is door]
        if len(there) < self._limits.connections:
            return
        victim = min(there, key=lambda one: (one.rank, one.since))
        if victim.phase == "answering":
            why = f"{self._limits.connections} connections are open, and this waited longest."
            victim.answer(error(503, "Dropped to make room", why, "Ask again."), now)
        victim.close()
        self._settle(victim)

    def _settle(self, connection: Connection) -> None:
        """Bring the loop in line with what the connection wants by now."""
        fd, interest, deadline = connection.fd, connection.interest, connection.deadline
        if self._connections.get(fd) is not connection:
            return  # closed and settled before
        before, due, cancel = self._settled.get(fd, (None, None, _nothing))
        if connection.closed:
            cancel()
            del self._connections[fd], self._settled[fd]
            self._loop.unwatch(fd, closed=True)
            self._get_spare()
            return
        if before is None:
            self._loop.watch(fd, interest, partial(self._on_event, connection))
        elif before != interest:
            self._loop.change(fd, interest)
        if deadline != due:
            cancel()
            cancel = _nothing
            if deadline is not None:
                left = deadline - time.monotonic()
                cancel = self._loop.after(left, partial(self._on_deadline, connection))
        self._settled[fd] = (interest, deadline, cancel)
        if connection.more:
            self._loop.post(partial(self._advance, connection))

    def _on_event(self, connection: Connection, mask: int) -> None:
        connection.on_event(mask, time.monotonic())
        self._settle(connection)

    def _on_deadline(self, connection: Connection) -> None:
        connection.on_deadline(time.monotonic())
        self._settle(connection)

    def _advance(self, connection: Connection) -> None:
        connection.advance(time.monotonic())
        self._settle(connection)

    # -- requests

    def _on_request(self, connection: Connection, request: Request) -> None:
        def reply(answer: Answer) -> None:
            self._loop.post(partial(self._answer, connection, number, call, answer))

        number = connection.requests
        call = Call(self._api, request, reply, connection.door)
        try:
            answer = self._api.handle(call)
        except Exception:  # noqa: BLE001 - reported, and answered
            what = f"{request.method} {request.target[:200]}"
            self._report(f"The control plane failed at {what!r}:\n{traceback.format_exc()}")
            why = "It is a fault of the instance; its log has the traceback."
            answer = error(500, "The request failed", why, "`ginkgoctl TARGET logs` shows it.")
        if isinstance(answer, Stream):
            self._begin_stream(connection, call, answer)
        elif answer is not None:
            now = time.monotonic()
            if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
                self._report_seldom(f"Too many wrong tokens come from {request.peer}.", now)
            self._api.count(call, answer.status)
            connection.answer(answer, now)
        else:
            connection.on_gone = call.on_gone

    def _begin_stream(self, connection: Connection, call: Call, stream: Stream) -> None:
        now = time.monotonic()
        if sum(one.stream is not None for one in self._connections.values()) < self._limits.streams:
            stream.open(lambda: self._loop.post(partial(self._pump, connection)))
            self._api.count(call, HTTPStatus.OK)
            connection.begin(stream, now)
            return
        stream.gone()
        self._api.count(call, HTTPStatus.SERVICE_UNAVAILABLE)
        why = f"{self._limits.streams} streams are open."
        connection.answer(error(503, "No further stream", why, "Ask without one."), now)

    def _pump(self, connection: Connection) -> None:
        connection.pump(time.monotonic())
        self._settle(connection)

    def _answer(self, connection: Connection, number: int, call: Call, answer: Answer) -> None:
        # Not yet answered, and not the next one's answer.
        if connection.requests == number and connection.phase == "answering":
            self._api.count(call, answer.status)
            connection.answer(answer, time.monotonic())
            self._settle(connection)

    # -- when the process has used up its descriptors

    def _out_of_descriptors(self, entrance: Entrance, problem: OSError) -> None:
        """Answer one client all the same: just now it matters how the process is doing."""
        if problem.errno in (errno.EMFILE, errno.ENFILE) and self._spare is not None:
            self._drop_spare()
            self._accept(entrance)
            return
        # The listener stays readable: watched, it would wake the loop without end.
        self._loop.unwatch(entrance.listener.fileno())
        self._loop.after(1.0, self._listen_again)

    def _listen_again(self) -> None:
        if self._end is None:
            self._listen()

    def _drop_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _get_spare(self) -> None:
        if self._spare is None and self._end is None:
            with suppress(OSError):
                self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._listen_again()

    # -- the socket's file

    def _watch_folder(self) -> None:
        try:
            watch = RemovalWatch(self._file.in_folder("."))
        except OSError as problem:
            self._report(
                f"{self._file.readable} is not watched and would not be made again if it were"
                f" removed: {problem.strerror}."
            )
            return

        def look(_mask: int) -> None:
            watch.drain()
            if self._end is None:
                self._make_again()

        self._owned.callback(watch.close)
        self._loop.watch(watch.fd, select.EPOLLIN, look)

    def _make_again(self) -> None:
        if self._file.state() != "missing":
            return
        try:
            listener = self._file.create()
        except GinkgoError as problem:
            self._report(f"Signals still work, but {problem}.")
            return
        # The old one goes last: who is in its queue was let in by a name that was good.
        old = self._entrances[0]
        self._accept(old)
        self._loop.unwatch(old.listener.fileno())
        old.listener.close()
        self._entrances[0] = Entrance(listener, UNIX)
        self._listen()
        self._report(f"{self._file.readable} had been removed and was made again.")

    # -- forked children

    def forget(self) -> None:
        """In a forked child: let go of what belongs to the parent, touching none of it.

        Only closing will do. The epoll set is shared with the parent: taking something out of it
        here would take it out there.
        """
        self._thread = None
        for connection in self._connections.values():
            connection.sock.close()
        self._file.disown()
        self._loop.close_in_child()
        self._owned.close()


_servers: weakref.WeakSet[ControlServer] = weakref.WeakSet()


@cache
def _register_at_fork() -> None:
    os.register_at_fork(after_in_child=_forget_all)  # for good: it cannot be taken back


def _forget_when_forked(server: ControlServer) -> None:
    _register_at_fork()
    _servers.add(server)


def _forget_all() -> None:
    for server in list(_servers):
        server.forget()


def _nothing() -> None:
    pass


def _to_stderr(text: str) -> None:
    os.write(2, f"ginkgo: {text}\n".encode(errors="backslashreplace"))
