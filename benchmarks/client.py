"""The one client that is not load: it makes a request, and stays connected."""

from __future__ import annotations

import socket

from benchmarks.harness import Unmeasured
from benchmarks.servers.handlers import BODY

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def kept_alive(port: int) -> socket.socket:
    """A connection on which one request has been answered.

    Raises:
        Unmeasured: the server closed it before it had answered.
    """
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(REQUEST)
    received = b""
    while not received.endswith(BODY):
        data = client.recv(4096)
        if not data:
            client.close()
            raise Unmeasured(f"the server closed the connection after {received!r}")
        received += data
    return client
