"""The control server: who gets in, what is too much, and that it goes on whatever comes."""

import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from tests.control.conftest import Serve
from tests.control.harness import Client, Served, as_nobody, eventually, let_everybody_in
from tests.fake_instance import FakeInstance

from ginkgo.control.connection import Limits
from ginkgo.control.server import ControlServer
from ginkgo.control.tcp import Tcp
from ginkgo.core.errors import CannotCreate

# -- the socket's file


@pytest.mark.fault(101)
def test_the_file_is_its_owners_only_whatever_the_umask(tmp_path: Path, serve: Serve) -> None:
    before = os.umask(0)
    try:
        served = serve()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(served.path).st_mode) == 0o600
    assert os.listdir(tmp_path) == ["control.sock"]


@pytest.mark.fault(102)
def test_the_folder_may_lie_deeper_than_a_socket_address_is_long(
    tmp_path: Path, serve: Serve
) -> None:
    deep = tmp_path / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    serve(deep)
    fd = os.open(deep, os.O_PATH)
    with Client(f"/proc/self/fd/{fd}/control.sock") as client:
        assert client.json("GET /api/v1/status")[0] == 200
    os.close(fd)


@pytest.mark.fault(100)
def test_a_file_that_a_dead_instance_left_is_replaced(tmp_path: Path, serve: Serve) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "control.sock"))
    left.close()
    assert serve().json("GET /api/v1/status")[0] == 200


@pytest.mark.fault(100)
def test_the_socket_of_a_live_instance_is_never_taken(tmp_path: Path, served: Served) -> None:
    second = ControlServer(tmp_path, FakeInstance())
    with pytest.raises(CannotCreate, match=r"another process answers on .*control\.sock"):
        second.start()
    second.close()
    assert served.json("GET /api/v1/status")[0] == 200


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotCreate, match="nowhere"):
        ControlServer(tmp_path / "nowhere", FakeInstance()).start()


def test_closing_leaves_a_file_that_somebody_else_put_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    served = Served(folder)
    (tmp_path / "theirs").write_text("mine")
    os.rename(tmp_path / "theirs", served.path)
    served.server.close()
    assert Path(served.path).read_text() == "mine"


@pytest.mark.fault(103)
def test_a_file_that_a_cleaner_removed_is_made_again(served: Served) -> None:
    with served.client() as early:
        os.unlink(served.path)
        eventually(lambda: os.path.exists(served.path))
        assert served.json("GET /api/v1/status")[0] == 200
        assert early.json("GET /api/v1/status")[0] == 200  # and who was there stays
    assert served.reports.pop().endswith("had been removed and was made again.")


@pytest.mark.fault(103)
def test_a_folder_that_is_gone_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    served = Served(folder)
    with served.client() as client:
        os.rename(folder, tmp_path / "elsewhere")
        os.unlink(tmp_path / "elsewhere" / "control.sock")
        eventually(lambda: served.reports)
        assert client.json("GET /api/v1/status")[0] == 200
    served.server.close()
    assert os.listdir(tmp_path / "elsewhere") == []


# -- who gets in


@pytest.mark.root
@pytest.mark.fault(101)
def test_another_user_is_refused_even_where_the_door_was_opened(served: Served) -> None:
    let_everybody_in(served.folder)
    os.chmod(served.path, 0o666)

    def stop() -> str:
        with served.client() as client:
            client.ask("POST /api/v1/stop")
            status, _, body = client.read()
        return f"{status} {body.decode()}"

    answer = as_nobody(stop)
    assert answer.startswith("403 ")
    assert "you are uid 65534" in answer
    assert served.instance.stops == 0
    eventually(lambda: served.reports)
    assert served.reports.pop().startswith("Refused uid 65534 (pid ")


def test_who_asked_for_what_is_told(served: Served) -> None:
    comm = Path("/proc/self/comm").read_text().strip()
    served.json("POST /api/v1/stop")
    assert served.audits == [
        f"/api/v1/stop asked for by uid {os.geteuid()} (pid {os.getpid()}, {comm})",
    ]


# -- what is too much


