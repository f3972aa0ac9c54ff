"""Who holds an address."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.process.actors import Actor

from ginkgo.process.ports import holder_of

V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


@pytest.fixture(autouse=True)
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine may look for longer than a start would."""
    monkeypatch.setattr("ginkgo.process.ports._PATIENCE", 20.0)


LISTEN = """
import socket, sys
family, kind, host = socket.AddressFamily(int(sys.argv[1])), int(sys.argv[2]), sys.argv[3]
server = socket.socket(family, kind)
if family == socket.AF_INET6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind(host if family == socket.AF_UNIX else (host, 0))
if kind == socket.SOCK_STREAM:
    server.listen()
open("/proc/self/comm", "w").write("a listener")
say(0 if family == socket.AF_UNIX else server.getsockname()[1])
input()
"""


def listen(act: Callable[..., Actor], family: int, host: str, kind: int) -> tuple[Actor, int]:
    actor = act(LISTEN, args=[str(int(family)), str(int(kind)), host])
    return actor, int(actor.says())


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("family", "host", "asked_family", "asked"),
    [
        (V4, "127.0.0.1", V4, "127.0.0.1"),
        (V4, "127.0.0.1", V4, "0.0.0.0"),
        (V4, "127.0.0.1", V4, ""),
        (V4, "0.0.0.0", V4, "127.0.0.1"),
        (V6, "::1", V6, "::1"),
        (V6, "::", V4, "127.0.0.1"),
        (V4, "127.0.0.1", V6, "::"),
        (V6, "::ffff:127.0.0.1", V4, "127.0.0.1"),
    ],
)
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_process_in_the_way_is_named(
    family: int, host: str, asked_family: int, asked: str, kind: int, act: Callable[..., Actor]
) -> None:
    actor, port = listen(act, family, host, kind)
    assert holder_of(asked_family, asked, port, kind) == (actor.pid, "a listener")


def test_another_address_is_not_in_the_way(act: Callable[..., Actor]) -> None:
    _, port = listen(act, V4, "127.0.0.1", socket.SOCK_STREAM)
    assert holder_of(V4, "127.0.0.2", port) is None
    assert holder_of(V6, "::1", port) is None
    assert holder_of(V4, "127.0.0.1", port, socket.SOCK_DGRAM) is None


def test_a_connection_that_uses_the_port_is_in_the_way_too(act: Callable[..., Actor]) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        found = holder_of(V4, "127.0.0.1", client.getsockname()[1])
    assert found is not None
    assert found[0] == os.getpid()


@pytest.mark.parametrize("host", ["{}/a b.sock", "@ginkgo-test-{}"])
def test_the_holder_of_a_unix_socket_is_named(
    host: str, tmp_path: Path, act: Callable[..., Actor]
) -> None:
    path = host.format(tmp_path if "/" in host else os.getpid())
    address = path
    if path.startswith("@"):
        code = LISTEN.replace("server.bind(host", "server.bind('\\0' + host[1:]")
        actor = act(code, args=[str(int(UNIX)), str(int(socket.SOCK_STREAM)), path])
        actor.says()
    else:
        actor, _ = listen(act, UNIX, path, socket.SOCK_STREAM)
    assert holder_of(UNIX, address) == (actor.pid, "a listener")
    assert holder_of(UNIX, address + "x") is None


@pytest.mark.parametrize(
    ("family", "address", "port"),
    [
        (V4, "no address", 80),
        (V4, "::1", 80),
        (V4, "127.0.0.1", -1),
        (V6, "fe80::1%lo", 99999),
        (12345, "x", 1),
        (UNIX, "a\0b", 0),
        (UNIX, "", 0),
    ],
)
def test_nonsense_has_no_holder_and_raises_nothing(family: int, address: str, port: int) -> None:
    assert holder_of(family, address, port) is None


def test_without_proc_nobody_is_named(
    act: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = listen(act, V4, "127.0.0.1", socket.SOCK_STREAM)

    def nothing(*args: object, **more: object) -> object:
        raise FileNotFoundError

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", nothing)
        assert holder_of(V4, "127.0.0.1", port) is None
        assert holder_of(UNIX, "/x") is None


def test_the_search_ends_when_its_time_is_over(
    act: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port = listen(act, V4, "127.0.0.1", socket.SOCK_STREAM)
    monkeypatch.setattr("ginkgo.process.ports._PATIENCE", -1.0)
    assert holder_of(V4, "127.0.0.1", port) is None


def test_who_may_not_look_is_told_nothing(act: Callable[..., Actor]) -> None:
    _, port = listen(act, V4, "127.0.0.1", socket.SOCK_STREAM)
    actor = act(
        "from ginkgo.process.ports import *; say(holder_of(2, '127.0.0.1', int(sys.argv[1])))",
        args=[str(port)],
        nobody=True,
    )
    expected = "None" if os.geteuid() == 0 else "a listener"
    assert expected in actor.says()
