"""Services that run for the length of a test, and certificates for those that speak TLS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import gevent
import pytest
import trustme
from gevent import socket as gsocket
from tests.dialects import World
from tests.servers.kit import Kit

from ginkgo.core.service import Service

S = TypeVar("S", bound=Service)
Run = Callable[[S], S]


@pytest.fixture(autouse=True)
def _root_only(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs to be run as root: it gives up its privileges")


@pytest.fixture(autouse=True)
def _no_resolver() -> Iterator[None]:
    """gevent's resolver keeps the pool of threads that the search for leaks ends."""
    yield
    del gevent.get_hub().resolver


def open_socket(target: str | tuple[str, int]) -> gsocket.socket:
    """A connected socket; without the resolver, which would leave threads for others to use."""
    if isinstance(target, str):
        family = gsocket.AF_UNIX
    else:
        target = ("127.0.0.1", target[1]) if target[0] == "localhost" else target
        family = gsocket.AF_INET6 if ":" in target[0] else gsocket.AF_INET
    client = gsocket.socket(family)
    try:
        client.connect(target)
    except BaseException:
        client.close()
        raise
    return client


@pytest.fixture
def run() -> Iterator[Run[S]]:
    """Start a service; it is stopped at the end of the test, if it still runs."""
    started: list[Service] = []

    def start(service: S) -> S:
        service.start()
        started.append(service)
        return service

    yield start
    for service in reversed(started):
        service.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., gsocket.socket]]:
    """Connect to a server; what the test leaves open is closed at its end."""
    made: list[gsocket.socket] = []

    def to(server: object, timeout: float = 10.0) -> gsocket.socket:
        address = server.address.for_connecting  # type: ignore[attr-defined]
        client = open_socket(address.path or (address.host, address.port))
        client.settimeout(timeout)
        made.append(client)
        return client

    yield to
    for client in made:
        client.close()


@pytest.fixture
def kit(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """The servers and clients of a backend; a test with it runs once on each."""
    kit = Kit(world, monkeypatch)
    yield kit
    kit.close()


@dataclass(frozen=True)
class Authority:
    """A certificate authority and what it has issued, as files."""

    ca: trustme.CA
    folder: Path

    @property
    def cafile(self) -> str:
        path = self.folder / "ca.pem"
        if not path.exists():
            self.ca.cert_pem.write_to_path(str(path))
        return str(path)

    def issue(self, *names: str) -> tuple[str, str]:
        """The files of a certificate and of its key."""
        certificate = self.ca.issue_cert(*names)
        stem = self.folder / f"{names[0]}-{len(list(self.folder.iterdir()))}"
        certfile, keyfile = f"{stem}.pem", f"{stem}.key"
        for number, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(certfile, append=number > 0)
        certificate.private_key_pem.write_to_path(keyfile)
        os.chmod(keyfile, 0o600)
        return certfile, keyfile


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "tls"
    folder.mkdir()
    return Authority(trustme.CA(key_type=trustme.KeyType.ECDSA), folder)