@pytest.mark.fault(106)
def test_forty_slow_clients_keep_nobody_out(served: Served) -> None:
    slow = [served.client() for _ in range(40)]
    try:
        for client in slow:
            try:
                client.send(b"GET /api/v1/sta")
            except BrokenPipeError:
                pass  # dropped already, to make room for the later ones
        began = time.monotonic()
        assert served.json("GET /api/v1/status")[0] == 200
        assert time.monotonic() - began < 1
    finally:
        for client in slow:
            client.close()


@pytest.mark.fault(106)
def test_idle_clients_go_before_those_that_wait_for_an_answer(serve: Serve) -> None:
    served = serve(limits=Limits(connections=3))
    served.instance.state = "starting"
    with served.client() as waiting, served.client() as idle, served.client() as newer:
        waiting.ask("GET /api/v1/wait?state=ready")
        eventually(lambda: served.server._api._waiting)
        newer.json("GET /api/v1/status")
        assert served.json("GET /api/v1/status")[0] == 200
        assert idle.at_end()
        served.instance.become("ready")
        assert waiting.read()[0] == 200


@pytest.mark.fault(106)
def test_where_all_wait_the_one_that_waited_longest_is_told_to_ask_again(serve: Serve) -> None:
    served = serve(limits=Limits(connections=1))
    served.instance.state = "starting"
    with served.client() as waiting:
        waiting.ask("GET /api/v1/wait")
        eventually(lambda: served.server._api._waiting)
        assert served.json("GET /api/v1/status")[0] == 200
        assert waiting.read()[0] == 503


@pytest.mark.fault(106)
def test_a_request_has_to_arrive_in_time(serve: Serve) -> None:
    served = serve(limits=Limits(request_time=0.1))
    with served.client() as slow, served.client() as silent:
        slow.send(b"GET /api/v1/st")
        assert slow.read()[0] == 408
        assert slow.at_end()
        assert silent.at_end()


def test_a_connection_may_stay_idle_after_its_first_request(serve: Serve) -> None:
    served = serve(limits=Limits(request_time=0.05))
    with served.client() as idle, served.client() as other:
        assert idle.json("GET /api/v1/status")[0] == 200
        assert other.at_end()  # the same time went by for both
        assert idle.json("GET /api/v1/status")[0] == 200


@pytest.mark.fault(106)
def test_a_client_that_never_reads_is_dropped(serve: Serve) -> None:
    served = serve(limits=Limits(answer_time=0.1))
    served.instance.tree = lambda: {"name": "x" * (4 << 20)}  # type: ignore[method-assign]
    with served.client() as client:
        client.ask("GET /api/v1/tree")
        poll = select.poll()
        poll.register(client.sock, select.POLLRDHUP)
        assert poll.poll(20_000)


def test_an_answer_is_not_larger_than_the_cap(serve: Serve) -> None:
    served = serve(limits=Limits(unsent=1000))
    served.instance.tree = lambda: {"name": "x" * 1000}  # type: ignore[method-assign]
    status, answer = served.json("GET /api/v1/tree")
    assert (status, answer["error"]["what"]) == (500, "The answer is too large")


def test_a_large_answer_arrives_whole(served: Served) -> None:
    served.instance.tree = lambda: {"name": "x" * (4 << 20)}  # type: ignore[method-assign]
    assert len(served.json("GET /api/v1/tree")[1]["name"]) == 4 << 20


@pytest.mark.fault(105)
@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4294967295\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n100001\r\n" + b"x" * 0x100001,
    ],
)
def test_an_oversize_request_is_refused_before_it_is_read(served: Served, head: bytes) -> None:
    with served.client() as client:
        client.send(
            b"POST /api/v1/stop HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + head
        )
        assert client.read()[0] == 413
        assert client.at_end()
    assert served.instance.stops == 0


@pytest.mark.fault(105)
def test_endless_headers_are_refused(served: Served) -> None:
    with served.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000)
        assert client.read()[0] == 431
        assert client.at_end()


# -- HTTP as it is spoken


def test_one_connection_serves_many_requests(served: Served) -> None:
    with served.client() as client:
        for _ in range(3):
            assert client.json("GET /api/v1/status")[0] == 200


def test_requests_sent_ahead_are_answered_in_order(served: Served) -> None:
    with served.client() as client:
        request = b"GET /api/v1/%s HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send(request % b"status" + request % b"tree" + request % b"")
        schemas = [json.loads(client.read()[2])["schema"] for _ in range(3)]
    assert schemas == ["ginkgo.status/1", "ginkgo.tree/1", "ginkgo.hello/1"]


