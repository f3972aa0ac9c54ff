from __future__ import annotations

import array
import io
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent.socket import wait_read

from ginkgo.servers.connection import Connection

Pair = tuple[Connection, gsocket.socket]


@pytest.fixture(params=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A connection of ours and its peer."""
    if request.param == "unix":
        ours, peer = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    connection = Connection(ours.family, ours.type, ours.proto, ours.detach())
    other = gsocket.socket(peer.family, peer.type, peer.proto, peer.detach())
    yield connection, other
    connection.close()
    other.close()


Read = Callable[[Connection, int], bytes]


def with_recv(connection: Connection, size: int) -> bytes:
    return connection.recv(size)


def with_recv_into(connection: Connection, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: connection.recv_into(buffer)])


def with_recv_into_a_part(connection: Connection, size: int) -> bytes:
    buffer = bytearray(size + 10)
    return bytes(buffer[: connection.recv_into(buffer, size)])


ways = pytest.mark.parametrize("read", [with_recv, with_recv_into, with_recv_into_a_part])


@ways
def test_what_the_peer_sends_is_read(pair: Pair, read: Read):
    connection, peer = pair
    for message in (b"one", b"two", b"x" * 1000):
        peer.sendall(message)
        assert read(connection, 4096) == message
    assert connection.reads == 3


@ways
def test_a_read_waits_for_data(pair: Pair, read: Read):
    connection, peer = pair
    for _ in range(3):
        reader = gevent.spawn(read, connection, 100)
        gevent.sleep(0)
        assert not reader.ready()
        peer.sendall(b"data")
        assert reader.get() == b"data"


@ways
def test_a_long_stream_arrives_whole_in_any_pieces(pair: Pair, read: Read):
    connection, peer = pair
    chance = random.Random(1)
    sent = chance.randbytes(2_000_000)
    writer = gevent.spawn(peer.sendall, sent)
    got = bytearray()
    while len(got) < len(sent):
        got += read(connection, chance.choice([1, 10, 1000, 65536]))
    assert got == sent
    writer.get()


@ways
def test_a_peer_that_never_stops_sending_lets_others_have_their_turn(pair: Pair, read: Read):
    connection, peer = pair
    other_turns = 0

    def others() -> None:
        nonlocal other_turns
        while True:
            other_turns += 1
            gevent.sleep(0)

    waiting = gevent.spawn(others)
    peer.sendall(b"x" * 20_000)
    for _ in range(400):
        assert read(connection, 50) == b"x" * 50
    waiting.kill()
    assert other_turns > 20


@ways
def test_the_end_of_the_stream_is_told_some_times_and_then_raised(pair: Pair, read: Read):
    connection, peer = pair
    peer.sendall(b"last")
    peer.close()
    assert read(connection, 100) == b"last"
    for _ in range(10):
        assert read(connection, 100) == b""
    with pytest.raises(ConnectionAbortedError, match="The peer has closed"):
        read(connection, 100)


def test_a_handler_that_does_not_look_for_the_end_cannot_hang_the_process(pair: Pair):
    connection, peer = pair
    peer.close()
    lines = connection.makefile("r")
    with pytest.raises(ConnectionAbortedError):
        while True:
            lines.readline().strip()


@ways
def test_a_timeout_is_kept(pair: Pair, read: Read):
    connection, peer = pair
    connection.settimeout(0.01)
    with pytest.raises(TimeoutError):
        read(connection, 100)
    peer.sendall(b"late")
    connection.settimeout(10)
    assert read(connection, 100) == b"late"


@ways
def test_a_timeout_does_not_end_a_read_of_what_is_there(pair: Pair, read: Read):
    connection, peer = pair
    peer.sendall(b"there")
    assert read(connection, 100) == b"there"
    peer.sendall(b"again")
    wait_read(connection.fileno())
    connection.settimeout(1e-9)
    assert read(connection, 100) == b"again"


@ways
def test_a_socket_that_does_not_block_says_that_nothing_is_there(pair: Pair, read: Read):
    connection, peer = pair
    peer.sendall(b"1")
    assert read(connection, 100) == b"1"
    connection.setblocking(False)
    with pytest.raises(BlockingIOError):
        read(connection, 100)


def test_flags_are_honoured(pair: Pair):
    connection, peer = pair
    peer.sendall(b"look")
    assert connection.recv(100, socket.MSG_PEEK) == b"look"
    buffer = bytearray(100)
    assert connection.recv_into(buffer, 4, socket.MSG_PEEK) == 4
    assert connection.recv(100) == b"look"
    with pytest.raises(BlockingIOError):
        connection._sock.recv(100, socket.MSG_DONTWAIT)


def test_a_read_of_nothing_is_no_end(pair: Pair):
    connection, peer = pair
    peer.sendall(b"x")
    assert [connection.recv(0) for _ in range(20)] == [b""] * 20
    assert connection.recv(1) == b"x"


def test_a_read_into_what_is_not_made_of_bytes(pair: Pair):
    connection, peer = pair
    numbers = array.array("I", [0] * 4)
    peer.sendall(b"\1" * 16)
    assert connection.recv_into(numbers) == 16
    assert connection.reads == 1


def test_a_second_reader_is_told_that_there_is_one(pair: Pair):
    connection, peer = pair
    peer.sendall(b"x")
    connection.recv(10)
    first = gevent.spawn(connection.recv, 10)
    gevent.sleep(0)
    with pytest.raises(gevent.exceptions.ConcurrentObjectUseError):
        connection.recv(10)
    peer.sendall(b"y")
    assert first.get() == b"y"


# -- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"x" * 10, bytearray(b"x" * 10), memoryview(b"x" * 10), array.array("H", [1] * 5), b""]
)
def test_everything_with_bytes_can_be_sent(pair: Pair, data: Any):
    connection, peer = pair
    assert connection.sendall(data) is None
    connection.shutdown(socket.SHUT_WR)
    assert peer.makefile("rb").read() == bytes(memoryview(data).cast("B"))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_more_than_the_kernel_takes_is_sent_to_the_end(pair: Pair, kind: Any):
    connection, peer = pair
    sent = random.Random(2).randbytes(5_000_000)
    writer = gevent.spawn(connection.sendall, kind(sent))
    gevent.sleep(0)
    assert not writer.ready()
    file = peer.makefile("rb")
    assert file.read(len(sent)) == sent
    writer.get()


def test_a_timeout_ends_a_send_that_nobody_reads(pair: Pair):
    connection, _ = pair
    connection.settimeout(0.01)
    with pytest.raises(TimeoutError):
        connection.sendall(b"x" * 5_000_000)


def test_a_send_that_does_not_block_raises_when_nothing_fits(pair: Pair):
    connection, _ = pair
    connection.setblocking(False)
    with pytest.raises(BlockingIOError):
        for _ in range(1000):
            connection.sendall(b"x" * 100_000)


def test_a_send_to_a_peer_that_has_gone_raises(pair: Pair):
    connection, peer = pair
    peer.close()
    with pytest.raises(ConnectionError):
        for _ in range(100):
            connection.sendall(b"x")


def test_no_option_is_asked_for_at_a_send(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    connection, peer = pair
    monkeypatch.setattr(Connection, "getsockopt", None)
    connection.sendall(b"hello")
    assert peer.recv(10) == b"hello"


# -- all the rest is gevent's --------------------------------------------------------------------


def test_a_file_reads_lines_and_writes(pair: Pair):
    connection, peer = pair
    peer.sendall(b"one\ntwo\nthree")
    peer.shutdown(socket.SHUT_WR)
    with connection.makefile("rw") as file:
        assert list(file) == ["one\n", "two\n", "three"]
        file.write("answer\n")
        file.flush()
        assert peer.recv(100) == b"answer\n"


def test_a_file_is_sent(pair: Pair, tmp_path: Path):
    connection, peer = pair
    (tmp_path / "file").write_bytes(b"content" * 1000)
    with open(tmp_path / "file", "rb") as file:
        assert connection.sendfile(file) == 7000
    assert peer.makefile("rb").read(7000) == b"content" * 1000


def test_a_duplicate_is_of_the_same_kind(pair: Pair):
    connection, peer = pair
    with connection.dup() as other:
        assert type(other) is Connection
        other.sendall(b"hello")
        assert peer.recv(10) == b"hello"


def test_it_is_closed_at_the_end_of_with(pair: Pair):
    connection, peer = pair
    with connection:
        pass
    assert connection.closed and connection.fileno() == -1
    assert peer.recv(1) == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        connection.recv(1)


def test_a_reader_is_told_when_another_greenlet_closes(pair: Pair):
    connection, _ = pair
    reader = gevent.spawn(connection.recv, 10)
    gevent.sleep(0)
    connection.close()
    with pytest.raises(OSError, match="File descriptor was closed"):
        reader.get()


def test_it_has_no_dictionary():
    with Connection(socket.AF_INET, socket.SOCK_STREAM) as connection:
        assert not hasattr(connection, "__dict__")


# -- the end -------------------------------------------------------------------------------------


def test_the_end_of_the_input_wakes_the_reader_and_lets_the_answer_out(pair: Pair):
    connection, peer = pair

    def handler() -> None:
        assert connection.recv(10) == b""
        connection.sendall(b"goodbye")
        connection.close()

    handling = gevent.spawn(handler)
    gevent.sleep(0)
    connection.end_input()
    handling.get()
    assert peer.makefile("rb").read() == b"goodbye"


def test_what_has_arrived_before_the_end_of_the_input_is_still_read(pair: Pair):
    connection, peer = pair
    peer.sendall(b"before")
    wait_read(connection.fileno())
    connection.end_input()
    assert connection.recv(100) == b"before"
    assert connection.recv(100) == b""


def test_the_input_of_what_is_closed_has_ended_already(pair: Pair):
    connection, peer = pair
    peer.close()
    connection.close()
    connection.end_input()


def test_hanging_up_closes_even_while_a_file_is_open(pair: Pair):
    connection, peer = pair
    file = connection.makefile("rb")
    connection.hang_up()
    assert peer.recv(1) == b""
    assert connection.fileno() == -1
    with pytest.raises((OSError, ValueError)):
        file.read(1)
    file.close()
    connection.hang_up()


def test_a_buffer_that_was_not_flushed_makes_no_noise(pair: Pair):
    connection, _ = pair
    file = connection.makefile("wb")
    file.write(b"never sent")
    connection.hang_up()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.close()
    assert isinstance(file, io.BufferedWriter)
