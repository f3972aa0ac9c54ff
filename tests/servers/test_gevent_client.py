"""What only the client of gevent does; all else is in :mod:`tests.servers.test_client`."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.queue import Queue
from tests.servers.conftest import Authority

from ginkgo.servers.client import StreamClient
from ginkgo.servers.connection import Connection
from ginkgo.servers.retry import Retry
from ginkgo.servers.stream import StreamServer
from ginkgo.servers.tls_connection import TLSConnection

LOCAL = ("127.0.0.1", 0)
AT_ONCE = Retry(first=0.001, limit=0.01)


@pytest.mark.parametrize("tls", [False, True])
def test_the_handler_gets_a_connection_of_ginkgos(run: Any, authority: Authority, tls: bool):
    got: Queue[Any] = Queue()
    files = authority.issue("127.0.0.1") if tls else (None, None)
    server = run(StreamServer(LOCAL, lambda c, _: c.recv(1), certfile=files[0], keyfile=files[1]))
    cafile = authority.cafile if tls else None
    run(StreamClient(("127.0.0.1", server.port), lambda c: got.put(type(c)), cafile=cafile))
    assert got.get(timeout=5) is (TLSConnection if tls else Connection)


def test_the_seeds_client_connects_again_although_it_never_looks_for_the_end(run: Any):
    def handle(connection: Any) -> None:
        file = connection.makefile()
        while True:
            file.readline().strip()

    server = run(StreamServer(LOCAL, lambda *_: None))
    client = run(StreamClient(("127.0.0.1", server.port), handle, retry=AT_ONCE))
    with gevent.Timeout(5):
        while client.connections < 3:
            gevent.sleep(0.001)
    assert client.failed == 0
