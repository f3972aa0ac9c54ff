"""The TCP address: who is let in, to what, and who is not. Every route, method and evil header."""

from __future__ import annotations

import ast
import gzip
import json
import pickle
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.control.conftest import Serve
from tests.control.harness import Served, TcpClient

import ginkgo
from ginkgo.control.api import ROUTES
from ginkgo.control.connection import Limits
from ginkgo.control.door import Door, own_names
from ginkgo.control.guard import ADDRESSES, ATTEMPTS, SESSION_TIME, SESSIONS, Guard
from ginkgo.control.messages import Rejection, Remote, Request
from ginkgo.control.tcp import Tcp
from ginkgo.core.errors import Unavailable

TOKEN = "a-token-of-this-test-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")

PATHS = sorted(
    {route.path.replace("{", "").replace("...}", "").replace("}", "") for route in ROUTES}
)

EVIL: dict[str, dict[str, str]] = {
    "a foreign host": {"Host": "evil.example"},
    "a rebound name with our port": {"Host": "evil.example:9100"},
    "our address at another port": {"Host": "127.0.0.1:1"},
    "our address without its port": {"Host": "127.0.0.1"},
    "a name that begins like ours": {"Host": "localhost.evil.example"},
    "a foreign address": {"Host": "192.0.2.1:9100"},
    "a foreign origin": {"Origin": "http://evil.example"},
    "an origin at another port": {"Origin": "http://127.0.0.1:1"},
    "a hidden origin": {"Origin": "null"},
    "a site beside ours": {"Sec_Fetch_Site": "same-site"},
    "a foreign site": {"Sec_Fetch_Site": "cross-site"},
    "a stream for a foreign page": {
        "Accept": "text/event-stream",
        "Origin": "https://evil.example",
    },
    "a websocket of a foreign page": {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
        "Origin": "https://evil.example",
    },
}


@pytest.fixture
def reader(serve: Serve) -> Served:
    """For reading only, without a token."""
    return serve(tcp=Tcp("127.0.0.1:0"))


@pytest.fixture
def guarded(serve: Serve) -> Served:
    """With a token and with actions."""
    return serve(tcp=Tcp("127.0.0.1:0", token=TOKEN, actions=True))


def changed(served: Served) -> bool:
    """Whether anything has been done."""
    return bool(served.instance.stops or served.instance.reloads or served.audits)


def statuses(served: Served, method: str, paths: list[str], **headers: str) -> dict[str, int]:
    """Ask for each path, with a good body; return the answers' statuses."""
    found = {}
    with served.tcp_client() as client:
        for path in paths:
            body = b'{"token": "x"}' if method not in ("GET", "HEAD") else b""
            client.ask(f"{method} {path}", body, **headers)
            found[path] = client.read(head_only=method == "HEAD")[0]
    return found


# -- who is let in


@pytest.mark.fault(140)
@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("method", METHODS)
def test_no_route_lets_in_what_a_foreign_page_can_send(
    guarded: Served, method: str, evil: str
) -> None:
    found = statuses(guarded, method, [*PATHS, "/nothing"], **{**BEARER, **EVIL[evil]})
    assert set(found.values()) == {403}, found
    assert not changed(guarded)


@pytest.mark.fault(140)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": "ginkgo=1; ginkgo-9100=" + TOKEN},
        {"X_Token": TOKEN},
    ],
    ids=repr,
)
def test_without_the_token_nothing_is_told_or_done(
    serve: Serve, tmp_path: Path, method: str, headers: dict[str, str]
) -> None:
    served = serve(tmp_path, tcp=Tcp("127.0.0.1:0", token=TOKEN, actions=True))
    closed = [
        route.path.replace("{", "").replace("...}", "").replace("}", "")
        for route in ROUTES
        if not route.open
    ]
    for path in [*closed, "/nothing"]:  # what there is not is told to nobody either
        with served.tcp_client() as client:
            client.ask(f"{method} {path}", b"", **headers)
            status, got, _ = client.read(head_only=method == "HEAD")
            assert status in (401, 429), path
            assert status == 429 or got["www-authenticate"].startswith("Bearer")
    assert not changed(served)
    served.reports.clear()


def test_guessing_is_told_in_the_log(guarded: Served) -> None:
    with guarded.tcp_client() as client:
        for _ in range(ATTEMPTS + 5):
            client.json("GET /api/v1/status", Authorization="Bearer wrong")
    assert guarded.reports.pop().startswith("Too many wrong tokens come from 127.0.0.1:")