def test_half_a_request_sent_ahead_has_a_deadline_too(serve: Serve) -> None:
    served = serve(limits=Limits(request_time=0.1))
    with served.client() as client:
        client.send(b"GET /api/v1/tree HTTP/1.1\r\nHost: a\r\n\r\nGET /half")
        assert client.read()[0] == 200
        assert client.read()[0] == 408


def test_a_client_may_close_its_half_and_still_read(served: Served) -> None:
    with served.client() as client:
        client.ask("GET /api/v1/status")
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read()[0] == 200
        assert client.at_end()


def test_a_client_may_ask_whether_to_go_on(served: Served) -> None:
    with served.client() as client:
        client.send(
            b"POST /api/v1/stop HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.sock.recv(100).startswith(b"HTTP/1.1 100")
        client.send(b"{}")
        assert client.read()[0] == 202


def test_http_1_0_is_answered_and_closed(served: Served) -> None:
    with served.client() as client:
        client.send(b"GET /api/v1/status HTTP/1.0\r\n\r\n")
        assert client.read()[0] == 200
        assert client.at_end()


def test_answers_say_what_they_are(served: Served) -> None:
    with served.client() as client:
        client.ask("GET /api/v1/status")
        headers = client.read()[1]
    assert headers["content-type"] == "application/json"
    assert headers["ginkgo-protocol"] == "1"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    time.strptime(headers["date"], "%a, %d %b %Y %H:%M:%S GMT")


# -- it goes on


def test_a_fault_of_the_instance_is_answered_and_reported(served: Served) -> None:
    def broken() -> dict[str, object]:
        raise RuntimeError("a secret")

    served.instance.tree = broken  # type: ignore[method-assign,assignment]
    status, answer = served.json("GET /api/v1/tree")
    assert (status, answer["error"]["what"]) == (500, "The request failed")
    assert "secret" not in json.dumps(answer)
    assert "RuntimeError: a secret" in served.reports.pop()
    assert served.json("GET /api/v1/status")[0] == 200


@pytest.mark.fault(108)
def test_a_client_that_leaves_does_not_take_its_request_along(served: Served) -> None:
    served.instance.report = None
    with served.client() as client:
        client.ask("POST /api/v1/reload")
        eventually(lambda: served.instance.reloads)
    eventually(lambda: not served.server._connections)
    served.instance.reloads[0]({"outcome": "done"})
    assert served.json("GET /api/v1/status")[0] == 200


def test_a_waiting_client_that_leaves_is_forgotten(served: Served) -> None:
    served.instance.state = "starting"
    with served.client() as client:
        client.ask("GET /api/v1/wait?timeout=1000")
        eventually(lambda: served.server._api._waiting)
    eventually(lambda: not served.server._api._waiting)
    assert not served.server._loop._timers


def test_an_idle_server_sleeps_without_a_timeout(served: Served) -> None:
    with served.client() as client:
        client.json("GET /api/v1/tree")
        eventually(lambda: served.server._loop._time_left() is None)


def test_closing_answers_who_waits(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.instance.state = "starting"
    served.instance.report = None
    with served.client() as waiting, served.client() as reloading:
        waiting.ask("GET /api/v1/wait?state=stopped")
        reloading.ask("POST /api/v1/reload")
        eventually(lambda: served.instance.reloads and served.server._api._waiting)
        served.instance.state = "stopped"
        served.server.close()
        status, _, body = waiting.read()
        assert (status, json.loads(body)["reached"]) == (200, True)
        assert reloading.read()[0] == 503
        assert waiting.at_end()
    served.server.close()  # once more does no harm


def test_threads_that_post_while_it_closes_do_no_harm(tmp_path: Path) -> None:
    served = Served(tmp_path)
    end = threading.Event()

    def change() -> None:
        while not end.is_set():
            served.instance.become("ready")

    threads = [threading.Thread(target=change) for _ in range(3)]
    for thread in threads:
        thread.start()
    served.server.close()
    probe = os.open(os.devnull, os.O_RDONLY)  # may have the number that the wake-up had
    served.instance.become("stopped")
    end.set()
    for thread in threads:
        thread.join()
    os.close(probe)
    assert served.reports == []


@pytest.mark.fault(54)
def test_a_forked_child_lets_go_of_everything(serve: Serve) -> None:
    served = serve(tcp=Tcp("127.0.0.1:0"))
    with served.client() as client:
        client.json("GET /api/v1/status")
        before = len(os.listdir("/proc/self/fd"))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, str(len(os.listdir("/proc/self/fd"))).encode())
            served.server.close()
            served.instance.become("stopped")
            os._exit(0)
        os.close(writer)
        assert os.waitpid(child, 0)[1] == 0
        # Without both listeners, the connection, epoll, eventfd, inotify, the spare and the folder;
        # with the pipe.
        assert int(os.read(reader, 10)) == before - 8 + 2
        os.close(reader)
        assert os.path.exists(served.path)
        assert client.json("GET /api/v1/status")[0] == 200
    assert served.json("GET /api/v1/status")[0] == 200


@pytest.mark.fault(39)
def test_many_requests_leave_nothing_behind(served: Served) -> None:
    def used() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

    for _ in range(10):
        served.json("GET /api/v1/tree")
    eventually(lambda: not served.server._connections)
    before = used()
    for _ in range(500):
        served.json("GET /api/v1/tree")
    eventually(lambda: not served.server._connections)
    assert used() == before
    assert not served.server._settled
    assert not served.server._loop._timers


# -- while the application is blocked or worse

HOST = """
    import os, sys, time
    from gevent import monkey
    if "patched" in sys.argv:
        monkey.patch_all()
    sys.path.insert(0, {repository!r})
    from ginkgo.async_ import native
    from ginkgo.control.server import ControlServer
    from tests.fake_instance import FakeInstance
    import gevent, threading
    fake = FakeInstance()
    server = ControlServer({folder!r}, fake)
    server.start()
    if "few-descriptors" in sys.argv:
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        hoard = []
        while True:
            try:
                hoard.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
    print("up", flush=True)
    if "spin" in sys.argv:
        while True:
            pass
    if "blocked" in sys.argv:
        native.sleep(1000)  # never switches to the hub
    sys.stdin.read()
    server.close()
"""


class Host:
    """A process with a control server in it."""

    def __init__(self, folder: Path, *words: str) -> None:
        repository = str(Path(__file__).parents[2])
        code = textwrap.dedent(HOST).format(folder=str(folder), repository=repository)
        self.path = str(folder / "control.sock")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n"

    def end(self) -> str:
        """End it and return what it complained about."""
        self.process.kill()
        return self.process.communicate(timeout=20)[1].decode()


@pytest.mark.parametrize("words", [("patched", "blocked"), ("patched", "spin"), ("spin",)])
def test_it_answers_within_100_ms_while_the_application_is_blocked(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    host = Host(tmp_path, *words)
    try:
        with Client(host.path) as client:
            times = []
            for _ in range(20):
                began = time.monotonic()
                assert client.json("GET /api/v1/status")[0] == 200
                times.append(time.monotonic() - began)
            assert sorted(times)[10] < 0.1
    finally:
        assert host.end() == ""


@pytest.mark.fault(42)
def test_it_answers_when_the_process_is_out_of_descriptors(tmp_path: Path) -> None:
    host = Host(tmp_path, "few-descriptors")
    try:
        for _ in range(3):
            with Client(host.path) as client:
                assert client.json("GET /api/v1/status")[0] == 200
                with Client(host.path) as second:  # has to wait until the first has gone
                    client.close()
                    assert second.json("GET /api/v1/status")[0] == 200
    finally:
        assert host.end() == ""


def test_a_patched_process_serves_and_ends_in_order(tmp_path: Path) -> None:
    host = Host(tmp_path, "patched")
    with Client(host.path) as client:
        assert client.json("GET /api/v1/status")[0] == 200
    _, errors = host.process.communicate(timeout=20)
    assert (host.process.returncode, errors) == (0, b"")
    assert os.listdir(tmp_path) == []


def test_signals_reach_the_main_thread(tmp_path: Path) -> None:
    host = Host(tmp_path, "blocked")
    with Client(host.path) as client:
        assert client.json("GET /api/v1/status")[0] == 200
        host.process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in host.process.communicate(timeout=20)[1].decode()
