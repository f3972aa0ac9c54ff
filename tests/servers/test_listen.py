from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from ginkgo.core.errors import (
    CannotCreate,
    ConfigError,
    SystemFailure,
    Unavailable,
)
from ginkgo.servers.addresses import Address
from ginkgo.servers.listen import Listener, bind

NOBODY = 65534
LOCAL = Address("127.0.0.1", 0)

# The interpreter may lie where nobody else may read: what is needed is imported before the drop.
AS_NOBODY = f"""
import os, sys, encodings.idna
from ginkgo.servers.listen import bind; from ginkgo.servers.addresses import Address
from ginkgo.core.errors import GinkgoError
os.setgroups([]); os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
try: bind(Address.parse(sys.argv[1]), owner="App")
except GinkgoError as error: print(error.status, error, error.hint)
"""


def refused_to_nobody(address: str) -> str:
    """Try to bind as another user; returns exit status, message and hint."""
    run = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, address], capture_output=True, text=True, check=True
    )
    return run.stdout


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def reached(listener: Listener, family: int, target: object) -> str:
    """Connect, and return how the server sees the client."""
    with socket.socket(family) as client:
        client.connect(target)
        listener.socket.setblocking(True)
        accepted, peer = listener.socket.accept()
        accepted.close()
    return peer[0] if peer else ""


def test_port_0_becomes_a_port_that_is_known():
    with closing(bind(LOCAL)) as listener:
        assert listener.address == Address("127.0.0.1", listener.socket.getsockname()[1])
        assert listener.address.port


