"""Every example does what it is there to show, run by the real command."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from tests.docs.clients import connect, connect_unix, get, read_to_end
from tests.docs.session import quiet_port
from tests.examples.conftest import EXAMPLES
from tests.workshop import DEADLINE, Program, Workshop


@contextmanager
def running(place: Workshop, target: str, **settings: object) -> Iterator[Program]:
    """Run a target, with settings; it has to end well when it is interrupted."""
    program = begin(place, target, **settings)
    yield program
    assert program.stops(signal.SIGINT) == 0, program.output


def begin(place: Workshop, target: str, **settings: object) -> Program:
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return place.begin("ginkgo", *words, target)


def test_hello(place: Workshop) -> None:
    with running(place, "hello.HelloWorld") as hello:
        hello.wait_for("^Hello World$", count=2)


def test_threads(place: Workshop, port: int) -> None:
    with (
        running(place, "threads.WordCounter", port=port),
        connect(port) as client,
        client.makefile() as lines,
    ):
        client.sendall(b"one two three\n")
        assert lines.readline() == "3\n"


def test_a_program_of_somebody_elses(place: Workshop, port: int) -> None:
    with running(place, "command.Files", port=port) as files:
        assert "command.py" in get(port)
        files.wait_for(r"WARNING command: Files/server: .*GET / HTTP")


QUICKSTARTS = pytest.mark.parametrize(
    "module", ["quickstart", "quickstart_asyncio", "quickstart_threading"]
)


@QUICKSTARTS
def test_the_quickstart_serves_its_client_and_others(
    place: Workshop, port: int, module: str
) -> None:
    web_port = quiet_port()
    with running(place, f"{module}.HelloWorld", port=port, web_port=web_port) as quickstart:
        quickstart.wait_for("^Hello World$")
        with connect(port) as client, client.makefile() as lines:
            assert lines.readline() == "Hello World\n"
        assert get(web_port) == "<strong>Hello World</strong>\n"


@QUICKSTARTS
def test_the_parts_of_the_quickstart_run_apart(place: Workshop, port: int, module: str) -> None:
    with (
        running(place, f"{module}.HelloWorldServer", port=port),
        running(place, f"{module}.HelloWorldClient", port=port) as client,
    ):
        client.wait_for("^Hello World$")


def test_a_service_takes_its_settings_from_the_file_and_at_a_reload(place: Workshop) -> None:
    file = place.folder / "service.conf.py"
    with running(place, "service.conf.py") as service:
        service.wait_for("INFO service: Services all the way down.", count=2)
        file.write_text(file.read_text().replace("all the way down", "and back up"))
        reload = place.ctl("service.conf.py", "reload")
        assert reload.returncode == 0, reload.stdout + reload.stderr
        service.wait_for("INFO service: Services and back up.")
    service.wait_for("INFO service: Goodbye.")


def test_a_service_becomes_a_daemon_when_its_file_says_so(place: Workshop) -> None:
    start = place.ginkgo("service.conf.py", env={"DAEMONIZE": "yes"})
    assert start.returncode == 0, start.stderr
    assert place.ctl("service.conf.py", "status").returncode == 0
    stop = place.ctl("service.conf.py", "stop")
    assert stop.returncode == 0, stop.stderr
    log = (place.folder / "service.log").read_text()
    assert re.search("Starting up!(.|\n)*Goodbye.", log)


def test_an_application_of_flask_is_served(place: Workshop, port: int) -> None:
    with running(place, "flask_app.AppServer", port=port):
        assert get(port) == "Hello World!"


def test_a_factory_in_the_configuration_makes_a_server_of_every_port(place: Workshop) -> None:
    ports = [quiet_port(), quiet_port()]
    place.env["PORTS"] = f"{ports[0]} {ports[1]}"
    with running(place, "factory.conf.py"):
        for port in ports:
            assert read_to_end(connect(port)) == b"This is port %d.\n" % port


def test_each_group_has_its_own_values(place: Workshop) -> None:
    with running(place, "groups.conf.py") as greeters:
        greeters.wait_for("^Good morning$")
        assert len(greeters.wait_for("^Bonjour$", count=2)) >= 2


def test_the_tls_server_echoes_to_who_trusts_its_certificate(place: Workshop, port: int) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(place.folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(place.folder / "cert.pem"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with (
        running(place, "tls_echo.Echo", address=f"127.0.0.1:{port}"),
        connect(port) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"secret")
        assert client.recv(100) == b"secret"


@pytest.mark.parametrize("module", ["reconnect", "asyncio_reconnect"])
def test_the_client_comes_back_when_its_server_does(
    place: Workshop, port: int, module: str
) -> None:
    with running(place, f"{module}.Listener", address=f"127.0.0.1:{port}") as listener:
        for times in (1, 2):
            with socket.create_server(("127.0.0.1", port)) as server:
                server.settimeout(DEADLINE)
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"Hello World\n")
                    listener.wait_for("^connected$", count=times)
                    listener.wait_for("^Hello World$", count=times)
            listener.wait_for("^the server has hung up$", count=times)


def test_the_clock_answers_a_datagram(place: Workshop, port: int) -> None:
    with (
        running(place, "datagram.Clock", address=f"127.0.0.1:{port}"),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.connect(("127.0.0.1", port))
        client.settimeout(0.1)
        deadline = time.monotonic() + DEADLINE
        while True:  # until it listens, nothing comes back but errors
            assert time.monotonic() < deadline
            try:
                client.send(b"?")
                answer = client.recv(100)
                break
            except (ConnectionRefusedError, TimeoutError):
                continue
    assert re.fullmatch(rb"\d\d:\d\d:\d\d\n", answer)


def test_a_unix_socket_is_the_users_own_and_gone_afterwards(place: Workshop) -> None:
    path = place.folder / "upper.sock"
    with running(place, "unix_socket.Upper", address=f"unix:{path}"):
        client = connect_unix(path)
        assert path.stat().st_mode & 0o777 == 0o600
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b"HELLO"
    assert not path.exists()


def test_a_server_of_gevents_is_a_service_in_a_wrapper(place: Workshop, port: int) -> None:
    with running(place, "wrapped.Echo", port=port), connect(port) as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"hello"


def test_what_a_guest_of_the_chat_says_is_read_by_the_others(place: Workshop, port: int) -> None:
    with (
        running(place, "asyncio_chat.Chat", address=f"127.0.0.1:{port}"),
        connect(port) as one,
        connect(port) as other,
        one.makefile() as read_by_one,
        other.makefile() as read_by_other,
    ):
        # The server takes connections in one after the other: who gets an answer is a guest.
        other.sendall(b"Is anybody there?\n")
        assert read_by_one.readline() == "Is anybody there?\n"
        one.sendall(b"I am\n")
        assert read_by_other.readline() == "I am\n"


def test_the_protocol_echoes(place: Workshop, port: int) -> None:
    with (
        running(place, "asyncio_protocol.Echo", address=f"127.0.0.1:{port}"),
        connect(port) as client,
    ):
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"


def test_the_asgi_application_counts_its_visits(place: Workshop, port: int) -> None:
    with running(place, "asgi_app.Web", port=port):
        assert get(port) == "visit 1\n"
        assert get(port) == "visit 2\n"


def test_a_service_on_gevent_asks_by_a_client_for_asyncio(place: Workshop, port: int) -> None:
    web_port = quiet_port()
    with running(place, "bridge.Relay", port=port, web_port=web_port) as relay:
        with running(place, "quickstart.HelloWorldServer", port=port):
            relay.wait_for("^the server says Hello World$")
            assert get(web_port) == "Hello World\n"
        relay.wait_for("^the server is away: .*refused", count=2)


def test_a_request_under_way_is_answered_after_the_stop_has_begun(
    place: Workshop, port: int
) -> None:
    counter = begin(place, "graceful.Counter", port=port, seconds=1)
    client = connect(port)
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    counter.wait_for("A request has come in.")
    counter.signal(signal.SIGTERM)
    counter.wait_for("Answered so far: 0.")
    assert read_to_end(client).endswith(b"You are number 1.\n")
    assert counter.ends() == 0


def test_the_ticker_ticks_and_is_checked(place: Workshop) -> None:
    with running(place, "ticker.Ticker", seconds=0.05) as ticker:
        ticker.wait_for("^tick 5$")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.conf.py")), ids=lambda path: path.name)
def test_the_configurations_pass_the_check(place: Workshop, path: Path) -> None:
    check = place.ginkgo("check", "--strict", path.name)
    assert check.returncode == 0, check.stdout + check.stderr
