"""The routes of the data and of the actions, against an instance that a test drives."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from tests.control.harness import Client, Served, eventually

from ginkgo.control.routes_data import meant
from ginkgo.control.sampling import PATIENCE, Sampling
from ginkgo.core.events import KINDS

DEADLINE = 20.0


class Follower:
    """A client of a stream."""

    def __init__(self, served: Served, line: str, **headers: str) -> None:
        self.client: Client = served.client()
        self.client.ask(line, **headers)
        while b"\r\n\r\n" not in self.client.rest:
            self.client._more()
        head, _, self.client.rest = self.client.rest.partition(b"\r\n\r\n")
        assert b"200" in head.splitlines()[0]
        assert b"text/event-stream" in head

    def next(self) -> tuple[str, str, Any]:
        """The next message: its id, its event and its data."""
        while True:
            text = self.client.rest.replace(b"\r\n", b"\n")
            for block in text.split(b"\n\n")[:-1]:
                lines = [line for line in block.decode().splitlines() if ": " in line]
                fields = dict(line.split(": ", 1) for line in lines)
                if "data" in fields:
                    _, _, self.client.rest = text.partition(block + b"\n\n")
                    return fields.get("id", ""), fields["event"], json.loads(fields["data"])
            self.client._more()

    def close(self) -> None:
        self.client.close()


@pytest.fixture
def follow(served: Served) -> Iterator[Any]:
    """Follow streams; they are hung up with the test."""
    followers: list[Follower] = []

    def start(line: str, **headers: str) -> Follower:
        followers.append(Follower(served, line, **headers))
        return followers[-1]

    yield start
    for follower in followers:
        follower.close()


def post(served: Served, path: str, /, **body: Any) -> tuple[int, Any]:
    return served.json(f"POST /api/v1/{path}", json.dumps(body).encode())


# -- data


def test_a_service_is_shown_by_its_path(served: Served) -> None:
    status, told = served.json("GET /api/v1/services/App/Db")
    assert (status, told["path"], told["schema"]) == (200, "App/Db", "ginkgo.service/1")


def test_who_misspells_a_path_is_told_the_one_that_was_meant(served: Served) -> None:
    status, told = served.json("GET /api/v1/services/App/Dc")
    assert status == 404
    assert told["error"]["do"] == "Did you mean App/Db?"


def numbers(told: Any) -> list[int]:
    return [event["number"] for event in told["events"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [1, 2, 3, 4]),
        ("?limit=2", [3, 4]),
        ("?after=2", [3, 4]),
        ("?after=1&limit=1", [2]),
        ("?path=App/Db", [1, 2, 4]),
        ("?path=App", [1, 2, 3, 4]),
        ("?kind=failure", [2]),
        ("?limit=0", []),
    ],
)
def test_events_are_filtered(served: Served, query: str, found: list[int]) -> None:
    for number in range(1, 5):
        path = "App" if number == 3 else "App/Db"
        served.instance.happen(number, path, "failure" if number == 2 else "state")
    status, told = served.json(f"GET /api/v1/events{query}")
    assert (status, numbers(told), told["last"]) == (200, found, 4)


def test_a_stream_of_events_begins_with_those_that_are_kept(served: Served, follow: Any) -> None:
    for number in (1, 2, 3):
        served.instance.happen(number)
    stream = follow("GET /api/v1/events?stream=1&limit=2")
    assert [stream.next()[0] for _ in range(2)] == ["2", "3"]
    served.instance.happen(4)
    number, event, data = stream.next()
    assert (number, event, data["path"]) == ("4", "event", "App/Db")


def test_a_stream_goes_on_after_the_last_event_that_the_client_had(
    served: Served, follow: Any
) -> None:
    for number in (1, 2, 3):
        served.instance.happen(number)
    stream = follow("GET /api/v1/events", Accept="text/event-stream", Last_Event_ID="1")
    assert [stream.next()[0] for _ in range(2)] == ["2", "3"]


def test_a_stream_of_events_is_filtered(served: Served, follow: Any) -> None:
    stream = follow("GET /api/v1/events?stream=1&path=App/Db&kind=failure")
    served.instance.happen(1, "App", "failure")
    served.instance.happen(2, "App/Db", "state")
    served.instance.happen(3, "App/Db", "failure")
    assert stream.next()[0] == "3"


def test_who_leaves_a_stream_is_told_nothing_more(served: Served, follow: Any) -> None:
    stream = follow("GET /api/v1/events?stream=1")
    eventually(lambda: served.instance.followers)
    stream.close()
    eventually(lambda: not served.instance.followers)


# -- the log


def log(served: Served, *messages: str, level: int = logging.INFO) -> None:
    for message in messages:
        record = logging.LogRecord("app.db", level, "db.py", 1, message, None, None)
        served.instance.ring.handle(record)


def texts(told: Any) -> list[str]:
    return [line["text"].partition(" db: ")[2] for line in told["lines"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["App/Db: one", "two 2", "App: three 3"]),
        ("?lines=1", ["App: three 3"]),
        ("?lines=0", []),
        ("?level=warning", ["two 2"]),
        ("?service=App/Db", ["App/Db: one"]),
        ("?service=App", ["App/Db: one", "App: three 3"]),
        ("?grep=t.*[23]", []),
        ("?grep=T.*2", ["two 2"]),
        ("?grep=one|three", ["App/Db: one", "App: three 3"]),
        ("?grep=t.o", ["two 2"]),
    ],
)
def test_the_log_is_filtered(served: Served, query: str, found: list[str]) -> None:
    log(served, "App/Db: one")
    log(served, "two 2", level=logging.ERROR)
    log(served, "App: three 3")
    status, told = served.json(f"GET /api/v1/log{query}")
    assert (status, texts(told)) == (200, found)


def test_a_line_tells_what_is_known_of_it(served: Served) -> None:
    log(served, "App/Db: one")
    _, told = served.json("GET /api/v1/log")
    [line] = told["lines"]
    assert line.keys() == {"text", "time", "level", "logger", "service"}
    assert (line["level"], line["logger"], line["service"]) == ("INFO", "app.db", "App/Db")


def test_a_pattern_cannot_keep_the_control_thread_busy(served: Served) -> None:
    log(served, "a" * 30_000)
    assert served.json("GET /api/v1/log?grep=(a*)*b")[0] == 200
    assert served.json("GET /api/v1/log?grep=" + "a.*" * 50 + "b")[0] == 200
    assert served.json("GET /api/v1/log?grep=" + "a" * 201)[0] == 400


def test_a_level_has_to_be_one(served: Served) -> None:
    status, told = served.json("GET /api/v1/log?level=loud")
    assert (status, told["error"]["what"]) == (400, "There is no log level 'loud'")


def test_a_stream_of_the_log_begins_with_the_last_lines(served: Served, follow: Any) -> None:
    log(served, "one", "two")
    stream = follow("GET /api/v1/log?stream=1&lines=1&grep=two|four")
    assert stream.next()[2]["text"].endswith("two")
    log(served, "three", "four")
    number, event, data = stream.next()
    assert (number, event) == ("4", "line")
    assert data["text"].endswith("four")


# -- actions


@pytest.mark.parametrize("kind", ["stop", "restart", "reload"])
def test_one_service_is_acted_on_and_it_is_told_in_the_log(served: Served, kind: str) -> None:
    status, told = post(served, kind, path="App/Db")
    assert (status, told["action"], told["outcome"]) == (200, kind, "done")
    assert served.instance.acts == [(kind, "App/Db")]
    assert served.instance.stops == 0
    asked, done = served.audits
    assert asked.startswith(f"/api/v1/{kind} App/Db asked for by uid ")
    assert done.startswith(f"{kind} of App/Db: done, as asked for by uid ")


def test_an_action_that_fails_says_why(served: Served) -> None:
    served.instance.why = "OSError: the port is taken"
    status, told = post(served, "restart", path="App/Db")
    assert (status, told["error"]["what"]) == (500, "The restart of App/Db failed")
    assert told["error"]["why"] == "OSError: the port is taken"


@pytest.mark.parametrize("kind", ["stop", "restart", "reload"])
def test_nothing_is_done_where_there_is_no_such_service(served: Served, kind: str) -> None:
    for path in ("App/Dc", "Other"):
        assert post(served, kind, path=path)[0] == 404
    assert not served.instance.acts
    assert not served.instance.stops


def test_the_stop_of_the_root_is_that_of_the_process(served: Served) -> None:
    assert post(served, "stop", path="App")[0] == 202
    assert served.instance.stops == 1


def test_a_setting_is_set_for_now_and_it_is_told_in_the_log(served: Served) -> None:
    status, told = post(served, "set", name="rate", value="180", **{"for": 600})
    assert (status, told["old"], told["value"]) == (200, 60, "180")
    assert "set: rate is '180' for 600 s, it was 60, asked for by uid " in served.audits[1]


def test_what_is_refused_is_not_told_in_the_log(served: Served) -> None:
    status, told = post(served, "set", name="password", value="canary-1")
    assert (status, told["error"]["why"]) == (409, "there is no setting password")
    assert "canary-1" not in str(served.audits)


def test_a_logger_is_given_a_level_for_now(served: Served) -> None:
    status, told = post(served, "log-level", logger="app", level="DEBUG", **{"for": 1.5})
    assert (status, told["level"]) == (200, "DEBUG")
    assert "log-level: app is DEBUG for 1.5 s, it was INFO, asked for by" in served.audits[1]
    assert post(served, "log-level", logger="", level="DEBUG")[1]["logger"] == "root"


def test_garbage_is_collected(served: Served) -> None:
    assert post(served, "gc") == (200, {"schema": "ginkgo.gc/1", "collected": 0})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("restart", {}),
        ("restart", {"path": 5}),
        ("restart", {"path": ""}),
        ("set", {"name": "rate"}),
        ("set", {"value": "1"}),
        ("set", {"name": 1, "value": "1"}),
        ("set", {"name": "rate", "value": "1", "for": 0}),
        ("set", {"name": "rate", "value": "1", "for": -1}),
        ("set", {"name": "rate", "value": "1", "for": True}),
        ("set", {"name": "rate", "value": "1", "for": "10m"}),
        ("set", {"name": "rate", "value": "1", "for": 1e300}),
        ("log-level", {"logger": "app"}),
        ("log-level", {"logger": "app", "level": None}),
        ("stop", {"path": []}),
    ],
)
def test_a_body_that_says_nothing_sensible_is_refused(
    served: Served, path: str, body: dict[str, Any]
) -> None:
    status, told = served.json(f"POST /api/v1/{path}", json.dumps(body).encode())
    assert status == 400
    assert told["error"]["why"]
    assert not served.instance.acts


# -- samples


class Clockwork:
    """A loop whose timers a test lets come due."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def after(self, _seconds: float, function: Any) -> Any:
        self.due.append(function)
        return self.due.clear

    def pass_by(self) -> None:
        due, self.due = self.due, []
        for function in due:
            function()


