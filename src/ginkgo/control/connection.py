"""One client's connection to the control plane: bytes in, requests out, answers back.

    reading ──a whole request──> answering ──the answer──> writing ──all taken──> reading
       │                         │ a stream: streaming         │ (or the connection ends)
       └───────────── it took too long, or is no HTTP ────────┴──> lingering ──> closed

h11 reads and writes HTTP/1.1; this class moves the bytes, keeps the limits, and never waits. It
does not know the poller: after each call the server looks at `interest` (what to wait for) and
`deadline` (until when), which is None where there is no hurry: an idle connection wakes nobody.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

import h11

import ginkgo

from .door import Door
from .messages import HEADERS, PROTOCOL, Answer, Peer, Remote, Request, error
from .streams import HEARTBEAT, Stream
from .tls import Tls

CHUNK = 64 << 10

RANKS = {
    "closed": 0,
    "lingering": 0,
    "idle": 1,
    "reading": 2,
    "streaming": 3,
    "writing": 4,
    "answering": 5,
}
"""How much would be lost by dropping a connection in this phase."""


class Limits(NamedTuple):
    """What one client, and all of them together, may take up."""

    connections: int = 32  # at each door; the one that is least at work makes room for the next
    streams: int = 16  # at all doors together
    head: int = 64 << 10  # bytes of a request's line and headers
    request: int = 1 << 20  # bytes of a whole request
    request_time: float = 5.0  # seconds from a request's first byte to its last
    unsent: int = 8 << 20  # bytes of an answer
    answer_time: float = 5.0  # seconds in which a client takes not one byte of its answer
    linger_time: float = 1.0  # seconds for the client to read why it is cut off


class Connection:
    """A connection, from accept to close.

    Args:
        sock: of `native.accept`, or the TLS over one.
        peer: who is at the other end.
        limits: see there.
        door: where it came in.
        handle: called with the connection and each whole request; the answer comes by `answer()`.
        now: monotonic seconds.
    """

    def __init__(
        self,
        sock: socket.socket | Tls,
        peer: Peer | Remote | None,
        limits: Limits,
        door: Door,
        handle: Callable[[Connection, Request], None],
        now: float,
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()  # also once it is closed
        self.peer = peer
        self.phase = "reading"
        self.requests = 0  # handed out so far
        self.stream: Stream | None = None
        self._interest = select.EPOLLIN
        # The first request is due. Later ones may be long in coming.
        self.deadline: float | None = now + limits.request_time
        self.since = now
        self.on_gone: Callable[[], object] | None = None
        self.more = False
        self.door = door
        self._limits = limits
        self._handle = handle
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head)
        self._head: h11.Request | None = None
        self._head_only = False
        self._body = bytearray()
        self._taken = 0  # bytes of the request that is being read
        self._out = bytearray()

    @property
    def interest(self) -> int:
        """The epoll events to wait for."""
        return self._interest | (select.EPOLLOUT if self._tls_unsent else 0)

    @property
    def _tls_unsent(self) -> bool:
        return isinstance(self.sock, Tls) and self.sock.unsent

    @property
    def closed(self) -> bool:
        """Whether there is nothing left to do with it."""
        return self.phase == "closed"

    @property
    def idle(self) -> bool:
        """Whether it waits for a request that has not begun."""
        return self.phase == "reading" and not self._taken

    @property
    def rank(self) -> int:
        """How much would be lost by dropping it."""
        return RANKS["idle" if self.idle else self.phase]

    # -- what happens to it

    def on_event(self, mask: int, now: float) -> None:
        """Go on after the poller has seen `mask` on the socket."""
        if mask & select.EPOLLOUT and self._tls_unsent and not self._push():
            return
        if self.phase == "writing":
            self._flush(now)
        elif self.phase == "streaming" and mask == select.EPOLLOUT:
            self.pump(now)
        elif self.phase == "streaming":  # the client has left
            self.close()
        elif mask == select.EPOLLOUT:
            pass  # it was TLS that had something to send
        elif self.phase == "answering":  # nothing is waited for then but the client's leaving
            self.close()
        elif self.phase == "lingering":
            self._discard()
        else:
            self._read(now)

    def on_deadline(self, now: float) -> None:
        """Give up what took too long."""
        if self.phase == "reading" and self._taken:
            why = f"A request has {self._limits.request_time:g} seconds to arrive."
            self._refuse(408, "The request did not arrive in time", why, "Ask again.", now)
        elif self.stream is not None and not self._out:
            self.stream.comment("still here")
            self.pump(now)
        else:
            self.close()

    def answer(self, answer: Answer, now: float) -> None:
        """Send the answer to the request that was handed out last."""
        if self.phase == "answering":
            self.on_gone = None
            self._send(answer, now)

    def begin(self, stream: Stream, now: float) -> None:
        """Send a stream from now on, as the answer to the request that was handed out last."""
        self.on_gone = None
        self._out += self._head_of(200, [("Content-Type", "text/event-stream")])
        if self._head_only:
            stream.gone()
            self._out += self._http.send(h11.EndOfMessage()) or b""
            self._flush(now)
            return
        self.stream, self.on_gone = stream, stream.gone
        self.phase = "streaming"
        stream.comment("stream")  # so that the client sees at once that it has begun
        self.pump(now)

    def pump(self, now: float) -> None:
        """Send what waits in the stream, as far as the client takes it."""
        while self.phase == "streaming" and self.stream is not None:
            if not self._out:
                self._refill(self.stream)
                self.deadline = now + self._limits.answer_time
            if not self._out:
                self._interest = select.EPOLLRDHUP
                self.deadline = now + HEARTBEAT
                return
            self._flush(now)
            if self._out:
                return

    def _refill(self, stream: Stream) -> None:
        ended = stream.ended  # before what waits is taken: nothing is added after it
        chunk = stream.take()
        if chunk:
            self._out += self._http.send(h11.Data(data=chunk)) or b""
        if ended:
            self._out += self._http.send(h11.EndOfMessage()) or b""
            self.stream, self.on_gone = None, None
            self.phase = "writing"
            stream.gone()

    def turn_away(self, answer: Answer, now: float) -> None:
        """Send an answer that nobody asked for, and end the connection."""
        self._send(answer, now, last=True)

    def advance(self, now: float) -> None:
        """Take up what has been read, as far as one request.

        One at a time, so that a client that sends ahead does not keep the others waiting; `more`
        tells that there is a reason to call again.
        """
        self.more = False
        while self.phase == "reading":
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as problem:
                do = "Use ginkgoctl, or a client that speaks HTTP/1.1."
                self._refuse(problem.error_status_hint, "This is not HTTP", f"{problem}.", do, now)
                break
            if event is h11.NEED_DATA:
                self._await_rest(now)
                break
            if isinstance(event, h11.Request):
                self._head = event
                self._head_only = event.method == b"HEAD"
                self._check_size(_content_length(event), now)
            elif isinstance(event, h11.Data):
                self._body += event.data
                self._check_size(len(self._body), now)
            elif isinstance(event, h11.EndOfMessage):
                self._hand_out()
                break
            else:  # ConnectionClosed, between two requests
                self.close()

    def close(self) -> None:
        """End it now."""
        if self.phase == "closed":
            return
        self.phase = "closed"
        self._interest = 0
        self.deadline = None
        self.sock.close()
        if self.on_gone is not None:
            self.on_gone()

    # -- reading

    def _read(self, now: float) -> None:
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:  # reset by the client
            self.close()
            return
        self.since = now
        if data and self.idle:
            self.deadline = now + self._limits.request_time
        self._taken += len(data)
        try:
            self._http.receive_data(data)
        except RuntimeError:  # what h11 says to more bytes after an end of file
            self.close()
            return
        self.advance(now)

    def _await_rest(self, now: float) -> None:
        begun = len(self._http.trailing_data[0])
        if begun and not self._taken:  # sent ahead, behind the request before
            self._taken = begun
            self.deadline = now + self._limits.request_time
        if self._http.they_are_waiting_for_100_continue:
            go_on = self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                self.sock.send(go_on, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                pass  # it will send without (RFC 9110, 10.1.1)
            except OSError:
                self.close()

    def _check_size(self, body: int, now: float) -> None:
        if body > self._limits.request:
            why = f"A request has at most {self._limits.request} bytes."
            self._refuse(413, "The request is too large", why, "Send less.", now)

    def _hand_out(self) -> None:
        head, body = self._head, bytes(self._body)
        assert head is not None  # h11 gives no end before the beginning  # noqa: S101
        self.requests += 1
        self._head = None
        self._body.clear()
        self._taken = 0
        self.deadline = None
        self.phase = "answering"
        # Only the hang-up is waited for: a client that sends ahead is read when it has had its
        # answer. On TCP a client that left is one whose half of the connection has ended.
        self._interest = select.EPOLLRDHUP if isinstance(self.peer, Remote) else 0
        headers: dict[str, str] = {}
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        method, target = head.method.decode("ascii"), head.target.decode("latin-1")
        self._handle(self, Request(method, target, headers, body, self.peer))

    def _refuse(self, status: int, what: str, why: str, do: str, now: float) -> None:
        self._send(error(status, what, why, do), now, last=True)

    # -- writing

    def _send(self, answer: Answer, now: float, *, last: bool = False) -> None:
        if len(answer.body) > self._limits.unsent:
            why = f"It has {len(answer.body)} bytes; at most {self._limits.unsent} are sent."
            answer = error(
                500, "The answer is too large", why, "Ask for one service, or fewer lines."
            )
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.close()  # half of another answer is out: nothing sensible can follow
            return
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers,
        ]
        if answer.status == 304:  # its length would be that of what is not sent (RFC 9110, 8.6)
            headers = list(answer.headers)
        if last:
            headers.append(("Connection", "close"))
        self._out += self._head_of(answer.status, headers)
        events: list[h11.Event] = []
        if answer.body and not self._head_only:
            events.append(h11.Data(data=answer.body))
        for event in [*events, h11.EndOfMessage()]:
            self._out += self._http.send(event) or b""
        self.deadline = now + self._limits.answer_time
        self._flush(now)

    def _head_of(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        """Return the head of an answer: what each has, and `headers`, which go before it."""
        given = {name for name, _ in headers}
        usual = [(name, value) for name, value in HEADERS if name not in given]
        all_of_them = [
            ("Date", http_date(time.time())),
            ("Server", f"ginkgo/{ginkgo.__version__}"),
            ("Ginkgo-Protocol", str(PROTOCOL)),
            *usual,
            *headers,
        ]
        reason = HTTPStatus(status).phrase
        head = h11.Response(status_code=status, headers=all_of_them, reason=reason)
        return self._http.send(head) or b""

    def _push(self) -> bool:
        """Send what TLS has left to send; False if the connection is at its end."""
        try:
            if isinstance(self.sock, Tls):
                self.sock.push()
        except OSError:
            self.close()
            return False
        return True

    def _flush(self, now: float) -> None:
        try:
            while self._out:
                with memoryview(self._out)[:CHUNK] as part:
                    sent = self.sock.send(part, socket.MSG_NOSIGNAL)
                del self._out[:sent]
                self.deadline = now + self._limits.answer_time
        except BlockingIOError:
            if self.stream is None:
                self.phase = "writing"
            self._interest = select.EPOLLOUT | (select.EPOLLRDHUP if self.stream else 0)
            return
        except OSError:  # the client has left: it is its own loss
            self.close()
            return
        self.since = now
        if self.stream is None:
            self._sent(now)

    def _sent(self, now: float) -> None:
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._head_only = False
            self.more = bool(self._http.trailing_data[0])
            self.phase = "reading"
            self._interest = select.EPOLLIN
            self.deadline = None
            return
        # The client is let to read why before it meets a reset: closing a socket with unread bytes
        # in it resets the connection, and on TCP throws the answer away (RFC 9112, 9.6).
        self.phase = "lingering"
        self._interest = select.EPOLLIN
        self.deadline = now + self._limits.linger_time
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()

    def _discard(self) -> None:
        try:
            if not self.sock.recv(CHUNK):
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()


def _content_length(request: h11.Request) -> int:
    for name, value in request.headers:
        if name == b"content-length":
            return int(value)  # h11 has let nothing through but digits, 20 of them at most
    return 0


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: float) -> str:
    """Return a time as HTTP writes it (RFC 9110, 5.6.7), in English whatever the locale is."""
    at = time.gmtime(seconds)
    return (
        f"{DAYS[at.tm_wday]}, {at.tm_mday:02} {MONTHS[at.tm_mon - 1]} {at.tm_year}"
        f" {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    )
