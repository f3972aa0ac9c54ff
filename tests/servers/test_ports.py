from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ginkgo.servers.addresses import Address
from ginkgo.servers.ports import Holder, holder_of

HOLD = """
import socket, sys, time
family = getattr(socket, sys.argv[1])
held = socket.socket(family, getattr(socket, sys.argv[2]))
held.bind(sys.argv[3] if family == socket.AF_UNIX else (sys.argv[3], 0))
if sys.argv[2] == "SOCK_STREAM":
    held.listen()
print(held.getsockname() if family == socket.AF_UNIX else held.getsockname()[1], flush=True)
sys.stdin.read()
"""


class Other:
    """Another process that holds a port until it is left."""

    def __init__(self, family: str, kind: str, host: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, family, kind, host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Other:
        assert self.process.stdout is not None
        self.told = self.process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    ("family", "kind", "held", "wanted"),
    [
        ("AF_INET", "SOCK_STREAM", "127.0.0.1", "127.0.0.1"),
        ("AF_INET", "SOCK_STREAM", "0.0.0.0", "127.0.0.1"),
        ("AF_INET", "SOCK_STREAM", "127.0.0.1", ""),
        ("AF_INET6", "SOCK_STREAM", "::1", "::1"),
        ("AF_INET6", "SOCK_STREAM", "::", ""),
        ("AF_INET", "SOCK_DGRAM", "127.0.0.1", "127.0.0.1"),
        ("AF_INET6", "SOCK_DGRAM", "::1", "::1"),
    ],
)
def test_the_process_that_holds_a_port_is_found(family: str, kind: str, held: str, wanted: str):
    with Other(family, kind, held) as other:
        holder = holder_of(Address(wanted, int(other.told)), datagram=kind == "SOCK_DGRAM")
    assert holder is not None
    assert holder.pid == other.process.pid
    assert sys.executable in holder.command


def test_the_process_that_holds_a_unix_socket_is_found(tmp_path: Path):
    path = tmp_path / "a.sock"
    with Other("AF_UNIX", "SOCK_STREAM", str(path)) as other:
        holder = holder_of(Address(path=os.path.relpath(path)))
    assert holder is not None and holder.pid == other.process.pid


def test_of_two_on_a_port_it_is_the_one_with_exactly_that_address():
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        with Other("AF_INET", "SOCK_STREAM", "127.0.0.2") as other:
            theirs = int(other.told)
            exact = holder_of(Address("127.0.0.2", theirs))
            assert exact is not None and exact.pid == other.process.pid
        holder = holder_of(Address("127.0.0.1", port))
    assert str(holder) == "this very process"


def test_nobody_holds_a_free_port(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert holder_of(Address("127.0.0.1", port)) is None
    assert holder_of(Address(path=str(tmp_path / "nothing"))) is None


def test_a_holder_prints_as_pid_and_command():
    assert str(Holder(4711, "nginx: master")) == "pid 4711 (nginx: master)"
    assert str(Holder(4711, "")) == "pid 4711"


def test_a_command_line_cannot_upset_a_terminal():
    evil = "\x1b]52;c;aGk=\x07" + "x" * 500
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, "AF_INET", "SOCK_STREAM", "127.0.0.1", evil],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        holder = holder_of(Address("127.0.0.1", int(process.stdout.readline())))
        process.communicate()
    assert holder is not None
    assert holder.command.isprintable() and len(holder.command) == 80
