"""Clients of the services that the manual and the examples show."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.workshop import DEADLINE

T = TypeVar("T")


def connect(port: int) -> socket.socket:
    """Connect to 127.0.0.1, as soon as somebody listens there."""
    return _retried(lambda: socket.create_connection(("127.0.0.1", port), timeout=DEADLINE))


def connect_unix(path: Path) -> socket.socket:
    """Connect to a unix socket, as soon as somebody listens there."""

    def attempt() -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(str(path))
        except OSError:
            client.close()
            raise
        client.settimeout(DEADLINE)
        return client

    return _retried(attempt)


def get(port: int) -> str:
    """What a web server says, as soon as there is one."""
    connect(port).close()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=DEADLINE) as response:
        return str(response.read().decode())


def read_to_end(client: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    with client, client.makefile("rb") as stream:
        return stream.read()


def _retried(attempt: Callable[[], T]) -> T:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return attempt()
        except (ConnectionRefusedError, FileNotFoundError):
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.02)
