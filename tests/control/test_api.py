"""What can be asked, and what is refused."""

import json
import urllib.parse

import pytest
from tests.control.harness import Served, eventually
from tests.fake_instance import FakeInstance

from ginkgo.control.api import ROUTES, Api, Call, Route, match
from ginkgo.control.door import Door
from ginkgo.control.messages import Answer, Request, reply

POSTS = [route.path for route in ROUTES if route.method == "POST" and not route.open]
GETS = [route.path for route in ROUTES if route.method == "GET"]


# -- routes


def test_status_tells_what_the_instance_tells(served: Served) -> None:
    status, answer = served.json("GET /api/v1/status")
    assert status == 200
    assert answer["schema"] == "ginkgo.status/1"
    assert (answer["name"], answer["state"], answer["services"]) == ("app", "ready", 3)


def test_tree_shows_every_service(served: Served) -> None:
    answer = served.json("GET /api/v1/tree")[1]
    assert answer["children"][0]["path"] == "App/Db"


def test_dump_shows_every_stack(served: Served) -> None:
    status, answer = served.json("GET /api/v1/dump")
    assert (status, answer["schema"], answer["stacks"]) == (200, "ginkgo.dump/1", [])


@pytest.mark.fault(109)
def test_hello_names_the_protocol_and_the_routes(served: Served) -> None:
    answer = served.json("GET /api/v1/")[1]
    assert answer["protocol"] == 1
    assert "POST /api/v1/stop" in answer["routes"]


def test_stop_is_asked_for_and_accepted_at_once(served: Served) -> None:
    status, answer = served.json("POST /api/v1/stop", b"{}")
    assert (status, answer["accepted"], served.instance.stops) == (202, True, 1)


def test_head_is_get_without_the_body(served: Served) -> None:
    with served.client() as client:
        client.ask("HEAD /api/v1/status")
        status, headers, _ = client.read(head_only=True)
        assert (status, int(headers["content-length"]) > 100) == (200, True)
        assert client.json("GET /api/v1/status")[0] == 200


@pytest.mark.parametrize(
    ("report", "status"),
    [
        ({"outcome": "done", "changed": [{"name": "a", "old": "1", "new": "2"}]}, 200),
        ({"outcome": "refused", "refused": ["app.conf.py:3: no"]}, 409),
        ({"outcome": "failed", "failed": [{"path": "App/Db", "state": "ready", "why": "x"}]}, 500),
        ({"outcome": "busy", "refused": ["App is stopping"]}, 409),
    ],
)
def test_a_reload_is_answered_with_its_report(
    served: Served, report: dict[str, object], status: int
) -> None:
    served.instance.report = report
    got, answer = served.json("POST /api/v1/reload")
    assert got == status
    assert report.items() <= answer.items()
    assert ("error" in answer) == (status != 200)


def test_a_reload_is_answered_when_it_is_done(served: Served) -> None:
    served.instance.report = None
    with served.client() as client:
        client.ask("POST /api/v1/reload")
        eventually(lambda: served.instance.reloads)
        assert served.json("GET /api/v1/status")[0] == 200  # meanwhile
        served.instance.reloads[0]({"outcome": "done"})
        served.instance.reloads[0]({"outcome": "failed"})  # only the first counts
        assert client.read()[0] == 200
        assert client.json("GET /api/v1/status")[0] == 200


# -- waiting


def test_wait_answers_at_once_where_the_state_is_there(served: Served) -> None:
    answer = served.json("GET /api/v1/wait?state=ready")[1]
    assert (answer["reached"], answer["status"]["state"]) == (True, "ready")


def test_wait_is_told_of_the_state_when_it_comes(served: Served) -> None:
    served.instance.state = "starting"
    with served.client() as client:
        client.ask("GET /api/v1/wait?state=ready&timeout=20")
        eventually(lambda: served.server._api._waiting)
        served.instance.become("starting")
        served.instance.become("ready")
        assert json.loads(client.read()[2])["reached"] is True


@pytest.mark.parametrize("state", ["failed", "stopping", "stopped"])
def test_wait_does_not_wait_for_what_cannot_come(served: Served, state: str) -> None:
    served.instance.state = "starting"
    with served.client() as client:
        client.ask("GET /api/v1/wait?state=ready&timeout=20")
        eventually(lambda: served.server._api._waiting)
        served.instance.become(state)
        answer = json.loads(client.read()[2])
    assert (answer["reached"], answer["timed_out"], answer["state"]) == (False, False, state)


def test_wait_ends_when_its_time_is_over(served: Served) -> None:
    served.instance.state = "starting"
    answer = served.json("GET /api/v1/wait?state=ready&timeout=0.05")[1]
    assert (answer["reached"], answer["timed_out"]) == (False, True)


@pytest.mark.parametrize(
    "query", ["timeout=soon", "timeout=nan", "timeout=-1", "timeout=1e9", "state=happy"]
)
def test_wait_takes_only_what_makes_sense(served: Served, query: str) -> None:
    assert served.json(f"GET /api/v1/wait?{query}")[0] == 400


