"""A fake systemd: the socket that listens to a daemon, and the sockets that are handed to it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from types import TracebackType

DEADLINE = 20.0  # seconds

EXEC = """
import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split(",") if fd]
spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds]
for number, fd in enumerate(spare, 3):
    os.dup2(fd, number, inheritable=True)
if len(sys.argv) > 2 and sys.argv[2] == "mine":
    os.environ["LISTEN_PID"] = str(os.getpid())
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""What systemd does between fork and exec: the descriptors from 3 on, and LISTEN_PID."""


class FakeSystemd:
    """Where ``NOTIFY_SOCKET`` leads to.

    Args:
        address: a path, or an abstract name after ``@``.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address.replace("@", "\0", 1))
        self.socket.settimeout(DEADLINE)
        self.heard: list[dict[str, str]] = []

    def hear(self) -> dict[str, str]:
        """The next message, as the assignments in it."""
        text = self.socket.recv(65536).decode()
        message = dict(line.partition("=")[::2] for line in text.split("\n"))
        self.heard.append(message)
        return message

    def wait_for(self, name: str, value: str | None = None) -> dict[str, str]:
        """Hear until a message has that assignment; returns it."""
        while True:
            message = self.hear()
            if name in message and (value is None or message[name] == value):
                return message

    def says_nothing(self) -> bool:
        """Whether nothing waits to be heard."""
        self.socket.setblocking(False)
        try:
            self.heard.append({"unexpected": self.socket.recv(65536).decode()})
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(DEADLINE)
        return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> FakeSystemd:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def handed_over(
    *command: str, sockets: list[socket.socket], names: str | None = None, whose: str = "mine"
) -> tuple[list[str], dict[str, str], dict[str, object]]:
    """A command line, environment and Popen's arguments that hand sockets to a command."""
    fds = [each.fileno() for each in sockets]
    env = {"LISTEN_FDS": str(len(fds))}
    if names is not None:
        env["LISTEN_FDNAMES"] = names
    argv = [sys.executable, "-c", EXEC, ",".join(map(str, fds)), whose, *command]
    return argv, env, {"pass_fds": fds}


def listener(family: int = socket.AF_INET) -> socket.socket:
    """A TCP socket that listens at a free port of the loopback."""
    made = socket.socket(family)
    made.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    made.listen()
    return made


def own_pid_environment(count: int, names: str | None = None) -> dict[str, str]:
    """What the environment of this very process would say."""
    env = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count)}
    return env if names is None else env | {"LISTEN_FDNAMES": names}
