from __future__ import annotations

import socket
from typing import Any

import gevent
import pytest
from gevent.pool import Pool
from gevent.server import DatagramServer as GeventDatagramServer
from gevent.server import StreamServer as GeventServer
from tests.servers.conftest import open_socket

from ginkgo.core.errors import ConfigError, Unavailable, UsageError
from ginkgo.core.service import Service
from ginkgo.servers.wrapper import ServerWrapper

LOCAL = ("127.0.0.1", 0)


def echo(connection: Any, address: Any) -> None:
    while data := connection.recv(100):
        connection.sendall(data)


def hello(port: int | None) -> bytes:
    assert port is not None
    with open_socket(("127.0.0.1", port)) as client:
        client.settimeout(5)
        client.sendall(b"hello")
        answer = client.recv(10)
    assert isinstance(answer, bytes)
    return answer


def test_a_server_of_gevent_becomes_a_service(run: Any):
    class App(Service):
        def __init__(self) -> None:
            self.server = GeventServer(LOCAL, echo)
            self.wrapper = self.add_service(ServerWrapper(self.server))

    app = run(App())
    assert hello(app.wrapper.port) == b"hello"
    assert app.wrapper.wrapped is app.server
    app.stop()
    assert app.server.closed


@pytest.mark.fault("O8")
def test_it_listens_when_start_returns():
    wrapper = ServerWrapper(GeventServer(LOCAL, echo))
    wrapper.start()
    with socket.create_connection(("127.0.0.1", wrapper.port)):
        pass
    wrapper.stop()


# gevent leaves the socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.fault("O8")
def test_a_port_in_use_fails_the_start():
    with socket.create_server(LOCAL) as taken:
        wrapper = ServerWrapper(GeventServer(taken.getsockname(), echo))
        with pytest.raises(Unavailable, match=r"ServerWrapper cannot listen on 127.0.0.1:\d+: "):
            wrapper.start()
    assert wrapper.state == "failed"


@pytest.mark.fault("O9")
def test_stopping_one_leaves_the_other_alone(run: Any):
    one, other = (run(ServerWrapper(GeventServer(LOCAL, echo))) for _ in range(2))
    one.stop()
    assert hello(other.port) == b"hello"


def test_it_can_be_bound_before_it_starts(run: Any):
    wrapper = ServerWrapper(GeventServer(LOCAL, echo))
    wrapper.bind()
    port = wrapper.port
    run(wrapper)
    assert wrapper.port == port
    assert hello(port) == b"hello"


def test_a_bind_can_be_undone():
    wrapper = ServerWrapper(GeventServer(LOCAL, echo))
    wrapper.bind()
    port = wrapper.port
    wrapper.unbind()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_gevent_cannot_start_a_server_again_and_that_is_said(run: Any):
    wrapper = run(ServerWrapper(GeventServer(LOCAL, echo)))
    wrapper.stop()
    with pytest.raises(ConfigError, match="gevent cannot start StreamServer again"):
        wrapper.start()


def test_a_function_that_makes_the_server_can_be_started_again(run: Any):
    wrapper = ServerWrapper(lambda: GeventServer(LOCAL, echo))
    assert wrapper.port is None
    for _ in range(3):
        run(wrapper)
        assert hello(wrapper.port) == b"hello"
        wrapper.stop()


def test_handlers_in_a_pool_may_finish_and_are_killed_when_they_do_not(run: Any):
    begun: list[bytes] = []
    ended: list[str] = []

    def handler(connection: Any, address: Any) -> None:
        question = connection.recv(10)
        begun.append(question)
        try:
            gevent.sleep(0.05 if question == b"short" else 60)
            ended.append("finished")
        except gevent.GreenletExit:
            ended.append("killed")

    server = GeventServer(LOCAL, handler, spawn=Pool())
    wrapper = run(ServerWrapper(server, drain_timeout=0.2))
    clients = [open_socket(("127.0.0.1", wrapper.port)) for _ in range(2)]
    for client, question in zip(clients, (b"short", b"long"), strict=True):
        client.sendall(question)
    while len(begun) < 2:
        gevent.sleep(0)
    wrapper.stop()
    assert ended == ["finished", "killed"]
    for client in clients:
        client.close()


def test_a_datagram_server_can_be_wrapped(run: Any):
    server = GeventDatagramServer(LOCAL, lambda data, address: server.sendto(data, address))
    wrapper = run(ServerWrapper(server))
    with gevent.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"hello", ("127.0.0.1", wrapper.port))
        assert client.recv(10) == b"hello"


def test_anything_else_is_refused():
    with pytest.raises(UsageError, match="takes a server of gevent, or a function"):
        ServerWrapper("server")  # type: ignore[arg-type]
