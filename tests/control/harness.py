"""A plain client and a served fake instance, for the tests of the control server."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fake_instance import FakeInstance

from ginkgo.control.call import Route
from ginkgo.control.connection import Limits
from ginkgo.control.server import ControlServer
from ginkgo.control.tcp import Tcp

DEADLINE = 20.0


class Client:
    """A plain socket to the server, and the little HTTP that tests want to get wrong."""

    host = "app"

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(path)
        self.rest = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, line: str, body: bytes = b"", **headers: str) -> None:
        """Send a request, for example ``ask("GET /api/v1/status")``."""
        sent = {
            "Host": self.host,
            **{name.replace("_", "-"): text for name, text in headers.items()},
        }
        if body or line.startswith("POST"):
            sent = {"Content-Type": "application/json", "Content-Length": str(len(body)), **sent}
        head = "".join(f"{name}: {text}\r\n" for name, text in sent.items())
        self.send(f"{line} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def read(self, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read one answer: status, headers in lower case, body."""
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines)}
        size = 0 if head_only else int(headers["content-length"])
        while len(self.rest) < size:
            self._more()
        body, self.rest = self.rest[:size], self.rest[size:]
        return int(first.split()[1]), headers, body

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(self.rest)
        self.rest += data

    def json(self, line: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Ask and return the status and the parsed answer."""
        self.ask(line, body, **headers)
        status, _, answer = self.read()
        return status, json.loads(answer)

    def at_end(self) -> bool:
        """Wait for the server to close; True if nothing came before."""
        with contextlib.suppress(ConnectionResetError):
            return self.sock.recv(1) == b""
        return True

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class TcpClient(Client):
    """The same over TCP, and with the Host header that belongs to it."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.host = f"127.0.0.1:{port}"
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
        self.rest = b""


class Served:
    """A server, its instance, and what it reported."""

    def __init__(
        self,
        folder: Path,
        limits: Limits | None = None,
        tcp: Tcp | None = None,
        routes: tuple[Route, ...] | None = None,
    ) -> None:
        self.folder = folder
        self.path = str(folder / "control.sock")
        self.instance = FakeInstance()
        self.reports: list[str] = []
        self.audits: list[str] = []
        self.server = ControlServer(
            folder,
            self.instance,
            report=self.reports.append,
            audit=self.audits.append,
            limits=limits,
            tcp=tcp,
            routes=routes,
        )
        self.server.start()

    def client(self) -> Client:
        return Client(self.path)

    @property
    def port(self) -> int:
        """Of the TCP address."""
        assert self.server.url is not None
        return int(self.server.url.rstrip("/").rpartition(":")[2])

    def tcp_client(self) -> TcpClient:
        return TcpClient(self.port)

    def tcp_json(self, line: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Ask over TCP, on a connection of its own."""
        with self.tcp_client() as client:
            return client.json(line, body, **headers)

    def json(self, line: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        """Ask on a connection of its own."""
        with self.client() as client:
            return client.json(line, body, **headers)


def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds, where there is no event to wait for."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it does not come to be"
        time.sleep(0.005)


def as_nobody(function: Callable[[], str]) -> str:
    """Run a function in a forked child that belongs to nobody (65534), and return its text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            text = function()
        except BaseException as error:
            text = repr(error)
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    return text


def let_everybody_in(folder: Path) -> None:
    """Open a temporary folder and those above it, which pytest makes for their owner only."""
    for each in (folder, *folder.parents):
        if each == Path(tempfile.gettempdir()):
            break
        each.chmod(0o755)