def test_samples_are_taken_only_while_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("ginkgo.control.sampling.time.monotonic", lambda: now)
    taken: list[float] = []
    loop = Clockwork()
    sampling = Sampling(loop, lambda: taken.append(now))
    assert not loop.due
    sampling.asked()
    sampling.asked()
    assert (len(taken), len(loop.due)) == (1, 1)
    loop.pass_by()
    assert (len(taken), len(loop.due)) == (2, 1)
    now += PATIENCE + 1
    loop.pass_by()
    assert (len(taken), len(loop.due)) == (2, 0)
    sampling.asked()
    assert (len(taken), len(loop.due)) == (3, 1)
    sampling.end()
    assert not loop.due


def test_where_the_control_address_is_set_they_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("ginkgo.control.sampling.time.monotonic", lambda: now)
    loop = Clockwork()
    sampling = Sampling(loop, lambda: None)
    sampling.go_on()
    now += 10 * PATIENCE
    loop.pass_by()
    assert loop.due


# -- what is misspelt


MISSPELT = {
    "a parameter": ("GET /api/v1/events?limt=3", 400, "Did you mean limit?"),
    "a parameter of what takes none": ("GET /api/v1/tree?path=App", 400, "Leave it out"),
    "a probe's parameter": ("GET /readyz?degrded=ok", 400, "Did you mean degraded?"),
    "a probe's word": ("GET /readyz?degraded=yes", 400, "Did you mean degraded=ok?"),
    "a stream": ("GET /api/v1/events?stream=yes", 400, "Did you mean stream=1?"),
    "an event's path": ("GET /api/v1/events?path=App/Dc", 404, "Did you mean App/Db?"),
    "an event's path in a stream": ("GET /api/v1/events?stream=1&path=Nope", 404, "TARGET tree"),
    "a kind": ("GET /api/v1/events?kind=failures", 404, "Did you mean failure?"),
    "a kind like no other": ("GET /api/v1/events?kind=xyz", 404, "state, failure"),
    "a line's service": ("GET /api/v1/log?service=Db", 404, "Did you mean App/Db?"),
    "a level": ("GET /api/v1/log?level=warn1ng", 400, "Did you mean warning?"),
    "a level like no other": ("GET /api/v1/log?level=lots", 400, "debug, info"),
    "a state": ("GET /api/v1/wait?state=redy", 400, "Did you mean ready?"),
}


