"""Socket activation: what the environment says is believed only when it is right."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.systemd import listener

from ginkgo.core.errors import ConfigError
from ginkgo.process import activation
from ginkgo.process.activation import inherited_sockets

ME = 4711


@contextmanager
def descriptors_from(first: int) -> Iterator[None]:
    """Look for the sockets from another number on: 3 is taken in a test."""
    before, activation.FIRST = activation.FIRST, first
    try:
        yield
    finally:
        activation.FIRST = before


def told(count: object, names: str | None = None, pid: object = ME) -> dict[str, str]:
    environ = {"LISTEN_PID": str(pid), "LISTEN_FDS": str(count), "HOME": "/"}
    return environ if names is None else environ | {"LISTEN_FDNAMES": names}


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with listener() as made:
        yield made


def test_a_socket_comes_with_its_name_and_address(tcp: socket.socket) -> None:
    environ = told(1, "web")
    os.set_inheritable(tcp.fileno(), True)
    with descriptors_from(tcp.fileno()):
        (found,) = inherited_sockets(environ, ME)
    assert (found.fd, found.name) == (tcp.fileno(), "web")
    assert str(found.address) == f"127.0.0.1:{tcp.getsockname()[1]}"
    assert environ == {"HOME": "/"}
    assert not os.get_inheritable(tcp.fileno())


def test_without_names_it_is_unknown(tcp: socket.socket) -> None:
    with descriptors_from(tcp.fileno()):
        (found,) = inherited_sockets(told(1), ME)
    assert found.name == "unknown"


def test_a_unix_socket_has_its_path(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        with descriptors_from(made.fileno()):
            (found,) = inherited_sockets(told(1), ME)
    assert found.address.path == str(tmp_path / "s")


@pytest.mark.fault(27)
def test_what_is_another_process_is_left_alone(tcp: socket.socket) -> None:
    environ = told(1, "web", pid=1)
    os.set_inheritable(tcp.fileno(), True)
    with descriptors_from(tcp.fileno()):
        assert inherited_sockets(environ, ME) == []
    assert os.get_inheritable(tcp.fileno())
    assert environ == {"HOME": "/"}


def test_nothing_handed_over_is_nothing() -> None:
    assert inherited_sockets({}, ME) == []
    assert inherited_sockets(told(0), ME) == []
    assert inherited_sockets(told(0, ""), ME) == []


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (told("two"), "LISTEN_FDS is 'two'"),
        (told("-1"), "LISTEN_FDS is '-1'"),
        (told("999999999"), "so many descriptors"),
        (told(1, pid="me"), "LISTEN_PID is 'me'"),
        (told(2, "web"), r"1 names \(web\) for LISTEN_FDS=2"),
        (told(1, ""), r"0 names \(\) for LISTEN_FDS=1"),
    ],
)
def test_numbers_that_are_none_are_told(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        inherited_sockets(environ, ME)
    assert caught.value.status == 78


@pytest.mark.fault(27)
@given(
    pid=st.sampled_from([str(ME), "1", ""]) | st.text(),
    count=st.integers(-2, 3).map(str) | st.text(),
    names=st.none() | st.text(),
)
def test_an_environment_of_nonsense_is_refused_or_is_nothing(
    pid: str, count: str, names: str | None
) -> None:
    free = os.dup(0)
    os.close(free)
    with descriptors_from(free):
        try:
            assert inherited_sockets(told(count, names, pid), ME) == []
        except ConfigError as error:
            assert str(error).startswith("socket activation: ")


@pytest.mark.fault(27)
def test_a_descriptor_that_is_not_open_is_told() -> None:
    free = os.dup(0)
    os.close(free)
    with descriptors_from(free), pytest.raises(ConfigError, match=f"fd {free} .* is not open"):
        inherited_sockets(told(1), ME)


@pytest.mark.fault(27)
def test_what_is_no_socket_is_told() -> None:
    reader, writer = os.pipe()
    try:
        with descriptors_from(reader), pytest.raises(ConfigError, match=f"fd {reader} .*no socket"):
            inherited_sockets(told(1, "log"), ME)
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.fault(27)
def test_a_connection_is_told() -> None:
    one, other = socket.socketpair()
    with one, other, descriptors_from(one.fileno()):
        with pytest.raises(ConfigError, match="does not listen") as caught:
            inherited_sockets(told(1), ME)
        assert "Accept=no" in str(caught.value.hint)
        assert one.fileno() >= 0
        one.send(b"still open")


@pytest.mark.fault(27)
def test_a_socket_of_another_family_is_told() -> None:
    with (
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as made,
        descriptors_from(made.fileno()),
        pytest.raises(ConfigError, match="AF_NETLINK"),
    ):
        inherited_sockets(told(1), ME)
