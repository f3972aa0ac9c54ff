"""The other end of the control socket: a small blocking client for the manager.

    with Client(folder, pid=4711) as client:
        client.get("/api/v1/status")

Each way of not getting an answer is an error of its own, because each has another remedy:

    Unreachable     nobody listens, or there is no socket          signals still work
    NotAnswering    the process is there and silent: stopped (T), hung
    PermissionDenied  it is another user's
    Busy            it said: not now
    Refused         it said no, and why
    Skewed          what answers does not speak this protocol

HTTP is read by hand here, the little that the control server sends: importing h11 would double the
time of `ginkgoctl status`. So this is no client for anything else.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from typing import Any, NamedTuple

from ginkgo.core.errors import (
    GinkgoError,
    PermissionDenied,
    TargetNotFound,
    TemporaryFailure,
    Unavailable,
    UsageError,
)
from ginkgo.process.pids import state_letter

from .messages import PROTOCOL

SOCKET = "control.sock"

LIMIT = 64 << 20
"""Bytes of an answer; a tree of 100,000 services has 20 million."""

TIMEOUT = 5.0
"""Seconds for an answer. The server gives it in milliseconds, whatever its application does."""

STATES = {
    "T": "stopped by a signal",
    "t": "stopped by a debugger",
    "D": "waiting for a device or a network file system",
    "Z": "a zombie",
    "R": "running",
    "S": "sleeping",
}
"""What the letters in /proc/PID/stat mean (proc_pid_stat(5), field 3)."""


class Unreachable(Unavailable):
    """Nobody listens on the control socket, or it is not there."""

    def __init__(self, message: str) -> None:
        hint = "`ginkgoctl TARGET status` says whether it runs; `ginkgoctl TARGET stop` ends it"
        super().__init__(message, hint=hint)


class NotAnswering(TemporaryFailure):
    """The process is there, and does not answer.

    Args:
        pid: its number, where it is known.
        waited: seconds.
    """

    def __init__(self, pid: int | None, waited: float) -> None:
        self.pid = pid
        self.letter = None if pid is None else state_letter(pid)
        who = "the instance" if pid is None else f"pid {pid}"
        state = STATES.get(self.letter or "", "")
        condition = f" ({state}: {self.letter})" if state else ""
        hint = None
        if self.letter in ("T", "t"):
            hint = f"`kill -CONT {pid}` lets it go on"
        elif pid is not None:
            hint = (
                f"look at it with `ginkgoctl -p {pid} log`, end it with `ginkgoctl -p {pid} stop`"
            )
        super().__init__(
            f"{who} is running, but not answering for {waited:.1f} s{condition}", hint=hint
        )


class Busy(TemporaryFailure):
    """The instance does something else just now."""


class Refused(GinkgoError):
    """The instance said no.

    Args:
        message: what and why, in its words.
        answer: all that it said.
    """

    def __init__(self, message: str, answer: dict[str, Any], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.answer = answer


class NoSuchThing(Refused, TargetNotFound):
    """It has no service of that path, or nothing else of that name."""


class Misunderstood(Refused, UsageError):
    """It cannot make sense of what was asked for."""


class Skewed(GinkgoError):
    """What answers is of another version, or no Ginkgo at all."""


class Reply(NamedTuple):
    """An answer, whatever it says."""

    status: int
    content: dict[str, Any]
    protocol: int | None


class Client:
    """A connection to the control socket in a runtime folder, made when it is needed.

    Args:
        folder: the runtime folder's path.
        pid: the instance's process, for what errors say about it.
        timeout: seconds for an answer, unless a call says otherwise.
    """

    def __init__(self, folder: str, *, pid: int | None = None, timeout: float = TIMEOUT) -> None:
        self.folder = folder
        self.pid = pid
        self.timeout = timeout
        self._sock: socket.socket | None = None

    def get(self, path: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Ask for something and return the answer.

        Asked once more on a new connection when the first was cut: a server that is beset drops
        connections, and reading twice does no harm.

        Raises:
            Unreachable, NotAnswering, PermissionDenied, Busy, Refused, Skewed: see the module.
        """
        try:
            return self._accepted(self.ask("GET", path, timeout=timeout))
        except (ConnectionError, EOFError):
            return self._accepted(self._settled("GET", path, None, timeout))

    def post(
        self, path: str, body: dict[str, Any] | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """Have something done and return the answer; raises as `get` does."""
        return self._accepted(self._settled("POST", path, body, timeout))

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Reply:
        """Send a request and return the answer, also one that says no.

        Raises:
            Unreachable, NotAnswering, PermissionDenied, Skewed: there is no answer.
            ConnectionError, EOFError: the connection was cut instead of an answer.
        """
        seconds = self.timeout if timeout is None else timeout
        exchange = Exchange(time.monotonic(), seconds, self.pid)
        try:
            if self._sock is None:
                self._sock = exchange.connect(self.folder)
            exchange.send(self._sock, request(method, path, body))
            reply = exchange.receive(self._sock)
        except BaseException:  # raised: half of an answer would be taken for the next one's
            self.close()
            raise
        return reply

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _settled(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float | None
    ) -> Reply:
        try:
            return self.ask(method, path, body, timeout=timeout)
        except (ConnectionError, EOFError) as problem:
            raise Unreachable(f"the instance hung up instead of answering {path}") from problem

    def _accepted(self, reply: Reply) -> dict[str, Any]:
        if reply.status < 400:
            return reply.content
        raise failure(reply)


def request(
    method: str, path: str, body: dict[str, Any] | None, headers: tuple[str, ...] = ()
) -> bytes:
    """Return a request as it is sent."""
    content = b"" if body is None else json.dumps(body).encode("ascii")
    lines = [f"{method} {path} HTTP/1.1", "Host: ginkgo", *headers]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + content


UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""What stands for itself in an address (RFC 3986, 2.3)."""


def query(path: str, /, **values: object) -> str:
    """Return a path with a query of those values that are not None.

    >>> query("/api/v1/events", path="App/Db", limit=10, kind=None)
    '/api/v1/events?path=App%2FDb&limit=10'
    """
    pairs = "&".join(f"{name}={quoted(str(v))}" for name, v in values.items() if v is not None)
    return f"{path}?{pairs}" if pairs else path


def quoted(text: str) -> str:
    """Return `text` as it may stand in an address, percent-encoded (RFC 3986, 2.1)."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(one) if one in UNRESERVED else f"%{one:02X}" for one in data)


def failure(reply: Reply) -> GinkgoError:
    """Return the error for an answer that says no."""
    told = reply.content.get("error")
    parts = told if isinstance(told, dict) else {}
    what = str(parts.get("what", f"the instance answered with status {reply.status}"))
    why = str(parts.get("why", "")).removesuffix(".")
    message = f"{what}: {why}" if why else what
    hint = str(parts.get("do") or "").removesuffix(".") or None
    if reply.status in (404, 405) and reply.protocol not in (None, PROTOCOL):
        return Skewed(
            f"{message} (it speaks protocol {reply.protocol}, this ginkgoctl {PROTOCOL})",
            hint="restart the instance, or use the ginkgoctl that it was started with",
        )
    if reply.status == 403:
        return PermissionDenied(message, hint=hint or "ask as its user, or as root")
    if reply.status == 503 or reply.content.get("outcome") == "busy":
        return Busy(message, hint=hint or "try again")
    kind = {400: Misunderstood, 404: NoSuchThing}.get(reply.status, Refused)
    return kind(message, reply.content, hint=hint)


class Exchange:
    """One request and its answer, before a deadline.

    Args:
        began: when, by `time.monotonic`.
        seconds: until the deadline.
        pid: whom errors are about.
    """

    def __init__(self, began: float, seconds: float, pid: int | None) -> None:
        self.began = began
        self.deadline = began + seconds
        self.pid = pid

    def connect(self, folder: str, name: str = SOCKET) -> socket.socket:
        """Return a connection to a socket in a runtime folder, the control socket for example."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # A short path however deep the folder is; and no link in the folder's place.
            fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # connect(2) waits for a place in the listener's queue, and this is how it stops
                # waiting (socket(7)): with a timeout of Python's it would not wait at all.
                micros = max(1, int(self._left() * 1e6))  # 0 would be no limit at all
                timeout = struct.pack("ll", *divmod(micros, 1_000_000))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
                sock.connect(f"/proc/self/fd/{fd}/{name}")
            finally:
                os.close(fd)
        except BaseException as problem:
            sock.close()
            raise self._translated(problem, os.path.join(folder, name)) from problem
        return sock

    def send(self, sock: socket.socket, data: bytes) -> None:
        """Send the request."""
        try:
            sock.settimeout(self._left())
            sock.sendall(data)
        except TimeoutError:
            raise self._silent() from None

    def receive(self, sock: socket.socket) -> Reply:
        """Return the answer."""
        head, rest = self.head(sock)
        status, length, protocol = parse_head(head)
        return Reply(status, self.body(sock, length, rest), protocol)

    def head(self, sock: socket.socket) -> tuple[bytes, bytes]:
        """Return an answer's head, and what of its body has come with it."""
        data = b""
        while b"\r\n\r\n" not in data:
            if len(data) > 64 << 10:
                raise not_ours()
            data += self._more(sock)
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def body(self, sock: socket.socket, length: int, rest: bytes) -> dict[str, Any]:
        """Return an answer's body, of which `rest` has come."""
        parts = [rest]
        missing = length - len(rest)
        while missing > 0:
            parts.append(self._more(sock))
            missing -= len(parts[-1])
        try:
            content = json.loads(b"".join(parts))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise not_ours()
        return content

    def _more(self, sock: socket.socket) -> bytes:
        try:
            sock.settimeout(self._left())
            data = sock.recv(1 << 20)
        except TimeoutError:
            raise self._silent() from None
        if not data:
            raise EOFError
        return data

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self._silent()
        return left

    def _silent(self) -> NotAnswering:
        return NotAnswering(self.pid, time.monotonic() - self.began)

    def _translated(self, problem: BaseException, path: str) -> BaseException:
        if isinstance(problem, FileNotFoundError | NotADirectoryError):
            return Unreachable(f"there is no control socket {path}")
        if isinstance(problem, ConnectionRefusedError):
            return Unreachable(f"nobody listens on the control socket {path}")
        if isinstance(problem, PermissionError):
            return PermissionDenied(
                f"the control socket {path} is not yours to use (you are uid {os.geteuid()})",
                hint="ask as its user, or as root",
            )
        if isinstance(problem, BlockingIOError):  # SO_SNDTIMEO: the listener's queue is full
            return self._silent()
        return problem


def parse_head(head: bytes) -> tuple[int, int, int | None]:
    """Return the status, the length of the body and the protocol from an answer's head.

    Raises:
        Skewed: this is no answer of a control server.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    status, length = rest[:3], headers.get("content-length", "")
    protocol = headers.get("ginkgo-protocol", "")
    if version != "HTTP/1.1" or not (status.isdecimal() and length.isdecimal()):
        raise not_ours()
    if int(length[:12]) > LIMIT:
        raise not_ours()
    return int(status), int(length), int(protocol) if protocol.isdecimal() else None


def not_ours() -> Skewed:
    """Return the error for what answers in another language."""
    return Skewed(
        "what answers on the control socket does not speak Ginkgo's protocol",
        hint="the process behind it: `ss -xlp | grep control.sock`",
    )