@pytest.mark.parametrize(("line", "status", "do"), MISSPELT.values(), ids=MISSPELT)
def test_what_is_misspelt_is_no_filter_that_lets_everything_through(
    served: Served, line: str, status: int, do: str
) -> None:
    found, told = served.json(line)
    assert (found, do in told["error"]["do"]) == (status, True), told


@pytest.mark.parametrize("name", ["pth", "Path"])
def test_a_misspelt_path_does_not_stop_the_process(served: Served, name: str) -> None:
    status, told = post(served, "stop", **{name: "App/Db"})
    assert (status, told["error"]["do"]) == (400, "Did you mean path?")
    assert served.instance.stops == 0


def test_a_path_in_the_query_does_not_stop_the_process(served: Served) -> None:
    status, told = served.json("POST /api/v1/stop?path=App/Db", b"{}")
    assert (status, told["error"]["why"]) == (400, "It belongs into the body.")
    assert served.instance.stops == 0


def test_events_of_a_service_that_was_removed_are_found(served: Served) -> None:
    served.instance.happen(1, "App/Pool/Gone")
    for path in ("App/Pool/Gone", "App/Pool"):
        assert numbers(served.json(f"GET /api/v1/events?path={path}")[1]) == [1]
    assert served.json("GET /api/v1/log?service=App/Pool")[0] == 200