# -- what is refused


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /nothing", 404),
        ("GET /api/v1/nothing", 404),
        ("GET /api/v1/status/", 404),
        ("GET /api/v1/../v1/status", 404),
        ("GET /api/v1/%2e%2e/status", 404),
        ("GET /api/v1/%ff", 400),
        ("GET http://[/", 400),
        ("GET /api/v1/wait?state=%ff", 400),
        ("OPTIONS *", 400),
        ("DELETE /api/v1/status", 405),
        ("OPTIONS /api/v1/stop", 405),
        ("CONNECT /api/v1/stop", 405),
        ("POST /api/v1/status", 405),
    ],
)
def test_what_is_not_there_is_refused_with_a_reason(served: Served, line: str, status: int) -> None:
    got, answer = served.json(line)
    assert got == status
    assert set(answer["error"]) == {"what", "why", "do"}


@pytest.mark.fault(140)
@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_but_post_changes_anything(served: Served, path: str, method: str) -> None:
    with served.client() as client:
        client.ask(f"{method} {path}")
        status, headers, _ = client.read(head_only=method == "HEAD")
    assert (status, headers["allow"]) == (405, "POST")
    assert served.instance.stops == len(served.instance.reloads) == 0


@pytest.mark.fault(140)
@pytest.mark.parametrize("path", [*POSTS, *GETS, "/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_nothing_is_done_for_a_page_of_another_site(
    served: Served, path: str, method: str, headers: dict[str, str]
) -> None:
    assert served.json(f"{method} {path}", **headers)[0] == 403
    assert served.instance.stops == len(served.instance.reloads) == 0


def test_a_page_of_the_same_site_may_ask(served: Served) -> None:
    status, _ = served.json("GET /api/v1/status", Origin="http://app", Sec_Fetch_Site="same-origin")
    assert status == 200


@pytest.mark.fault(140)
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""]
)
def test_the_post_of_a_form_is_refused(served: Served, kind: str) -> None:
    assert served.json("POST /api/v1/stop", b"{}", Content_Type=kind)[0] == 415
    assert served.instance.stops == 0


@pytest.mark.fault(140)
def test_only_names_of_ours_are_served_where_names_can_be_rebound() -> None:
    api = Api(FakeInstance(), NoLoop())
    door = Door(names=frozenset({"127.0.0.1:9100"}))

    def ask(host: str) -> int:
        request = Request("GET", "/api/v1/status", {"host": host}, b"")
        answer = api.handle(Call(api, request, lambda answer: None, door))
        assert isinstance(answer, Answer)
        return answer.status

    assert (ask("127.0.0.1:9100"), ask("evil.example"), ask("")) == (200, 403, 403)


@pytest.mark.fault(104)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"[]",
        b"null",
        b'"text"',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b"{",
        b"\0",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_json_that_is_not_acceptable_is_refused(served: Served, body: bytes) -> None:
    status, answer = served.json("POST /api/v1/stop", body)
    assert (status, served.instance.stops) == (400, 0)
    assert answer["error"]["what"] == "The request's JSON is not acceptable"


@pytest.mark.parametrize("body", [b"", b"{}", b" \n"])
def test_json_that_is_acceptable_is_taken(served: Served, body: bytes) -> None:
    assert served.json("POST /api/v1/stop", body)[0] == 202


def test_json_may_be_nested(served: Served) -> None:
    body = b'{"name":"rate","value":' + b'{"a":' * 31 + b"1" + b"}" * 32
    assert served.json("POST /api/v1/set", body)[0] == 200


@pytest.mark.fault(145)
def test_a_pickle_is_just_garbage(served: Served) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (served.instance.become, ("failed",))

    try:
        bomb = pickle.dumps(Bomb())
    except (TypeError, AttributeError):
        bomb = b"cos\nsystem\n(S'true'\ntR."
    assert served.json("POST /api/v1/stop", bomb)[0] == 400
    with served.client() as client:
        client.send(bomb)
        client.sock.shutdown(1)
        assert client.read()[0] == 400
    assert served.instance.state == "ready"


# -- routes to come


class NoLoop:
    """For an Api that nobody posts to."""

    def post(self, function: object) -> None:
        raise AssertionError

    def after(self, seconds: float, function: object) -> object:
        return lambda: None


@pytest.mark.parametrize(
    ("pattern", "path", "values"),
    [
        ("/api/v1/status", "/api/v1/status", {}),
        ("/api/v1/status", "/api/v1/status/", None),
        ("/api/v1/settings/{name}", "/api/v1/settings/a.b", {"name": "a.b"}),
        ("/api/v1/settings/{name}", "/api/v1/settings/", None),
        ("/api/v1/settings/{name}", "/api/v1/settings/a/b", None),
        ("/api/v1/service/{path...}", "/api/v1/service/App/Db", {"path": "App/Db"}),
        ("/api/v1/service/{path...}", "/api/v1/service/", None),
        ("/api/v1/service/{path...}", "/api/v1/service", None),
        ("/api/v1/{kind}/x", "/api/v1/a/y", None),
    ],
)
def test_a_path_gives_the_values_of_its_names(
    pattern: str, path: str, values: dict[str, str] | None
) -> None:
    assert match(pattern, path.split("/")) == values


def test_a_route_is_a_line_of_data() -> None:
    def show(call: Call) -> Answer:
        return reply({**call.values, **call.query})

    api = Api(FakeInstance(), NoLoop(), routes=[Route("GET", "/service/{path...}", show)])
    target = "/service/App/a%2Fb?q=" + urllib.parse.quote("ü")
    answer = api.handle(Call(api, Request("GET", target, {"host": "x"}, b""), lambda answer: None))
    assert answer is not None
    assert json.loads(answer.body) == {"path": "App/a/b", "q": "ü"}
