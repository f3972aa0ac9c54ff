"""The streaming client: server-sent events as they come over the control socket."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ginkgo.control.client import Client, NotAnswering, Refused, Skewed, query
from ginkgo.control.stream import Stream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGinkgo-Protocol: 1\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
PLAIN = HEAD + b"Connection: close\r\n\r\n"

Serve = Callable[..., Client]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve one client with those pieces; the connection stays open until the end if `hold`."""
    over = threading.Event()
    ended: list[Callable[[], object]] = []

    def begin(*pieces: bytes, hold: bool = False) -> Client:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()

        def run() -> None:
            with listener, listener.accept()[0] as sock:
                asked = b""
                while b"\r\n\r\n" not in asked:
                    asked += sock.recv(4096)
                for piece in pieces:
                    sock.sendall(piece)
                if hold:
                    over.wait(20)

        thread = threading.Thread(target=run)
        thread.start()
        ended.append(thread.join)
        return Client(str(tmp_path), pid=os.getpid(), timeout=5)

    yield begin
    over.set()
    for join in ended:
        join()


def read(client: Client, **more: float) -> list[tuple[str, object, str]]:
    with Stream(client, "/api/v1/events?stream=1", **more) as stream:
        return [(one.event, one.data, one.id) for one in stream.messages()]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_messages_come_however_they_are_cut(serve: Serve, size: int) -> None:
    body = b': hello\n\nid: 4\nevent: event\ndata: {"a":\ndata: 1}\n\ndata:{}\r\n\r\n: late\n\n'
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    client = serve(CHUNKED, *map(chunk, pieces), b"0\r\n\r\n")
    assert read(client) == [("event", {"a": 1}, "4"), ("message", {}, "4")]


def test_a_body_may_end_with_the_connection(serve: Serve) -> None:
    client = serve(PLAIN + b'data: {"a": 1}\n\n', b"data: {")
    assert read(client) == [("message", {"a": 1}, "")]


def test_a_refusal_is_an_error(serve: Serve) -> None:
    told = b'{"error": {"what": "No such service", "why": "it is gone.", "do": ""}}'
    head = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    client = serve(head % len(told) + told)
    with pytest.raises(Refused, match="No such service: it is gone"):
        read(client)


def test_silence_is_not_waited_out(serve: Serve) -> None:
    client = serve(CHUNKED, chunk(b"data: {}\n\n"), hold=True)
    with pytest.raises(NotAnswering):
        read(client, silence=0.05)


def test_a_hangup_before_the_answer_is_told(serve: Serve) -> None:
    with pytest.raises(NotAnswering):
        read(serve(b"HTTP/1.1 200"))


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        CHUNKED + b"zz\r\n",
        PLAIN + b"data: no\n\n",
        PLAIN + b"data: [1]\n\n",
    ],
)
def test_what_is_no_stream_of_ours_is_told(serve: Serve, answer: bytes) -> None:
    with pytest.raises(Skewed):
        read(serve(answer))


def test_it_ends_when_its_reader_has_gone(serve: Serve) -> None:
    client = serve(CHUNKED, hold=True)
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w") as out:
        os.close(ours)
        with Stream(client, "/") as stream:
            assert list(stream.messages(out)) == []


def test_values_of_a_query_are_encoded() -> None:
    assert query("/a") == "/a"
    assert query("/a", path="App/Db &=ü", none=None, n=3) == "/a?path=App%2FDb%20%26%3D%C3%BC&n=3"
