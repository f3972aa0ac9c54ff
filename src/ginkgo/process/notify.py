"""What systemd is told: sd_notify, spoken over a datagram socket.

::

    STATUS=Starting
    READY=1                        the tree is ready          (Type=notify, Type=notify-reload)
    WATCHDOG=1                     the loop answers           twice in each WatchdogSec=
    RELOADING=1, MONOTONIC_USEC=   a reload has begun;        READY=1 again when it is over
    STATUS=Degraded: ...           for `systemctl status`
    STOPPING=1                     it is going to end, and nothing takes that back

A daemon must not depend on who supervises it: what cannot be delivered is tried for a while in a
thread beside, and then lost.

Source: sd_notify(3), systemd.service(5), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable, MutableMapping

from ..async_ import native
from ..logs.escape import escape
from ..logs.hiding import hide

PATIENCE = 10.0  # seconds for a message that does not go out at once
LONGEST = 300  # characters of a status line

Post = Callable[..., object]


class Notifier:
    """Sends messages to whoever started this process; where nobody listens, nothing happens.

    Args:
        address: of the socket, as ``NOTIFY_SOCKET`` has it: a path, or an abstract name after
            ``@``; "" for nobody. Others (``vsock:``) are not spoken to.
        watchdog: seconds within which ``WATCHDOG=1`` is expected; 0 for never.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self.watchdog = watchdog
        self.was_ready = self.is_stopping = False
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = native.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._waiting: deque[bytes] = deque()
        self._lock = native.lock()

    @classmethod
    def inherited(cls, environ: MutableMapping[str, str], pid: int) -> Notifier:
        """What the environment says; the variables are taken out of it, so that no program that is
        started from here speaks in our name.

        Args:
            environ: the environment.
            pid: this process's id, when it was started.
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        every = environ.pop("WATCHDOG_USEC", "")
        whose = environ.pop("WATCHDOG_PID", str(pid))
        is_number = every.isascii() and every.isdigit() and len(every) < 19
        watchdog = int(every) / 1e6 if is_number and whose == str(pid) else 0.0
        try:
            return cls(address, watchdog)
        except OSError:
            return cls()  # no descriptor left: the start will have more to say about that

    @property
    def listens(self) -> bool:
        """Whether there is somebody to tell."""
        return self._socket is not None

    def ready(self, text: str, main_pid: int | None = None) -> None:
        """The tree is ready, or again so after a reload.

        Args:
            text: for people: the line that ``systemctl status`` shows.
            main_pid: the process to watch, where that is not the one that was started.
        """
        if not self.is_stopping:
            self.was_ready = True
            self._send("READY=1", _status(text), *([f"MAINPID={main_pid}"] if main_pid else ()))

    def reloading(self, text: str) -> None:
        """A reload has begun; :meth:`ready` has to follow."""
        if self.was_ready and not self.is_stopping:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._send("RELOADING=1", f"MONOTONIC_USEC={now}", _status(text))

    def stopping(self, text: str, seconds: float) -> None:
        """The process is going to end.

        Args:
            text: for people.
            seconds: how long that may take: more than ``TimeoutStopSec=`` is not taken as a hang.
        """
        if not self.is_stopping:
            self.is_stopping = True
            self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", _status(text))

    def status(self, text: str) -> None:
        """Say in a line how it is."""
        self._send(_status(text))

    def alive(self) -> None:
        """Tell the watchdog that the loop comes round."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Say no more."""
        with self._lock:
            ours, self._socket = self._socket, None
        if ours is not None:
            ours.close()

    def _send(self, *lines: str) -> None:
        data = "\n".join(lines).encode("utf-8", "backslashreplace")
        with self._lock:
            if self._waiting:
                self._waiting.append(data)
                return
            if self._sent(data):
                return
            self._waiting.append(data)
        try:
            native.start_thread(self._send_later, time.monotonic() + PATIENCE, name="ginkgo-notify")
        except RuntimeError:
            self._waiting.clear()  # no thread to be had: it is lost

    def _sent(self, data: bytes) -> bool:
        """Try once; False when the other side's queue is full."""
        if self._socket is None:
            return True
        try:
            self._socket.sendto(data, socket.MSG_NOSIGNAL, self._address)
        except BlockingIOError:
            return False
        except OSError:
            return True  # nobody listens any more, or ever did: lost
        return True

    def _send_later(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            native.sleep(0.02)  # a socket that is connected to none is always writable to poll(2)
            with self._lock:
                while self._waiting and self._sent(self._waiting[0]):
                    self._waiting.popleft()
                if not self._waiting:
                    return
        with self._lock:
            self._waiting.clear()


class Heartbeat:
    """Tells systemd's watchdog that the loop answers, and nothing when it does not.

    A thread asks the loop, twice in each period; the loop itself says the word. So a loop that is
    blocked is silent, whatever else of the process still runs.

    Args:
        notifier: what the word is said with.
        post: calls a function in the loop.
    """

    def __init__(self, notifier: Notifier, post: Post) -> None:
        self._notifier = notifier
        self._post = post
        self._asked = False
        self._bell = native.lock()
        self._bell.acquire()
        self._thread: native.NativeThread | None = None

    def start(self) -> None:
        """Begin; nothing is done where no watchdog waits."""
        if self._notifier.watchdog and self._notifier.listens:
            self._notifier.alive()
            self._thread = native.start_thread(self._run, name="ginkgo-beat")

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            self._bell.release()
            thread.join(2.0)

    def _run(self) -> None:
        while not self._bell.acquire(timeout=self._notifier.watchdog / 2):
            if not self._asked:
                self._asked = True
                try:
                    self._post(self._answer)
                except RuntimeError:
                    return  # the loop is closed

    def _answer(self) -> None:
        self._asked = False
        self._notifier.alive()


def _status(text: str) -> str:
    line = escape(hide(text))  # everybody on this machine may read it
    return "STATUS=" + (line if len(line) <= LONGEST else line[: LONGEST - 3] + "...")