@pytest.mark.fault(140)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
def test_only_reading_and_posting_exist(guarded: Served, method: str) -> None:
    assert set(statuses(guarded, method, PATHS, **BEARER).values()) == {405}
    assert not changed(guarded)


@pytest.mark.fault(140)
def test_reading_changes_nothing(guarded: Served) -> None:
    quick = [path for path in PATHS if path not in ("/api/v1/wait", "/api/v1/events")]
    statuses(guarded, "GET", quick, **BEARER)
    statuses(guarded, "HEAD", quick, **BEARER)
    assert not changed(guarded)


@pytest.mark.fault(140)
def test_nothing_can_be_done_from_an_address_for_reading(reader: Served) -> None:
    acting = [route.path for route in ROUTES if route.method == "POST" and not route.open]
    assert set(statuses(reader, "POST", acting).values()) == {403}
    assert not changed(reader)
    assert reader.json("POST /api/v1/stop")[0] == 202  # the unix socket is for acting


@pytest.mark.fault(140)
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""]
)
def test_a_form_does_nothing_even_with_the_token(guarded: Served, kind: str) -> None:
    acting = [route.path for route in ROUTES if route.method == "POST"]
    found = statuses(guarded, "POST", acting, **BEARER, Content_Type=kind)
    assert set(found.values()) == {415}
    assert not changed(guarded)


def test_whoever_brings_the_token_reads_and_acts(guarded: Served) -> None:
    status, answer = guarded.tcp_json("GET /api/v1/status", **BEARER)
    assert (status, answer["control"], answer["actions"]) == (200, guarded.server.url, True)
    assert guarded.tcp_json("POST /api/v1/stop", b"{}", **BEARER)[0] == 202
    assert guarded.audits[0].startswith("/api/v1/stop asked for by 127.0.0.1:")


def test_status_tells_the_address_and_whether_one_can_act_there(reader: Served) -> None:
    answer = reader.tcp_json("GET /api/v1/status")[1]
    assert (answer["control"], answer["actions"]) == (reader.server.url, False)
    answer = reader.json("GET /api/v1/status")[1]
    assert (answer["control"], answer["actions"]) == (reader.server.url, True)


def test_there_is_no_address_where_none_is_set(served: Served) -> None:
    assert served.json("GET /api/v1/status")[1]["control"] is None


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_of_any_case(guarded: Served, scheme: str) -> None:
    assert guarded.tcp_json("GET /api/v1/status", Authorization=f"{scheme} {TOKEN}")[0] == 200


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "[::1]"])
def test_the_names_of_this_machine_are_served(reader: Served, host: str) -> None:
    status, _ = reader.tcp_json("GET /api/v1/status", Host=f"{host}:{reader.port}")
    assert status == 200


def test_a_page_of_ours_may_ask(reader: Served) -> None:
    own = f"http://127.0.0.1:{reader.port}"
    status, _ = reader.tcp_json("GET /api/v1/status", Origin=own, Sec_Fetch_Site="same-origin")
    assert status == 200


def test_further_names_are_served_where_they_are_set(serve: Serve) -> None:
    served = serve(tcp=Tcp("127.0.0.1:0", hosts=("Ops.example.com", "other.example:8080")))
    for host, status in {
        "ops.example.com": 200,
        f"ops.example.com:{served.port}": 200,
        "ops.example.com:1": 403,
        "other.example:8080": 200,
        "third.example": 403,
    }.items():
        assert served.tcp_json("GET /api/v1/status", Host=host)[0] == status, host


@pytest.mark.fault(140)
def test_an_address_cannot_be_rebound_and_a_name_can() -> None:
    door = Door(names=own_names("10.0.0.5", 9100, ()), port=9100)
    for host, served in {
        "10.0.0.5:9100": True,
        "172.17.0.2:9100": True,  # another of this machine's own: a browser was sent to it itself
        "[2001:db8::1]:9100": True,
        "10.0.0.5": False,
        "10.0.0.5:80": False,
        "evil.example:9100": False,
        "10.0.0.5.evil.example:9100": False,
        "[10.0.0.5:9100": False,
        "": False,
    }.items():
        assert door.serves(host) is served, host