def test_lines_of_a_service_that_was_removed_are_found(served: Served) -> None:
    record = logging.LogRecord("app", logging.INFO, "", 1, "App/Old: gone", (), None)
    assert served.json("GET /api/v1/log?service=App/Old")[0] == 404
    served.instance.ring.handle(record)
    status, told = served.json("GET /api/v1/log?service=App/Old")
    assert (status, [line["service"] for line in told["lines"]]) == (200, ["App/Old"])


def test_a_kind_of_the_application_s_own_is_one_once_it_has_happened(served: Served) -> None:
    status, told = served.json("GET /api/v1/events?kind=deploy")
    assert (status, told["kinds"]) == (404, list(KINDS))
    served.instance.happen(1, kind="deploy")
    assert numbers(served.json("GET /api/v1/events?kind=deploy")[1]) == [1]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("Db", ["Shop/Db"]),
        ("db", ["Shop/Db"]),
        ("Web/Pool", ["Shop/Web/Pool"]),
        ("Pool", ["Shop/Web/Pool", "Shop/Job/Pool"]),
        ("Shop/Dv", ["Shop/Db"]),
        ("Dbb", ["Shop/Db"]),
        ("nothing-like-it", []),
    ],
)
def test_who_leaves_out_what_a_path_begins_with_is_told_the_whole(
    given: str, found: list[str]
) -> None:
    paths = ["Shop", "Shop/Db", "Shop/Web", "Shop/Web/Pool", "Shop/Job", "Shop/Job/Pool"]
    assert meant(given, paths) == found
