from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Any

import gevent
import pytest

from ginkgo.core.errors import ConfigError, Unavailable
from ginkgo.servers.backdoor import BackdoorServer


def read_until(client: Any, end: bytes) -> bytes:
    got = b""
    while not got.endswith(end):
        piece = client.recv(1000)
        assert piece, got
        got += piece
    return got


def test_it_gives_a_prompt_on_a_unix_socket_for_its_owner_only(
    run: Any, connect: Any, tmp_path: Path
):
    path = tmp_path / "door"
    server = run(BackdoorServer(f"unix:{path}", {"answer": 42}, banner="Hello"))
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    client = connect(server)
    assert read_until(client, b">>> ").startswith(b"Hello")
    client.sendall(b"print(answer + 1)\n")
    assert read_until(client, b">>> ").startswith(b"43")
    client.sendall(b"1 / 0\n")
    assert b"ZeroDivisionError" in read_until(client, b">>> ")


def test_each_session_has_names_of_its_own(run: Any, connect: Any, tmp_path: Path):
    server = run(BackdoorServer(f"unix:{tmp_path / 'door'}"))
    one, other = connect(server), connect(server)
    for client in (one, other):
        read_until(client, b">>> ")
    one.sendall(b"secret = 1\n")
    read_until(one, b">>> ")
    other.sendall(b"secret\n")
    assert b"NameError" in read_until(other, b">>> ")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:5001", "example.org:5001"])
def test_an_address_that_others_can_reach_is_refused(address: str):
    with pytest.raises(ConfigError, match="could be entered from other machines") as raised:
        BackdoorServer(address)
    assert "allow_remote=True" in str(raised.value.hint)


@pytest.mark.parametrize("address", [("", 0), ":0", 0])
def test_a_port_alone_is_one_of_this_machine(run: Any, address: Any):
    assert run(BackdoorServer(address)).address.host == "127.0.0.1"


def test_it_can_be_opened_to_all_in_so_many_words(run: Any):
    assert run(BackdoorServer("0.0.0.0:0", allow_remote=True)).address.host == "0.0.0.0"


def test_a_port_is_warned_of_and_a_unix_socket_is_not(
    run: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run(BackdoorServer(f"unix:{tmp_path / 'door'}"))
    assert not caplog.records
    server = run(BackdoorServer("127.0.0.1:0"))
    assert f"a backdoor is open at 127.0.0.1:{server.port}" in caplog.text


def test_who_comes_and_goes_is_told(
    run: Any, connect: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    server = run(BackdoorServer("127.0.0.1:0"))
    client = connect(server)
    read_until(client, b">>> ")
    client.sendall(b"quit()\n")
    assert client.recv(100) == b""
    host, port = client.getsockname()
    while "has left" not in caplog.text:
        gevent.sleep(0.001)
    assert f"BackdoorServer: {host}:{port} has come in" in caplog.text


def test_a_stop_ends_the_sessions_at_once(run: Any, connect: Any, tmp_path: Path):
    path = tmp_path / "door"
    server = run(BackdoorServer(f"unix:{path}"))
    client = connect(server)
    read_until(client, b">>> ")
    with gevent.Timeout(4):
        server.stop()
    assert client.recv(100) == b""
    assert not path.exists()


def test_it_can_be_started_again(run: Any, connect: Any, tmp_path: Path):
    server = BackdoorServer(f"unix:{tmp_path / 'door'}")
    for _ in range(3):
        run(server)
        read_until(connect(server), b">>> ")
        server.stop()


def test_a_port_in_use_fails_the_start(run: Any):
    first = run(BackdoorServer("127.0.0.1:0"))
    with pytest.raises(Unavailable, match=r"BackdoorServer cannot listen on .* in use"):
        BackdoorServer(first.address).start()


def test_it_can_be_bound_before_it_starts_and_that_undone(tmp_path: Path):
    path = tmp_path / "door"
    server = BackdoorServer(f"unix:{path}")
    server.bind()
    assert path.exists()
    server.unbind()
    assert not path.exists()
    server.start()
    server.stop()