def test_targets_that_name_a_host_are_refused(reader: Served) -> None:
    assert reader.tcp_json("GET http://evil.example/api/v1/status")[0] == 400
    assert reader.tcp_json("GET //evil.example/api/v1/status")[0] == 404


# -- tokens and sessions


def request_of(address: str = "192.0.2.1", **headers: str) -> Request:
    return Request("GET", "/", headers, b"", Remote(address, 40000))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def status_of(guard: Guard, token: str, address: str = "192.0.2.1") -> int:
    try:
        assert guard.knows(request_of(address, authorization=f"Bearer {token}"))
    except Rejection as rejection:
        return rejection.answer.status
    return 200


@pytest.mark.fault(140)
def test_guessing_is_slow_and_for_one_address_only() -> None:
    clock = Clock()
    guard = Guard(TOKEN, 9100, clock=clock)
    assert [status_of(guard, "wrong") for _ in range(ATTEMPTS)] == [401] * ATTEMPTS
    assert status_of(guard, "wrong") == 429
    assert status_of(guard, TOKEN) == 429  # else an answer would tell that a guess was right
    assert status_of(guard, TOKEN, "192.0.2.2") == 200
    clock.now += 1
    assert status_of(guard, "wrong") == 401
    assert status_of(guard, "wrong") == 429
    clock.now += 1
    assert status_of(guard, TOKEN) == 200
    assert [status_of(guard, "wrong") for _ in range(ATTEMPTS)] == [401] * ATTEMPTS


def test_a_network_of_ipv6_is_one_address() -> None:
    guard = Guard(TOKEN, 9100, clock=Clock())
    for last in range(ATTEMPTS):
        assert status_of(guard, "wrong", f"2001:db8:0:1::{last}") == 401
    assert status_of(guard, "wrong", "2001:db8:0:1:ffff::") == 429
    assert status_of(guard, "wrong", "2001:db8:0:2::") == 401


@pytest.mark.fault(146)
def test_the_memory_for_wrong_tokens_is_bounded() -> None:
    guard = Guard(TOKEN, 9100, clock=Clock())
    for number in range(ADDRESSES + 50):
        status_of(guard, "wrong", f"10.0.{number // 256}.{number % 256}")
    assert len(guard._failures) == ADDRESSES


def test_a_login_gives_a_cookie_that_scripts_cannot_read(guarded: Served) -> None:
    with guarded.tcp_client() as client:
        client.ask("POST /login", json.dumps({"token": TOKEN}).encode())
        status, headers, body = client.read()
        cookie, *attributes = headers["set-cookie"].split("; ")
        assert (status, json.loads(body)["actions"]) == (200, True)
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
        assert TOKEN not in headers["set-cookie"]
        cookies = f"other=1; {cookie}; third=x y"
        assert client.json("GET /api/v1/status", Cookie=cookies)[0] == 200
        assert client.json("POST /api/v1/reload", b"{}", Cookie=cookies)[0] == 200
        client.ask("POST /logout", b"{}", Cookie=cookies)
        assert client.read()[1]["set-cookie"].split("; ")[0] == f"ginkgo-{guarded.port}="
        assert client.json("GET /api/v1/status", Cookie=cookies)[0] == 401


@pytest.mark.parametrize(
    ("body", "status"), [(b"{}", 400), (b'{"token": 1}', 400), (b'{"token": "x"}', 401)]
)
def test_a_login_without_the_token_gives_none(guarded: Served, body: bytes, status: int) -> None:
    with guarded.tcp_client() as client:
        client.ask("POST /login", body)
        got, headers, _ = client.read()
    assert (got, "set-cookie" in headers) == (status, False)


def test_a_cookie_is_good_for_a_time_and_there_are_not_many() -> None:
    clock = Clock()
    guard = Guard(TOKEN, 443, secure=True, clock=clock)

    def log_in() -> Request:
        cookie = guard.login()
        assert cookie.startswith("__Host-ginkgo-443=")
        assert cookie.endswith("; Secure")
        return request_of(cookie=cookie.partition(";")[0])

    first = log_in()
    assert guard.knows(first)
    for _ in range(SESSIONS):
        last = log_in()
    assert (guard.knows(first), guard.knows(last), len(guard._sessions)) == (False, True, SESSIONS)
    clock.now += SESSION_TIME
    assert not guard.knows(last)


# -- what every answer says


