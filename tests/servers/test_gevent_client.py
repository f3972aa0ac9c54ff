from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue
from tests.servers.conftest import Authority

from ginkgo.core.errors import ConfigError
from ginkgo.core.service import Service
from ginkgo.servers.client import StreamClient
from ginkgo.servers.connection import Connection
from ginkgo.servers.retry import Retry
from ginkgo.servers.stream import StreamServer
from ginkgo.servers.tls_connection import TLSConnection

LOCAL = ("127.0.0.1", 0)
AT_ONCE = Retry(first=0.001, limit=0.01)


class Time:
    """A clock that only sleeping moves; a test lets each sleep end when it wants to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: Queue[float] = Queue()
        self.go_on: Queue[None] = Queue()

    def sleep(self, seconds: float) -> None:
        self.sleeps.put(seconds)
        self.go_on.get()
        self.now += seconds

    def give_to(self, client: StreamClient) -> StreamClient:
        client._clock = lambda: self.now
        client._random = lambda: 1.0
        client._sleep = self.sleep
        return client


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def nowhere() -> Iterator[tuple[str, int]]:
    """An address at which nobody listens, and nobody else can begin to."""
    with socket.socket() as bound:
        bound.bind(LOCAL)
        yield bound.getsockname()


def echo(connection: Any, address: Any) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


def target(server: StreamServer) -> tuple[str, int]:
    assert server.port is not None
    return ("127.0.0.1", server.port)


def told(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= level and record.name == "ginkgo.servers.client"
    ]


def test_the_handler_gets_a_connection(run: Any):
    server = run(StreamServer(LOCAL, echo))
    answers: Queue[Any] = Queue()

    def ask(connection: Any) -> None:
        connection.sendall(b"hello")
        answers.put((type(connection), connection.recv(10)))
        connection.recv(1)

    client = run(StreamClient(target(server), ask))
    assert answers.get(timeout=5) == (Connection, b"hello")
    assert client.connected and client.connections == client.attempts == 1


def test_a_subclass_has_its_handler_as_a_method(run: Any):
    done = Event()

    class Once(StreamClient):
        def handle(self, connection: Any) -> None:
            done.set()
            connection.recv(1)

    run(Once(target(run(StreamServer(LOCAL, echo)))))
    assert done.wait(5)


def test_a_client_without_a_handler_is_refused():
    with pytest.raises(ConfigError, match=r"StreamClient for \*:7000 has no handler"):
        StreamClient(":7000")


def test_it_connects_to_a_unix_socket(run: Any, tmp_path: Path):
    server = run(StreamServer(f"unix:{tmp_path / 'a'}", echo))
    done = Event()
    run(StreamClient(server.address, lambda _: done.set(), retry=AT_ONCE))
    assert done.wait(5)


def test_it_connects_to_a_name_that_has_several_addresses(run: Any):
    done = Event()
    server = run(StreamServer("127.0.0.1:0", echo))
    run(StreamClient(("localhost", server.port), lambda _: done.set(), retry=AT_ONCE))
    assert done.wait(5)


def test_every_interface_is_this_machine(run: Any):
    done = Event()
    server = run(StreamServer("0.0.0.0:0", echo))
    run(StreamClient(("0.0.0.0", server.port), lambda _: done.set(), retry=AT_ONCE))
    assert done.wait(5)


def test_it_is_ready_although_nobody_answers(run: Any, nowhere: Any, time: Time):
    client = run(time.give_to(StreamClient(nowhere, echo)))
    assert client.ready and not client.connected


def test_the_waits_between_attempts_grow_up_to_the_limit(run: Any, nowhere: Any, time: Time):
    client = time.give_to(StreamClient(nowhere, echo, retry=Retry(first=1, limit=5)))
    run(client)
    waits = []
    for _ in range(5):
        waits.append(time.sleeps.get(timeout=5))
        time.go_on.put(None)
    assert waits == [1, 2, 4, 5, 5]


def test_a_healthy_connection_makes_the_next_wait_short_again(run: Any, time: Time):
    server = run(StreamServer(LOCAL, echo))
    lasting = [0.0, 0.0, 60.0, 0.0]

    def handler(connection: Any) -> None:
        time.now += lasting.pop(0)

    run(time.give_to(StreamClient(target(server), handler, retry=Retry(first=1))))
    waits = []
    for _ in range(4):
        waits.append(time.sleeps.get(timeout=5))
        if lasting:
            time.go_on.put(None)
    assert waits == [1, 2, 1, 2]


def test_it_connects_again_when_the_peer_closes(run: Any):
    server = run(StreamServer(LOCAL, lambda *_: None))
    client = run(StreamClient(target(server), lambda c: c.recv(1), retry=AT_ONCE))
    with gevent.Timeout(5):
        while client.connections < 3:
            gevent.sleep(0.001)


def test_the_seeds_client_connects_again_although_it_never_looks_for_the_end(run: Any):
    def handle(connection: Any) -> None:
        file = connection.makefile()
        while True:
            file.readline().strip()

    server = run(StreamServer(LOCAL, lambda *_: None))
    client = run(StreamClient(target(server), handle, retry=AT_ONCE))
    with gevent.Timeout(5):
        while client.connections < 3:
            gevent.sleep(0.001)
    assert client.failed == 0


def test_it_finds_a_server_that_comes_back(run: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    server = run(StreamServer(LOCAL, echo))
    address = target(server)
    there: Queue[None] = Queue()

    def handler(connection: Any) -> None:
        there.put(None)
        connection.recv(1)

    run(StreamClient(address, handler, retry=AT_ONCE))
    there.get(timeout=5)
    server.stop()
    gevent.sleep(0.1)  # it has tried some times by then
    again = run(StreamServer(address, echo))
    there.get(timeout=5)
    assert again.accepted == 1
    name = f"StreamClient: connected to 127.0.0.1:{address[1]}"
    first, lost, back = told(caplog)
    assert first == name
    assert lost == (
        f"StreamClient: lost the connection to 127.0.0.1:{address[1]}: "
        "the handler is done with it; connecting again"
    )
    assert back.startswith(f"{name}, at attempt ")


def test_an_unreachable_peer_is_told_once(
    run: Any, nowhere: Any, time: Time, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    run(time.give_to(StreamClient(nowhere, echo)))
    for _ in range(50):
        time.sleeps.get(timeout=5)
        time.go_on.put(None)
    assert told(caplog) == [
        f"StreamClient: cannot reach 127.0.0.1:{nowhere[1]}: [Errno 111] Connection refused; "
        "connecting again"
    ]


def test_a_peer_that_hangs_up_over_and_over_is_told_seldom(
    run: Any, time: Time, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    server = run(StreamServer(LOCAL, lambda *_: None))
    client = StreamClient(target(server), lambda c: c.recv(1), retry=Retry(first=1, limit=1))
    run(time.give_to(client))
    for _ in range(12):
        time.sleeps.get(timeout=5)
        time.go_on.put(None)
    time.sleeps.get(timeout=5)
    assert len(told(caplog, logging.WARNING)) == 2
    assert "(9 times before that)" in told(caplog, logging.WARNING)[1]
    assert len(told(caplog)) <= 5


def test_an_unknown_host_is_told_and_tried_again(
    run: Any, time: Time, caplog: pytest.LogCaptureFixture
):
    client = run(time.give_to(StreamClient("nothing.invalid:80", echo)))
    time.sleeps.get(timeout=10)
    assert "cannot reach nothing.invalid:80" in told(caplog)[0]
    other = run(time.give_to(StreamClient("x" * 70 + ".invalid:80", echo)))
    time.sleeps.get(timeout=10)
    assert "is no name of a host" in told(caplog)[1]
    assert client.ready and other.ready


def test_a_peer_that_does_not_answer_is_given_up_in_time(run: Any, time: Time):
    with socket.socket() as full:
        full.bind(LOCAL)
        full.listen(0)
        address = full.getsockname()
        fillers = []
        for _ in range(3):  # the queue of the kernel is full: nobody more gets through
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        client = time.give_to(StreamClient(address, echo, connect_timeout=0.05))
        run(client)
        time.sleeps.get(timeout=5)
        assert client.attempts == 1 and client.connections == 0
        for filler in fillers:
            filler.close()


class Unlucky(Exception):
    pass


def test_a_handler_that_raises_is_told_and_it_connects_again(
    run: Any, caplog: pytest.LogCaptureFixture
):
    def handler(connection: Any) -> None:
        raise Unlucky("no luck")

    server = run(StreamServer(LOCAL, echo))
    client = run(StreamClient(target(server), handler, retry=AT_ONCE))
    with gevent.Timeout(5):
        while client.failed < 3:
            gevent.sleep(0.001)
    errors = told(caplog, logging.ERROR)
    assert errors[0] == "StreamClient: the handler failed: Unlucky: no luck"
    record = next(record for record in caplog.records if record.levelno >= logging.ERROR)
    assert record.exc_info is not None and record.exc_info[2] is not None
    assert record.exc_info[2].tb_frame.f_code.co_name == "handler"
    assert client.ready


@pytest.mark.fault(30)
def test_exit_in_a_handler_stops_the_tree(run: Any):
    server = run(StreamServer(LOCAL, echo))
    client = StreamClient(target(server), lambda _: sys.exit(4))
    with pytest.raises(SystemExit) as raised:
        client.serve_forever()
    assert raised.value.code == 4


@pytest.mark.parametrize("where", ["in the handler", "waiting", "connecting"])
def test_a_stop_ends_it_at_once(run: Any, nowhere: Any, where: str):
    server = run(StreamServer(LOCAL, echo))
    busy = Event()

    def handler(connection: Any) -> None:
        busy.set()
        connection.recv(1)

    if where == "in the handler":
        client = run(StreamClient(target(server), handler))
        assert busy.wait(5)
    else:
        client = run(StreamClient(nowhere, echo, retry=Retry(first=60)))
        if where == "waiting":
            gevent.sleep(0.05)
    with gevent.Timeout(4):
        client.stop()
    assert not client.connected


def test_a_handler_that_swallows_its_end_does_not_connect_again(run: Any):
    server = run(StreamServer(LOCAL, echo))
    busy = Event()

    def handler(connection: Any) -> None:
        busy.set()
        try:
            connection.recv(1)
        except gevent.GreenletExit:
            pass

    client = run(StreamClient(target(server), handler, retry=AT_ONCE))
    assert busy.wait(5)
    with gevent.Timeout(4):
        client.stop()
    assert client.connections == 1


def test_it_can_be_started_again(run: Any):
    server = run(StreamServer(LOCAL, echo))
    there: Queue[None] = Queue()

    def handler(connection: Any) -> None:
        there.put(None)
        connection.recv(1)

    client = StreamClient(target(server), handler)
    for _ in range(3):
        run(client)
        there.get(timeout=5)
        client.stop()


def test_server_and_client_in_one_tree(run: Any):
    lines: Queue[str] = Queue()

    class App(Service):
        def __init__(self) -> None:
            self.server = self.add_service(StreamServer(LOCAL, self.serve))

        def do_start(self) -> None:
            self.add_service(StreamClient(target(self.server), self.read))

        def serve(self, connection: Any, address: Any) -> None:
            while True:
                connection.send(b"Hello World\n")
                gevent.sleep(0.001)

        def read(self, connection: Any) -> None:
            for line in connection.makefile():
                lines.put(line.strip())

    app = run(App())
    assert [lines.get(timeout=5) for _ in range(3)] == ["Hello World"] * 3
    app.stop()
    assert app.server.cut == 0


# -- TLS -----------------------------------------------------------------------------------------


def test_it_verifies_whom_it_talks_to(run: Any, authority: Authority):
    certfile, keyfile = authority.issue("127.0.0.1")
    server = run(StreamServer(LOCAL, echo, certfile=certfile, keyfile=keyfile))
    answers: Queue[Any] = Queue()

    def ask(connection: Any) -> None:
        connection.sendall(b"hello")
        answers.put((type(connection), connection.recv(10)))
        connection.recv(1)

    run(StreamClient(target(server), ask, cafile=authority.cafile))
    assert answers.get(timeout=5) == (TLSConnection, b"hello")


@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_it_does_not_talk_to_somebody_else(
    run: Any, authority: Authority, time: Time, caplog: pytest.LogCaptureFixture, wrong: str
):
    certfile, keyfile = authority.issue("127.0.0.1")
    server = run(StreamServer(LOCAL, echo, certfile=certfile, keyfile=keyfile))
    if wrong == "authority":
        client = StreamClient(target(server), echo, tls=True)
    else:
        client = StreamClient(
            target(server), echo, cafile=authority.cafile, server_hostname="example.org"
        )
    run(time.give_to(client))
    time.sleeps.get(timeout=5)
    assert client.connections == 0
    assert "certificate verify failed" in told(caplog, logging.WARNING)[0]


def test_it_can_show_a_certificate_of_its_own(run: Any, authority: Authority):
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.cafile)
    context.load_cert_chain(*authority.issue("127.0.0.1"))
    context.verify_mode = ssl.CERT_REQUIRED
    names: Queue[Any] = Queue()
    server = run(StreamServer(LOCAL, lambda c, _: names.put(c.getpeercert()), ssl_context=context))
    certfile, keyfile = authority.issue("client.test")
    run(
        StreamClient(
            target(server),
            lambda c: c.recv(1),
            cafile=authority.cafile,
            certfile=certfile,
            keyfile=keyfile,
        )
    )
    assert names.get(timeout=5)["subjectAltName"] == (("DNS", "client.test"),)


def test_a_missing_cafile_fails_the_start():
    client = StreamClient("localhost:80", echo, cafile="missing.pem")
    with pytest.raises(ConfigError, match=r"missing.pem cannot be read"):
        client.start()


def test_tls_options_that_make_no_sense_are_refused():
    import ssl

    context = ssl.create_default_context()
    with pytest.raises(ConfigError, match="one too much"):
        StreamClient("localhost:80", echo, ssl_context=context, cafile="a")
    with pytest.raises(ConfigError, match="needs a server_hostname"):
        StreamClient("unix:/a", echo, tls=True)


def test_a_peer_that_says_nothing_in_the_handshake_is_given_up(run: Any, time: Time):
    server = run(StreamServer(LOCAL, lambda c, _: c.recv(1000) and Event().wait(0.3)))
    client = StreamClient(target(server), echo, tls=True, connect_timeout=0.05)
    run(time.give_to(client))
    time.sleeps.get(timeout=5)
    assert client.connections == 0
