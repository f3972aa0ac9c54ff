"""Sockets that were bound before the process began, and the servers that get them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.systemd import listener

from ginkgo.core.errors import ConfigError, Unavailable
from ginkgo.servers import inherited
from ginkgo.servers.addresses import Address, AddressError
from ginkgo.servers.inherited import Inherited
from ginkgo.servers.listen import bind

STREAM, DATAGRAM = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)


@pytest.fixture(autouse=True)
def _nothing_offered() -> Iterator[None]:
    yield
    inherited.offer([])


def offered(made: socket.socket, name: str = "web", dual_stack: bool = False) -> Inherited:
    address = Address.of(made.getsockname())
    return Inherited(made.fileno(), name, address, int(made.family), int(made.type), dual_stack)


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with listener() as made:
        yield made


@pytest.mark.parametrize("text", ["fd:web", "systemd:web"])
def test_an_address_may_be_a_name(text: str) -> None:
    address = Address.parse(text)
    assert address.name == "web"
    assert str(address) == "fd:web"


@pytest.mark.parametrize("text", ["fd:", "systemd:a:b", "fd:a\nb"])
def test_a_name_is_needed(text: str) -> None:
    with pytest.raises(AddressError):
        Address.parse(text)


def test_nobody_connects_to_a_name() -> None:
    with pytest.raises(AddressError, match="nobody can connect to a name"):
        _ = Address.parse("fd:web").for_connecting


def test_a_server_gets_the_socket_of_its_name(tcp: socket.socket) -> None:
    inherited.offer([offered(tcp)])
    listening = bind(Address.parse("fd:web"), owner="App/Web")
    assert listening.address == Address.of(tcp.getsockname())
    assert listening.socket.getblocking() is False
    assert not listening.socket.get_inheritable()
    with socket.create_connection(tcp.getsockname()):
        tcp.setblocking(True)
        accepted, _ = tcp.accept()
        accepted.close()
    listening.close()


def test_a_number_is_a_name_too(tcp: socket.socket) -> None:
    inherited.offer([offered(tcp)])
    bind(Address.parse(f"fd:{tcp.fileno()}")).close()


def test_a_server_gets_the_socket_at_its_address(tcp: socket.socket) -> None:
    inherited.offer([offered(tcp)])
    host, port = tcp.getsockname()
    listening = bind(Address(host, port), owner="App")
    assert inherited.unused() == []
    assert listening.address == Address(host, port)
    listening.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_host_is_the_same_by_its_name(tcp: socket.socket, host: str) -> None:
    inherited.offer([offered(tcp)])
    bind(Address(host, tcp.getsockname()[1])).close()


def test_every_interface_is_a_dual_stack_socket() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as made:
        inherited.offer([offered(made, dual_stack=True)])
        bind(Address(port=made.getsockname()[1])).close()


def test_a_unix_socket_is_found_by_its_path_and_its_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        made.listen()
        inherited.offer([offered(made)])
        bind(Address(path=str(path))).close()
    assert path.exists()


def test_a_server_that_is_restarted_gets_its_socket_again(tcp: socket.socket) -> None:
    inherited.offer([offered(tcp)])
    for _ in range(3):
        bind(Address.parse("fd:web"), owner="App").close()


def test_two_of_one_name_are_for_two_servers(tcp: socket.socket) -> None:
    with listener() as other:
        inherited.offer([offered(tcp), offered(other)])
        listening = [bind(Address.parse("fd:web"), owner=f"App/{each}") for each in (1, 2)]
        ports = {each.address.port for each in listening}
        assert ports == {tcp.getsockname()[1], other.getsockname()[1]}
        for each in listening:
            each.close()


def test_a_socket_is_for_one_server(tcp: socket.socket) -> None:
    inherited.offer([offered(tcp)])
    first = bind(Address.parse("fd:web"), owner="App/One")
    with pytest.raises(ConfigError, match="App/Two cannot listen on fd:web: App/One listens on fd"):
        bind(Address.parse("fd:web"), owner="App/Two")
    with pytest.raises(Unavailable, match="in use"):
        bind(first.address, owner="App/Two")
    first.close()


@pytest.mark.fault(27)
def test_a_name_that_was_not_handed_over_is_told_with_those_that_were(tcp: socket.socket) -> None:
    inherited.offer([offered(tcp, "admin")])
    with pytest.raises(ConfigError, match=r'no socket of that name .*"admin", 127.0.0.1') as caught:
        bind(Address.parse("fd:web"), owner="App")
    assert "FileDescriptorName=web" in str(caught.value.hint)
    assert caught.value.status == 78


@pytest.mark.fault(27)
def test_a_socket_of_the_other_kind_is_told(tcp: socket.socket) -> None:
    inherited.offer([offered(tcp)])
    with pytest.raises(ConfigError, match=r"is a stream socket") as caught:
        bind(Address.parse("fd:web"), owner="App", datagram=True)
    assert "ListenDatagram=" in str(caught.value.hint)


def test_what_nobody_has_taken_is_known(tcp: socket.socket) -> None:
    inherited.offer([offered(tcp)])
    assert [each.name for each in inherited.unused()] == ["web"]
