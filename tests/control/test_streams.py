"""Answers that go on: bounded, alive, and ended with the server or with their client."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.control.conftest import Serve
from tests.control.harness import Client, Served, eventually

from ginkgo.control import connection
from ginkgo.control.api import ROUTES, Route
from ginkgo.control.call import Call
from ginkgo.control.connection import Limits
from ginkgo.control.streams import KEPT, KEPT_BYTES, Stream
from ginkgo.control.tcp import Tcp


class Source:
    """A route that streams, and what has become of its streams."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.gone: list[int] = []
        self.calls: list[Call] = []

    def stream(self, call: Call) -> Stream:
        number = len(self.streams)
        stream = Stream(on_gone=lambda: self.gone.append(number))
        self.calls.append(call)
        self.streams.append(stream)
        return stream

    @property
    def routes(self) -> tuple[Route, ...]:
        return (*ROUTES, Route("GET", "/stream", self.stream))


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def served(serve: Serve, source: Source) -> Served:
    return serve(routes=source.routes, tcp=Tcp("127.0.0.1:0"))


class Reader:
    """Reads the chunks of one stream."""

    def __init__(self, client: Client, **headers: str) -> None:
        client.ask("GET /stream", **headers)
        self.file = client.sock.makefile("rb")
        self.head = "".join(iter(self._line, "\r\n"))

    def _line(self) -> str:
        return self.file.readline().decode("latin-1")

    def chunk(self) -> bytes:
        """The next chunk; empty at the end."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert self.file.readline() == b"\r\n"
        return data

    def event(self) -> dict[str, Any]:
        """The next event, comments left out."""
        while True:
            for text in self.chunk().decode().split("\n\n"):
                if text and not text.startswith(":"):
                    fields = dict(line.split(": ", 1) for line in text.split("\n"))
                    return {**fields, "data": json.loads(fields["data"])}


@contextmanager
def reading(client: Client, **headers: str) -> Iterator[Reader]:
    reader = Reader(client, **headers)
    try:
        yield reader
    finally:
        reader.file.close()
        client.close()


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_what_happens_is_told_as_it_happens(served: Served, source: Source, over: str) -> None:
    client = served.client() if over == "unix" else served.tcp_client()
    with reading(client) as reader:
        assert reader.head.startswith("HTTP/1.1 200 ")
        assert "text/event-stream" in reader.head
        assert "no-store" in reader.head
        assert reader.chunk().startswith(b":")  # at once: so the client knows that it is on
        for number in range(3):
            source.streams[0].send({"line": "one\ntwo"}, "event", number)
            assert reader.event() == {
                "id": str(number),
                "event": "event",
                "data": {"line": "one\ntwo"},
            }
    eventually(lambda: source.gone == [0])


def test_what_was_sent_before_the_answer_comes_first(serve: Serve, source: Source) -> None:
    def stream(call: Call) -> Stream:
        stream = source.stream(call)
        stream.send({"n": 1})
        return stream

    served = serve(routes=(Route("GET", "/stream", stream),))
    with reading(served.client()) as reader:
        assert reader.event()["data"] == {"n": 1}


def test_a_stream_that_ends_leaves_the_connection(served: Served, source: Source) -> None:
    client = served.client()
    reader = Reader(client)
    source.streams[0].send({"last": True})
    source.streams[0].end()
    while reader.chunk():
        pass
    assert source.gone == [0]
    assert client.json("GET /api/v1/status")[0] == 200
    reader.file.close()
    client.close()


def test_the_head_of_a_stream_is_no_stream(served: Served, source: Source) -> None:
    with served.client() as client:
        client.ask("HEAD /stream")
        assert client.read(head_only=True)[0] == 200
        assert source.gone == [0]
        assert client.json("GET /api/v1/status")[0] == 200


def test_a_client_says_what_it_has_had(served: Served, source: Source) -> None:
    with reading(served.client(), Last_Event_ID="17", Accept="text/event-stream"):
        assert (source.calls[0].last_event_id, source.calls[0].wants_stream) == (17, True)
    for wrong in ("", "-1", "x", "1" * 30, "²"):
        with reading(served.client(), Last_Event_ID=wrong):
            assert source.calls[-1].last_event_id is None


def test_a_silent_stream_says_that_it_is_alive(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEARTBEAT", 0.05)
    with reading(served.client()) as reader:
        for _ in range(3):
            assert reader.chunk().startswith(b": ")


@pytest.mark.fault(106)
def test_a_client_that_takes_nothing_is_cut_off(serve: Serve, source: Source) -> None:
    served = serve(routes=source.routes, limits=Limits(answer_time=0.2))
    with served.client() as client:
        client.ask("GET /stream")
        eventually(lambda: source.streams)
        deadline = time.monotonic() + 20
        while not source.gone and time.monotonic() < deadline:
            source.streams[0].send({"text": "x" * 1000})
            time.sleep(0.0005)
        assert source.gone == [0]


@pytest.mark.fault(106)
def test_what_waits_for_a_client_is_bounded() -> None:
    for size in (10, 10_000):
        stream = Stream()
        for _ in range(KEPT * 2):
            stream.send({"text": "x" * size})
        assert stream.ended
        data = stream.take()
        assert len(data) <= KEPT_BYTES + 100
        assert data.count(b"\n\n") <= KEPT + 1
        assert data.endswith(b": cut off: you are slower than what happens\n\n")


def test_a_slow_client_is_told_why(serve: Serve, source: Source) -> None:
    served = serve(routes=source.routes)
    client = served.client()
    reader = Reader(client)
    held, gate = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        gate.wait()

    served.server._loop.post(hold)  # the control thread takes nothing meanwhile
    assert held.wait(20)
    for number in range(KEPT + 10):
        source.streams[0].send({"number": number})
    gate.set()
    last = b"".join(iter(reader.chunk, b""))
    assert last.endswith(b": cut off: you are slower than what happens\n\n")
    eventually(lambda: source.gone == [0])
    reader.file.close()
    client.close()


def test_streams_are_not_without_number(serve: Serve, source: Source) -> None:
    served = serve(routes=source.routes, limits=Limits(streams=2))
    with reading(served.client()) as one, reading(served.client()):
        one.chunk()
        eventually(lambda: len(source.streams) == 2)
        status, answer = served.json("GET /stream")
        assert (status, "2 streams are open" in answer["error"]["why"]) == (503, True)
        assert source.gone == [2]
    eventually(lambda: len(source.gone) == 3)
    with reading(served.client()) as another:
        assert another.chunk()


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_streams_end_with_the_server(served: Served, source: Source, over: str) -> None:
    client = served.client() if over == "unix" else served.tcp_client()
    with reading(client) as reader:
        source.streams[0].send({"last": True})
        served.server.close()
        data = b"".join(iter(reader.chunk, b""))  # to its proper end, the chunk of no bytes
        assert data.endswith(b'data: {"last": true}\n\n')
    assert source.gone == [0]
    source.streams[0].send({"nobody": "hears"})


@pytest.mark.fault(106)
def test_answers_come_while_32_slow_clients_hang_on_it(serve: Serve, source: Source) -> None:
    served = serve(routes=source.routes, tcp=Tcp("127.0.0.1:0"))
    slow = [served.tcp_client() if number % 2 else served.client() for number in range(64)]
    for client, kind in zip(
        slow, itertools.cycle(("half", "stream", "unread", "idle")), strict=False
    ):
        if kind == "half":
            client.send(b"GET /api/v1/st")
        elif kind == "stream":
            client.ask("GET /stream")
        elif kind == "unread":
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            for _ in range(20):
                client.ask("GET /static/page.js")
    times = []
    for ask in (served.json, served.tcp_json) * 10:
        began = time.monotonic()
        assert ask("GET /api/v1/status")[0] == 200
        times.append(time.monotonic() - began)
    assert sorted(times)[len(times) // 2] < 0.1
    assert max(times) < 1  # the machine may be busy
    for client in slow:
        client.close()
    eventually(lambda: len(source.gone) == len(source.streams))


def test_any_thread_may_send(served: Served, source: Source) -> None:
    with reading(served.client()) as reader:
        eventually(lambda: source.streams)

        def send(first: int) -> None:
            for number in range(first, first + 100):
                source.streams[0].send({"number": number})

        threads = [threading.Thread(target=send, args=(first,)) for first in (0, 100, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        source.streams[0].end()
        data = b"".join(iter(reader.chunk, b"")).decode()
    lines = [line for line in data.split("\n") if line.startswith("data: ")]
    numbers = [json.loads(line[6:])["number"] for line in lines]
    assert sorted(numbers) == list(range(300))


def test_a_stream_is_for_whoever_may_read(serve: Serve, source: Source, tmp_path: Path) -> None:
    served = serve(tmp_path, routes=source.routes, tcp=Tcp("127.0.0.1:0", token="t" * 20))
    assert served.tcp_json("GET /stream")[0] == 401
    assert source.streams == []