def test_the_socket_does_not_block_and_is_closed_over_exec_and_sends_at_once():
    with closing(bind(LOCAL)) as listener:
        sock = listener.socket
        assert sock.getblocking() is False
        assert fcntl.fcntl(sock, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        with socket.create_connection(sock.getsockname()):
            sock.setblocking(True)
            accepted, _ = sock.accept()
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            accepted.close()


@pytest.mark.fault(53)
def test_every_interface_means_ipv4_and_ipv6():
    with closing(bind(Address("", 0))) as listener:
        port = listener.address.port
        assert str(listener.address) == f"*:{port}"
        assert listener.dual_stack
        assert reached(listener, socket.AF_INET6, ("::1", port)) == "::1"
        assert reached(listener, socket.AF_INET, ("127.0.0.1", port)) == "::ffff:127.0.0.1"


@pytest.mark.fault(53)
def test_an_ipv6_address_means_ipv6_only_whatever_the_machine_says():
    with closing(bind(Address("::", 0))) as listener:
        port = listener.address.port
        assert not listener.dual_stack
        assert reached(listener, socket.AF_INET6, ("::1", port)) == "::1"
        with pytest.raises(ConnectionRefusedError), socket.socket() as client:
            client.connect(("127.0.0.1", port))
        with closing(bind(Address("0.0.0.0", port))) as both:
            assert both.address.port == port


@pytest.mark.fault(53)
def test_without_ipv6_every_interface_is_ipv4(monkeypatch: pytest.MonkeyPatch):
    real = socket.socket

    def without_ipv6(family: int = -1, *args: int, **kwargs: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    with closing(bind(Address("", 0))) as listener:
        assert listener.socket.family == socket.AF_INET
        assert not listener.dual_stack
    with pytest.raises(Unavailable, match=r"cannot listen on \[::1\]:0: this machine has no IPv6"):
        bind(Address("::1", 0))


@pytest.mark.fault(1)
def test_a_port_in_use_names_service_address_and_holder():
    with closing(bind(LOCAL)) as first, pytest.raises(Unavailable) as raised:
        bind(first.address, owner="App/StreamServer")
    assert str(raised.value) == (
        f"App/StreamServer cannot listen on {first.address}: "
        "the address is in use by this very process"
    )
    assert raised.value.status == 69
    assert raised.value.hint == "Stop that process, or choose another port."


@pytest.mark.fault(1)
def test_a_port_in_use_by_another_process_names_its_pid():
    code = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with pytest.raises(Unavailable, match=rf"in use by pid {process.pid} \(.*python"):
            bind(Address("", port))
        process.communicate()


def test_a_restart_may_bind_while_old_connections_linger():
    first = bind(LOCAL)
    with socket.create_connection(first.socket.getsockname()):
        first.socket.setblocking(True)
        accepted, _ = first.socket.accept()
        accepted.close()  # the server closes first: TIME_WAIT is on its side
    first.close()
    bind(first.address).close()


def test_two_datagram_servers_cannot_share_a_port():
    with closing(bind(LOCAL, datagram=True)) as first, pytest.raises(Unavailable, match="in use"):
        bind(first.address, datagram=True)


@pytest.mark.fault(53)
def test_an_address_that_this_machine_has_not_is_named():
    with pytest.raises(
        Unavailable, match="no interface of this machine has that address"
    ) as raised:
        bind(Address("192.0.2.1", 7000))
    assert raised.value.hint == '":7000" listens on every interface.'


@pytest.mark.fault(53)
@pytest.mark.parametrize("host", ["nothing.invalid", "x" * 70 + ".invalid"])
def test_an_unknown_host_is_named(host: str):
    with pytest.raises(Unavailable, match=f"host '{host}' is not known"):
        bind(Address(host, 7000), owner="App")


def test_a_name_is_bound_at_its_ipv4_address():
    with closing(bind(Address("localhost", 0))) as listener:
        assert listener.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.fault(2)
@pytest.mark.root
def test_a_port_below_1024_without_privileges_is_refused_with_what_helps():
    told = refused_to_nobody("127.0.0.1:80")
    assert told.startswith("77 App cannot listen on 127.0.0.1:80: this user may not")
    assert "CAP_NET_BIND_SERVICE" in told and "`user`" in told


def test_no_descriptor_left_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "socket", mock.Mock(side_effect=OSError(24, "Too many open files")))
    with pytest.raises(SystemFailure, match="Too many open files"):
        bind(LOCAL)


# -- unix sockets --------------------------------------------------------------------------------


def test_a_unix_socket_is_for_its_owner_only_whatever_the_umask(tmp_path: Path, open_umask: None):
    path = tmp_path / "a.sock"
    with closing(bind(Address(path=str(path)))) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert str(listener.address) == f"unix:{path}"
        reached(listener, socket.AF_UNIX, str(path))


def test_a_unix_socket_has_the_mode_that_was_asked_for(tmp_path: Path):
    before = os.umask(0o077)
    try:
        with closing(bind(Address(path=str(tmp_path / "a")), mode=0o666)):
            assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666
    finally:
        os.umask(before)


def test_a_unix_sockets_file_is_removed_at_the_end(tmp_path: Path):
    path = tmp_path / "a.sock"
    bind(Address(path=str(path))).close()
    assert not path.exists()


def test_a_relative_path_is_removed_even_when_the_folder_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    listener = bind(Address(path="a.sock"))
    monkeypatch.chdir("/")
    listener.close()
    assert not (tmp_path / "a.sock").exists()


@pytest.mark.fault(100)
def test_a_stale_unix_socket_is_replaced(tmp_path: Path):
    path = str(tmp_path / "a.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with closing(bind(Address(path=path))) as listener:
        reached(listener, socket.AF_UNIX, path)


@pytest.mark.fault(100)
def test_a_living_unix_socket_is_never_taken_away(tmp_path: Path):
    path = str(tmp_path / "a.sock")
    with closing(bind(Address(path=path))) as first:
        with pytest.raises(Unavailable, match="in use by this very process") as raised:
            bind(Address(path=path))
        assert raised.value.hint == "Stop that process, or choose another path."
        reached(first, socket.AF_UNIX, path)


def test_a_unix_socket_that_somebody_else_has_taken_over_is_not_removed(tmp_path: Path):
    path = tmp_path / "a.sock"
    first = bind(Address(path=str(path)))
    path.unlink()
    with closing(bind(Address(path=str(path)))):
        first.close()
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(CannotCreate, match="is not a socket") as raised:
        bind(Address(path=str(path)))
    assert raised.value.status == 73
    assert path.read_text() == "data"


def test_a_missing_folder_is_told(tmp_path: Path):
    with pytest.raises(CannotCreate, match="No such file or directory") as raised:
        bind(Address(path=str(tmp_path / "missing" / "a.sock")))
    assert raised.value.hint == "Its folder has to exist."


@pytest.mark.root
def test_a_folder_that_cannot_be_written_is_told():
    told = refused_to_nobody("unix:/etc/a.sock")
    assert told.startswith("77 App cannot listen on unix:/etc/a.sock: Permission denied")
    assert "user with id 65534" in told


@pytest.mark.root
def test_a_unix_socket_can_be_given_to_the_user_that_the_process_becomes(tmp_path: Path):
    with closing(bind(Address(path=str(tmp_path / "a")))) as listener:
        listener.give_to(NOBODY, NOBODY)
        assert (tmp_path / "a").stat().st_uid == NOBODY


def test_a_bind_that_fails_half_way_leaves_nothing(tmp_path: Path):
    path = tmp_path / "a.sock"
    with (
        mock.patch("os.chmod", side_effect=OSError(5, "Input/output error")),
        pytest.raises(SystemFailure, match="Input/output error"),
    ):
        bind(Address(path=str(path)), mode=0o666)
    assert not path.exists()


# -- sockets of somebody else --------------------------------------------------------------------


def test_a_socket_that_listens_already_is_shared_and_left_open():
    with socket.create_server(("127.0.0.1", 0)) as given:
        listener = Listener.adopt(given)
        assert listener.address.port == given.getsockname()[1]
        reached(listener, socket.AF_INET, given.getsockname())
        listener.close()
        with socket.create_connection(given.getsockname()):
            pass


def test_a_socket_that_does_not_listen_is_refused():
    with socket.socket() as idle, pytest.raises(ConfigError, match="does not listen"):
        Listener.adopt(idle)
