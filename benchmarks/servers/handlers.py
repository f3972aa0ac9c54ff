"""The handlers that every contestant runs, so that they do the same work."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

BODY: Final = b"<strong>Hello World</strong>"
HEADERS: Final = [("Content-Type", "text/html"), ("Content-Length", str(len(BODY)))]


def echo(connection: socket.socket, address: object) -> None:
    """Sends back what comes, until the peer closes."""
    while data := connection.recv(65536):
        connection.sendall(data)


def greet(connection: socket.socket, address: object) -> None:
    """Says hello once."""
    connection.sendall(b"Hello World\n")


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application that always answers the same.

    Content-Length is set, because gunicorn would send chunks without it and pywsgi would not.
    """
    start_response("200 OK", HEADERS)
    return [BODY]
