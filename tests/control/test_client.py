"""What the client makes of a server that answers, one that does not, and one that is none."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.control.harness import Served, as_nobody, eventually, let_everybody_in

from ginkgo.control.client import Busy, Client, NotAnswering, Refused, Skewed, Unreachable
from ginkgo.core.errors import PermissionDenied


@contextmanager
def answering(folder: Path, *answers: bytes, hold: bool = False) -> Iterator[list[bytes]]:
    """A server of recorded answers: each connection gets one, and is closed."""
    asked: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "control.sock"))
    listener.listen()
    listener.settimeout(20)
    done = threading.Event()

    def serve() -> None:
        for answer in answers:
            sock, _ = listener.accept()
            with sock:
                asked.append(sock.recv(65536))
                sock.sendall(answer)
                if hold:
                    done.wait(20)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        done.set()
        thread.join()
        listener.close()


def recorded(status: str, body: dict[str, object], protocol: str = "1") -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nGinkgo-Protocol: {protocol}\r\nContent-Length: {len(content)}"
    return head.encode() + b"\r\n\r\n" + content


def get(folder: Path, path: str = "/api/v1/status", **more: Any) -> dict[str, Any]:
    """Ask on a connection of its own."""
    with Client(str(folder), **more) as client:
        return client.get(path)


def post(folder: Path, path: str = "/api/v1/stop") -> dict[str, Any]:
    with Client(str(folder)) as client:
        return client.post(path, {})


def test_it_asks_again_and_again_on_one_connection(served: Served) -> None:
    with Client(str(served.folder)) as client:
        assert client.get("/api/v1/status")["state"] == "ready"
        assert client.post("/api/v1/stop", {})["accepted"] is True
        assert client.get("/api/v1/tree")["path"] == "App"
        assert len(served.server._connections) == 1


def test_a_deep_folder_is_reached(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 200)
    folder.mkdir()
    served = Served(folder)
    with Client(str(folder)) as client:
        assert client.get("/api/v1/status")["state"] == "ready"
    served.server.close()


def test_a_large_answer_is_read_whole(served: Served) -> None:
    served.instance.tree = lambda: {"name": "x" * (4 << 20)}  # type: ignore[method-assign]
    with Client(str(served.folder)) as client:
        assert len(client.get("/api/v1/tree")["name"]) == 4 << 20


def test_without_a_socket_nobody_is_reached(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"there is no control socket .*/control\.sock"):
        get(tmp_path)
    with pytest.raises(Unreachable, match="there is no control socket"):
        get(tmp_path / "nowhere")


def test_on_the_socket_of_a_dead_instance_nobody_is_reached(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "control.sock"))
    left.close()
    with pytest.raises(Unreachable, match="nobody listens"):
        get(tmp_path)


@pytest.mark.fault(110)
def test_a_silent_process_is_told_with_its_state_and_a_remedy(tmp_path: Path) -> None:
    script = f"""
        import os, signal, socket
        s = socket.socket(socket.AF_UNIX); s.bind({str(tmp_path / "control.sock")!r}); s.listen()
        print("up", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        pid = process.pid
        eventually(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
        with pytest.raises(NotAnswering) as caught:
            get(tmp_path, pid=pid, timeout=0.1)
        assert f"pid {pid} is running, but not answering for 0.1 s" in str(caught.value)
        assert "(stopped by a signal: T)" in str(caught.value)
        assert caught.value.hint == f"`kill -CONT {pid}` lets it go on"
    finally:
        process.kill()
        process.communicate()


def test_a_full_queue_is_silence_too(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "control.sock"))
    listener.listen(0)
    waiting = []
    for _ in range(2):
        waiting.append(socket.socket(socket.AF_UNIX))
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(str(tmp_path / "control.sock"))
    with pytest.raises(NotAnswering):
        get(tmp_path, timeout=0.1)
    for each in (*waiting, listener):
        each.close()


def test_half_an_answer_is_silence_too(tmp_path: Path) -> None:
    with answering(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{", hold=True):  # noqa: SIM117
        with pytest.raises(NotAnswering):
            get(tmp_path, timeout=0.1)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"[" * 2000,
        b"HTTP/1.1 \xb2\xb2\xb2 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"x" * (200 << 10),
    ],
    ids=lambda answer: repr(answer[:60]),
)
def test_what_is_no_control_server_is_called_that(tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer), pytest.raises(Skewed, match="does not speak"):
        get(tmp_path)


def test_a_cut_connection_is_tried_once_more_to_read_and_not_to_act(tmp_path: Path) -> None:
    with answering(tmp_path, b"", recorded("200 OK", {"state": "ready"})) as asked:
        assert get(tmp_path) == {"state": "ready"}
    assert len(asked) == 2
    os.unlink(tmp_path / "control.sock")
    with answering(tmp_path, b"") as asked, pytest.raises(Unreachable, match="hung up"):
        post(tmp_path)
    assert len(asked) == 1


def test_a_connection_that_was_closed_meanwhile_is_made_again(tmp_path: Path) -> None:
    ready = recorded("200 OK", {"state": "ready"})
    with answering(tmp_path, ready, ready), Client(str(tmp_path)) as client:
        for _ in range(2):
            assert client.get("/api/v1/status") == {"state": "ready"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [("403 Forbidden", PermissionDenied), ("503 Unavailable", Busy), ("500 Error", Refused)],
)
def test_a_no_is_told_in_the_instances_words(
    tmp_path: Path, status: str, kind: type[Exception]
) -> None:
    no = {"error": {"what": "No", "why": "Because.", "do": "Give up."}}
    with (
        answering(tmp_path, recorded(status, no)),
        pytest.raises(kind, match=r"^No: Because$") as e,
    ):
        get(tmp_path)
    assert e.value.hint == "Give up"  # type: ignore[attr-defined]


@pytest.mark.fault(109)
@pytest.mark.parametrize("protocol", ["0", "2"])
def test_the_neighbouring_versions_are_understood(tmp_path: Path, protocol: str) -> None:
    status = recorded("200 OK", {"state": "ready", "new": {"deep": []}}, protocol)
    accepted = recorded("202 Accepted", {"accepted": True}, protocol)
    with answering(tmp_path, status, accepted):
        assert get(tmp_path)["state"] == "ready"
        assert post(tmp_path)["accepted"] is True


@pytest.mark.fault(109)
def test_what_another_version_does_not_know_is_told_as_that(tmp_path: Path) -> None:
    unknown = recorded("404 Not Found", {"error": {"what": "There is no /x"}}, "2")
    with answering(tmp_path, unknown), pytest.raises(Skewed, match="speaks protocol 2"):
        get(tmp_path, "/x")


@pytest.mark.root
@pytest.mark.fault(101)
def test_a_socket_that_is_not_ours_is_no_silence(tmp_path: Path, served: Served) -> None:
    let_everybody_in(tmp_path)
    answer = as_nobody(lambda: str(get(tmp_path)))
    assert answer.startswith("PermissionDenied(")
    assert "is not yours to use (you are uid 65534)" in answer
