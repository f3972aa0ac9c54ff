from __future__ import annotations

import logging
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
from tests.servers.conftest import open_socket

from ginkgo.core.errors import ConfigError, Unavailable
from ginkgo.core.service import Service
from ginkgo.servers.addresses import Address, AddressError
from ginkgo.servers.connection import Connection
from ginkgo.servers.stream import StreamServer

LOCAL = ("127.0.0.1", 0)


def echo(connection: Any, address: Any) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


def asks(client: Any, question: bytes = b"hello") -> bytes:
    """Send, and wait for as much."""
    client.sendall(question)
    answer = client.recv(4096)
    assert isinstance(answer, bytes)
    return answer


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let others run until something holds that has no event of its own."""
    with gevent.Timeout(seconds, AssertionError("it never came true")):
        while not condition():
            gevent.sleep(0.001)


def test_each_connection_has_a_handler_of_its_own(run: Any, connect: Any):
    server = run(StreamServer(LOCAL, echo))
    clients = [connect(server) for _ in range(20)]
    for number, client in enumerate(clients):
        assert asks(client, b"%d" % number) == b"%d" % number
    assert server.active == server.accepted == 20
    for client in clients:
        client.close()
    until(lambda: server.active == 0)
    assert server.handled == 20


def test_the_handler_gets_the_socket_and_the_peer(run: Any, connect: Any):
    got: list[Any] = []
    server = run(StreamServer(LOCAL, lambda *args: got.append(args)))
    client = connect(server)
    client.recv(1)
    [(connection, address)] = got
    assert isinstance(connection, Connection)
    assert address == client.getsockname()


def test_a_subclass_has_its_handler_as_a_method(run: Any, connect: Any):
    class Echo(StreamServer):
        def handle(self, connection: Any, address: Any) -> None:
            echo(connection, address)

    assert asks(connect(run(Echo(LOCAL)))) == b"hello"


def test_a_server_without_a_handler_is_refused():
    with pytest.raises(ConfigError, match=r"StreamServer at \*:7000 has no handler"):
        StreamServer(":7000")


def test_a_server_that_may_take_nothing_in_is_refused():
    with pytest.raises(ConfigError, match="may take nothing in"):
        StreamServer(":7000", echo, max_connections=0)


def test_a_server_at_no_address_is_refused():
    with pytest.raises(AddressError, match="has no port"):
        StreamServer("localhost", echo)


def test_the_connection_is_closed_when_the_handler_returns(run: Any, connect: Any):
    client = connect(run(StreamServer(LOCAL, lambda connection, _: connection.sendall(b"bye"))))
    assert client.makefile("rb").read() == b"bye"


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", ":0", 0, ("localhost", 0)])
def test_it_listens_at_every_form_of_address(run: Any, connect: Any, address: Any):
    assert asks(connect(run(StreamServer(address, echo)))) == b"hello"


def test_on_every_interface_an_ipv4_client_has_its_ipv4_address(run: Any):
    got: list[Any] = []
    server = run(StreamServer(":0", lambda _, address: got.append(address)))
    with open_socket(("127.0.0.1", server.port)) as client:
        client.recv(1)
        assert got == [client.getsockname()]
    with open_socket(("::1", server.port)) as client:
        client.recv(1)
        assert got[1][:2] == client.getsockname()[:2]


def test_it_listens_on_a_unix_socket(run: Any, connect: Any, tmp_path: Path):
    path = tmp_path / "a.sock"
    server = run(StreamServer(f"unix:{path}", echo))
    assert asks(connect(server)) == b"hello"
    assert server.port is None
    server.stop()
    assert not path.exists()


def test_a_socket_that_listens_already_can_be_given(run: Any, connect: Any):
    with socket.create_server(LOCAL) as given:
        server = StreamServer(given, echo)
        for _ in range(2):
            run(server)
            assert asks(connect(server)) == b"hello"
            server.stop()


def test_a_stop_leaves_those_who_wait_at_a_given_socket_to_whoever_has_given_it(run: Any):
    with socket.create_server(LOCAL) as given:
        server = StreamServer(given, echo)
        run(server)
        with socket.create_connection(given.getsockname()) as client:
            client.sendall(b"hello")
            server.stop()
            assert server.accepted == 0
            accepted, _ = given.accept()
            assert accepted.recv(10) == b"hello"
            accepted.close()


def test_an_answer_in_two_pieces_does_not_wait_for_an_acknowledgement(run: Any, connect: Any):
    def in_pieces(connection: Any, address: Any) -> None:
        while connection.recv(100):
            connection.sendall(b"head")
            connection.sendall(b"body")

    client = connect(run(StreamServer(LOCAL, in_pieces)))
    times = []
    for _ in range(10):
        began = time.monotonic()
        client.sendall(b"x")
        answer = b""
        while answer != b"headbody":
            answer += client.recv(8)
        times.append(time.monotonic() - began)
    assert min(times[1:]) < 0.03  # a delayed acknowledgement takes 0.04


# -- binding -------------------------------------------------------------------------------------


@pytest.mark.fault("O8")
def test_it_listens_when_start_returns(connect: Any):
    server = StreamServer(LOCAL, echo)
    assert server.port is None
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)):
        pass
    server.stop()


@pytest.mark.fault(1)
@pytest.mark.fault("O8")
def test_a_port_in_use_fails_the_start_of_the_tree_and_names_the_service():
    class App(Service):
        def __init__(self, address: Any) -> None:
            self.first = self.add_service(StreamServer(LOCAL, echo))
            self.second = self.add_service(StreamServer(address, echo))

    with socket.create_server(LOCAL) as taken:
        app = App(taken.getsockname())
        app.second.name = "web"
        with pytest.raises(Unavailable, match=r"App/web cannot listen on 127.0.0.1:.*this very"):
            app.start()
    assert app.state == "failed"
    assert app.first.state == "stopped"
    assert app.second.failure is not None and app.second.failure.phase == "start"


def test_it_can_be_bound_before_it_starts_and_lets_clients_wait(run: Any):
    server = StreamServer(LOCAL, echo)
    server.bind()
    port = server.port
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"early")
        server.bind()
        run(server)
        assert server.port == port
        gevent.socket.wait_read(client.fileno(), timeout=5)
        assert client.recv(10) == b"early"


def test_a_bind_can_be_undone(tmp_path: Path):
    path = tmp_path / "a.sock"
    server = StreamServer(f"unix:{path}", echo)
    server.bind()
    assert path.exists()
    server.unbind()
    server.unbind()
    assert not path.exists()


def test_the_port_is_free_after_the_stop(run: Any):
    server = run(StreamServer(LOCAL, echo))
    port = server.port
    server.stop()
    assert server.port is None
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_it_can_be_started_again(run: Any, connect: Any):
    server = StreamServer(LOCAL, echo)
    for _ in range(3):
        run(server)
        assert asks(connect(server)) == b"hello"
        server.stop()
    assert server.accepted == 3


@pytest.mark.fault("O9")
def test_stopping_one_server_leaves_the_other_alone(run: Any, connect: Any):
    one, other = run(StreamServer(LOCAL, echo)), run(StreamServer(LOCAL, echo))
    client = connect(other)
    assert asks(client) == b"hello"
    one.stop()
    assert asks(client) == b"hello"
    assert asks(connect(other)) == b"hello"


# -- handlers that fail --------------------------------------------------------------------------


class Unlucky(Exception):
    pass


def test_a_handler_that_raises_is_told_with_its_peer_and_harms_nobody(
    run: Any, connect: Any, caplog: pytest.LogCaptureFixture
):
    def handler(connection: Any, address: Any) -> None:
        if connection.recv(100) == b"fail":
            raise Unlucky("no luck")
        connection.sendall(b"ok")

    server = run(StreamServer(LOCAL, handler))
    good, bad = connect(server), connect(server)
    bad.sendall(b"fail")
    assert bad.recv(10) == b""
    assert asks(good, b"go") == b"ok"
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    host, port = bad.getsockname()
    assert record.getMessage() == (
        f"StreamServer: the handler of {host}:{port} failed: Unlucky: no luck"
    )
    assert record.exc_info is not None and record.exc_info[2] is not None
    assert record.exc_info[2].tb_frame.f_code.co_name == "handler"
    until(lambda: server.active == 0)
    assert (server.failed, server.handled, server.lost) == (1, 1, 0)
    assert server.ready


def test_a_handler_that_raises_with_a_file_open_closes_its_connection(run: Any, connect: Any):
    def handler(connection: Any, address: Any) -> None:
        file = connection.makefile("rb")
        raise Unlucky(file)

    assert connect(run(StreamServer(LOCAL, handler))).recv(10) == b""


@pytest.mark.fault(50)
def test_a_client_that_goes_away_is_no_failure(
    run: Any, connect: Any, caplog: pytest.LogCaptureFixture
):
    def talk(connection: Any, address: Any) -> None:
        while True:
            connection.sendall(b"Hello World\n")
            gevent.sleep(0)

    server = run(StreamServer(LOCAL, talk))
    client = connect(server)
    client.recv(10)
    client.close()
    until(lambda: server.active == 0)
    assert (server.lost, server.failed) == (1, 0)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_an_error_of_another_socket_is_a_failure(run: Any, connect: Any):
    def handler(connection: Any, address: Any) -> None:
        open_socket(("127.0.0.1", 1))

    server = run(StreamServer(LOCAL, handler))
    connect(server).recv(1)
    until(lambda: server.active == 0)
    assert (server.failed, server.lost) == (1, 0)


def test_a_handler_that_reads_on_after_the_end_is_ended(run: Any, connect: Any):
    def careless(connection: Any, address: Any) -> None:
        lines = connection.makefile()
        while True:
            lines.readline().strip()

    server = run(StreamServer(LOCAL, careless))
    connect(server).close()
    until(lambda: server.accepted and server.active == 0)
    assert server.lost == 1


@pytest.mark.fault(30)
def test_exit_in_a_handler_stops_the_tree_in_order(run: Any, connect: Any):
    def handler(connection: Any, address: Any) -> None:
        sys.exit(3)

    server = run(StreamServer(LOCAL, handler))
    gevent.spawn(connect, server)
    with pytest.raises(SystemExit) as raised:
        server.serve_forever()
    assert raised.value.code == 3
    assert server.state == "stopped"


def test_a_handler_may_stop_its_own_tree(run: Any, connect: Any):
    def handler(connection: Any, address: Any) -> None:
        app.stop()
        connection.sendall(b"stopped")

    app = Service()
    server = app.add_service(StreamServer(LOCAL, handler, drain_timeout=60))
    run(app)
    client = connect(server)
    assert client.makefile("rb").read() == b"stopped"
    assert app.state == "stopped"
    assert server.cut == 0


# -- limits --------------------------------------------------------------------------------------


def test_no_more_connections_are_taken_in_than_allowed(run: Any, connect: Any):
    server = run(StreamServer(LOCAL, echo, max_connections=2))
    first, second, third = connect(server), connect(server), connect(server)
    assert asks(first) == asks(second) == b"hello"
    third.sendall(b"hello")
    gevent.sleep(0.02)
    assert server.active == server.accepted == 2
    first.close()
    assert third.recv(10) == b"hello"


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def few_descriptors() -> Iterator[Callable[[int], None]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def leave(count: int) -> None:
        used = {int(name) for name in os.listdir("/proc/self/fd")}
        free = [fd for fd in range(len(used) + count + 1) if fd not in used]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], before[1]))

    yield leave
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.fault(42)
def test_without_descriptors_it_waits_warns_once_and_recovers(
    run: Any,
    connect: Any,
    few_descriptors: Any,
    sockets: ExitStack,
    caplog: pytest.LogCaptureFixture,
):
    server = run(StreamServer(LOCAL, echo))
    clients = [connect(server) for _ in range(60)]
    until(lambda: server.active == 60)
    queued = [sockets.enter_context(socket.socket()) for _ in range(20)]
    few_descriptors(2)
    for client in queued:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", server.port))
    until(lambda: caplog.records)
    began, used = time.monotonic(), time.process_time()
    gevent.sleep(1.2)
    assert (time.process_time() - used) / (time.monotonic() - began) < 0.05
    assert 60 <= server.active < 70
    [record] = caplog.records
    assert "StreamServer: cannot take in what waits at 127.0.0.1:" in record.getMessage()
    assert "Too many open files" in record.getMessage()
    for client in clients:
        client.close()
    until(lambda: server.accepted == 80)
    assert server.ready


def test_a_listening_socket_that_somebody_closes_fails_the_service(
    run: Any, caplog: pytest.LogCaptureFixture
):
    server = run(StreamServer(LOCAL, echo))
    listener = server._listener
    with socket.create_connection(("127.0.0.1", server.port)):
        stolen = os.dup(listener.socket.fileno())
        with open(os.devnull) as null:
            os.dup2(null.fileno(), listener.socket.fileno())
        server._readable()
        server.wait("failed", 5)
        os.close(stolen)
    assert server.state == "failed"
    assert isinstance(server.failure.error, OSError)


def test_a_thousand_connections_leave_nothing(run: Any):
    server = run(StreamServer(LOCAL, echo))

    def one() -> None:
        with open_socket(("127.0.0.1", server.port)) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"

    def many() -> None:
        for _ in range(50):
            one()

    before = len(os.listdir("/proc/self/fd"))
    gevent.joinall([gevent.spawn(many) for _ in range(20)], raise_error=True)
    until(lambda: server.active == 0)
    assert server.handled == 1000
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_address_is_known_before_and_after(run: Any):
    server = StreamServer(("127.0.0.1", 0), echo)
    assert server.address == Address("127.0.0.1", 0)
    run(server)
    assert server.address == Address("127.0.0.1", server.port)