@pytest.mark.fault(141)
@pytest.mark.parametrize("line", ["GET /", "GET /api/v1/status", "GET /nothing", "PUT /", "GET x"])
def test_every_answer_forbids_what_our_page_does_not_need(reader: Served, line: str) -> None:
    with reader.tcp_client() as client:
        client.ask(line)
        headers = client.read()[1]
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert not [name for name in headers if name.startswith("access-control-")]


# -- what comes in is not believed


@pytest.mark.fault(145)
def test_a_pickle_is_bytes_like_any_others(guarded: Served, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self) -> Any:
            return open, (str(canary), "w")

    for kind in ("application/json", "application/octet-stream", "application/python-pickle"):
        for body in (pickle.dumps(Bomb(), protocol) for protocol in range(5)):
            with guarded.tcp_client() as client:
                client.ask("POST /api/v1/reload", body, **BEARER, Content_Type=kind)
                assert client.read()[0] in (400, 415)
    assert not canary.exists()


@pytest.mark.fault(146)
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (gzip.compress(b"0" * 30_000_000), {"Content_Encoding": "gzip"}, 415),
        (b'{"a":' * 100_000, {}, 400),
        (b'{"n": 1' + b"0" * 900_000 + b"}", {}, 400),
        (json.dumps({f"k{n}": n for n in range(60_000)}).encode(), {}, 400),
        (b"{" + b" " * 1_000_000 + b"}", {}, 200),
    ],
    ids=["a gzip bomb", "depth", "a long number", "many keys", "blanks"],
)
def test_no_body_costs_much(
    guarded: Served, body: bytes, headers: dict[str, str], status: int
) -> None:
    began = time.monotonic()
    assert guarded.tcp_json("POST /api/v1/reload", body, **BEARER, **headers)[0] == status
    assert time.monotonic() - began < 5


@pytest.mark.fault(146)
@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/status?" + "&".join(f"a{n}={n}" for n in range(5000)),
        "/" + "%2e%2e/" * 5000,
        "/" + "/" * 50_000,
        "/api/v1/wait?timeout=" + "9" * 50_000,
        "/api/v1/wait?timeout=1e999",
    ],
    ids=lambda target: target[:24],
)
def test_no_target_costs_much(reader: Served, target: str) -> None:
    began = time.monotonic()
    assert reader.tcp_json(f"GET {target}")[0] in (400, 404)
    assert time.monotonic() - began < 5


@pytest.mark.fault(145)
def test_nothing_of_ours_can_read_what_runs_when_it_is_read() -> None:
    wrong = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "jsonpickle"}
    for path in Path(ginkgo.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]} if not node.level else set()
            else:
                continue
            assert not names & wrong, f"{path}:{node.lineno}"


# -- the address


def test_a_port_that_is_taken_is_told(serve: Serve, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=rf"control.* cannot listen on 127.0.0.1:{port}"):
            Served(tmp_path, tcp=Tcp(f"127.0.0.1:{port}"))
    assert list(tmp_path.iterdir()) == []


def test_when_the_server_has_closed_the_port_is_free(serve: Serve) -> None:
    served = serve(tcp=Tcp("127.0.0.1:0"))
    port = served.port
    with served.tcp_client() as client:
        client.json("GET /api/v1/status")
        served.server.close()
        assert client.at_end()
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.fault(106)
def test_whoever_crowds_the_address_crowds_nobody_out_of_the_socket(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve(tmp_path, tcp=Tcp("127.0.0.1:0"), limits=Limits(connections=4))
    with served.client() as inside:
        inside.json("GET /api/v1/status")
        crowd = [TcpClient(served.port) for _ in range(10)]
        for each in crowd:
            each.send(b"GET /api/v1/st")
        assert served.tcp_json("GET /api/v1/status")[0] == 200
        assert inside.json("GET /api/v1/status")[0] == 200
        for each in crowd:
            each.close()


def test_a_client_that_leaves_is_not_waited_for(reader: Served) -> None:
    reader.instance.state = "starting"
    with reader.tcp_client() as client:
        client.ask("GET /api/v1/wait?state=ready&timeout=100")
        while not reader.server._api._waiting:
            time.sleep(0.005)
    while reader.server._api._waiting:
        time.sleep(0.005)


def test_ipv6_is_an_address_too(serve: Serve) -> None:
    served = serve(tcp=Tcp("[::1]:0"))
    assert served.server.url == f"http://[::1]:{served.port}/"
