"""The metrics of real trees, on every backend: they are true, and named by the rules."""

from __future__ import annotations

import errno
import http.client
import os
import re
import signal
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.cli.backends import GROUNDS, Ground
from tests.dialects import World, done
from tests.trees import Wrong, fail, plant, until
from tests.workshop import Workshop, eventually, free_port

from ginkgo.async_.threading import StreamServer
from ginkgo.core import seen
from ginkgo.core.policies import REASONS, Backoff
from ginkgo.core.service import Service
from ginkgo.process import metrics
from ginkgo.process.metrics import METRICS
from ginkgo.process.tally import MOST, WAIT, Tally
from ginkgo.testing import FakeClock

APP = """
    from ginkgo import Service
    from ginkgo.async_.NAME import DatagramServer, StreamServer, WSGIServer

    class Worker(Service):
        restart = "temporary"
        ASYNC def do_start(self):
            self.spawn(self.fail, on_error="log")
        ASYNC def fail(self):
            raise ValueError("of the test")

    class App(Service):
        def __init__(self):
            self.web = self.add_service(WSGIServer(("127.0.0.1", 0), self.hello))
            self.add_service(StreamServer(("127.0.0.1", 0), self.nothing))
            self.add_service(DatagramServer(("127.0.0.1", 0), self.nothing))
            self.add_service(Worker())

        def hello(self, environ, start_response):
            start_response("200 OK", [("Content-Length", "5")])
            return [b"hello"]

        ASYNC def nothing(self, *args):
            pass

        def do_start(self):
            print("port", self.web.port, flush=True)
"""


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest, shop: Workshop) -> Ground:
    return Ground(request.param, shop)


class Scraped:
    """What one scrape has told."""

    def __init__(self, port: int) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        client.request("GET", "/metrics")
        self.answer = client.getresponse()
        self.text = self.answer.read().decode()
        client.close()
        self.families: dict[str, Metric] = {
            family.name: family for family in text_string_to_metric_families(self.text)
        }

    def value(self, name: str, **labels: str) -> float | None:
        """The value of a series; None if there is none."""
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None


@pytest.fixture
def scrape(ground: Ground) -> Iterator[Any]:
    """A running application, its port, and what scrapes it."""
    ground.write(APP.replace("NAME", "asyncio" if ground.awaits else ground.name))
    port = free_port()
    app = ground.begin("--set", f"control=127.0.0.1:{port}")
    web = int(app.wait_for(r"^port \d+$")[0].split()[1])

    def ready() -> bool:
        try:
            return Scraped(port).value("ginkgo_ready") == 1.0
        except OSError:
            return False

    eventually(ready)
    yield web, lambda: Scraped(port), app
    assert app.stops() == 0


def test_what_a_running_tree_tells_is_true(scrape: Any) -> None:
    web, look, _ = scrape
    before = look()
    client = http.client.HTTPConnection("127.0.0.1", web, timeout=20)
    for _ in range(3):
        client.request("GET", "/")
        assert client.getresponse().read() == b"hello"
    name = "App/WSGIServer"
    eventually(lambda: look().value("ginkgo_requests_total", service=name) == 3.0)
    now = look()
    assert before.value("ginkgo_requests_total", service=name) == 0.0
    assert now.value("ginkgo_connections_active", service=name) == 1.0
    assert now.value("ginkgo_connections_accepted_total", service=name) == 1.0
    assert now.value("ginkgo_request_duration_seconds_count", service=name) == 3.0
    assert (now.value("ginkgo_received_bytes_total", service=name) or 0) > 100
    assert (now.value("ginkgo_sent_bytes_total", service=name) or 0) > 100
    assert now.value("ginkgo_service_state", service=name, state="ready") == 1.0
    assert (now.value("ginkgo_service_start_duration_seconds", service=name) or 9e9) < 20
    assert now.value("ginkgo_service_restarts_total", service=name, reason="task") == 0.0
    assert now.value("ginkgo_service_restarts_total", service=name, reason="check") is None
    assert now.value("ginkgo_accept_errors_total", service=name, errno="EMFILE") == 0.0
    scrapes = {"command": "GET /metrics", "result": "ok"}
    assert (now.value("ginkgo_control_requests_total", **scrapes) or 0) >= 1
    assert now.value("ginkgo_services", state="ready") == 5.0
    assert now.value("ginkgo_task_failures_total", service="App/Worker") == 1.0
    assert now.value("ginkgo_datagrams_accepted_total", service="App/DatagramServer") == 0.0
    assert now.value("ginkgo_connections_accepted_total", service="App/DatagramServer") is None
    assert (now.value("ginkgo_log_records_total", level="error") or 0) >= 1
    assert (now.value("ginkgo_loop_lag_seconds_count") or 0) >= 2
    assert now.value("ginkgo_metrics_complete") == 1.0
    assert (now.value("process_resident_memory_bytes") or 0) > 0
    client.close()


def test_every_counter_and_name_keeps_the_rules_of_promtool(scrape: Any) -> None:
    _, look, _ = scrape
    told = look()
    problems = [problem for each in told.families.values() for problem in lint(each)]
    assert not problems
    series = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in told.families.values()
        for sample in family.samples
    ]
    assert len(series) == len(set(series))
    ours = {name for name in told.families if name.startswith("ginkgo_")}
    known = {metric.name for metric in METRICS} | {"ginkgo_build_info"}
    assert ours <= known


def test_reloads_are_counted(scrape: Any) -> None:
    _, look, app = scrape
    app.signal(signal.SIGHUP)
    eventually(lambda: look().value("ginkgo_config_reloads_total", result="done") == 1.0)
    now = look()
    assert now.value("ginkgo_config_generation") == 2.0
    assert now.value("ginkgo_config_last_reload_successful") == 1.0
    assert now.value("ginkgo_config_last_reload_success_timestamp_seconds") is not None


def test_a_scrape_opens_nothing_that_stays(scrape: Any) -> None:
    _, look, app = scrape
    look()

    def opened() -> tuple[int, ...]:
        return tuple(len(os.listdir(f"/proc/{app.pid}/{kind}")) for kind in ("fd", "task"))

    before = opened()
    for _ in range(5):
        look()
    eventually(lambda: all(now <= then for now, then in zip(opened(), before, strict=True)))


BLOCKING = """
    import os

    from ginkgo import Service
    from ginkgo.async_ import native

    class App(Service):
        def do_start(self):
            self.spawn_later(0.1, self.hang)

        ASYNC def hang(self):
            HANG

    def hold():
        print("blocked", flush=True)
        while not os.path.exists("gate"):
            native.sleep(0.01)
"""


def test_a_blocked_loop_is_told_and_keeps_no_scrape_waiting(ground: Ground) -> None:
    posted = "self.backend_in_use.post(hold)"
    ground.write(BLOCKING.replace("HANG", posted if ground.name == "threading" else "hold()"))
    port = free_port()
    app = ground.begin("--set", f"control=127.0.0.1:{port}", "--set", "blocked_after=0.2")
    app.wait_for("^blocked$")
    for known in (False, True):  # that it is blocked
        if known:
            app.wait_for("nothing else has had a turn for")
        began = time.monotonic()
        later = Scraped(port)
        assert time.monotonic() - began < WAIT
        assert later.answer.status == 200
        assert later.value("ginkgo_metrics_complete") == 0.0
    assert later.value("ginkgo_loop_unanswered_seconds") != 0.0
    eventually(lambda: probe(port, "/livez?blocked=0.5")[0] == 503)
    assert "is blocked for" in probe(port, "/livez?blocked=0.5")[1]
    assert probe(port, "/livez")[0] == 200
    assert (Scraped(port).value("ginkgo_loop_blocked_total") or 0) >= 1
    ground.shop.write("gate", "")
    eventually(lambda: Scraped(port).value("ginkgo_metrics_complete") == 1.0)
    assert Scraped(port).value("ginkgo_loop_unanswered_seconds") == 0.0
    assert app.stops() == 0


def probe(port: int, path: str) -> tuple[int, str]:
    """The status and the body of an answer."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    client.request("GET", path)
    answer = client.getresponse()
    body = answer.read().decode()
    client.close()
    return answer.status, body


# -- promtool's rules (prometheus/client_golang, testutil/promlint), expressed here ---------------

UNITS = {
    *("milliseconds", "microseconds", "nanoseconds", "ms", "us", "ns", "minutes", "hours", "days"),
    *("kilobytes", "megabytes", "gigabytes", "kb", "mb", "gb", "kib", "mib", "bits", "percent"),
    *("millis", "micros", "nanos", "secs", "sec", "byte", "second"),
}


def lint(family: Metric) -> list[str]:
    """What promtool would say about a family of the text format."""
    name = family.name
    shown = {sample.name for sample in family.samples}
    labels = {label for sample in family.samples for label in sample.labels}
    problems = []
    if not family.documentation:
        problems.append(f"{name}: no help text")
    if family.type == "counter" and not all(each.endswith("_total") for each in shown):
        problems.append(f"{name}: a counter ends in _total")
    if family.type != "counter" and name.endswith("_total"):
        problems.append(f"{name}: only a counter ends in _total")
    if family.type not in ("histogram", "summary") and (
        name.endswith(("_count", "_sum", "_bucket")) or labels & {"le", "quantile"}
    ):
        problems.append(f"{name}: that is of histograms and summaries")
    words = set(name.split("_"))
    if words & {"gauge", "counter", "histogram", "summary"} - {"total"}:
        problems.append(f"{name}: its type is in its name")
    if words & UNITS:
        problems.append(f"{name}: no base unit {words & UNITS}")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not all(
        re.fullmatch(r"[a-z][a-z0-9_]*", label) for label in labels
    ):
        problems.append(f"{name}: snake_case without colons")
    return problems


def test_the_lint_sees_what_it_is_there_for() -> None:
    def family(name: str, kind: str, help: str = "Help.") -> Metric:
        made = Metric(name, help, kind)
        made.add_sample(name, {}, 1)
        return made

    assert lint(family("good_seconds", "gauge")) == []
    for bad in (
        family("no_help", "gauge", ""),
        family("requests", "counter"),
        family("things_total", "gauge"),
        family("things_count", "gauge"),
        family("wait_ms", "gauge"),
        family("some_gauge", "gauge"),
        family("camelCase", "gauge"),
    ):
        assert len(lint(bad)) == 1, bad


def test_every_metric_is_named_by_the_rules_also_those_that_are_seldom_told() -> None:
    for told in METRICS:
        family = Metric(told.name, told.help, told.kind)
        family.add_sample(told.shown, dict.fromkeys(told.labels, ""), 1)
        assert not [each for each in lint(family) if "_total" not in each]
        assert told.help.endswith(".")


# -- what is bounded ------------------------------------------------------------------------------


def test_a_tree_of_many_services_has_series_for_so_many_and_says_how_many_more() -> None:
    root = Service()
    for _ in range(MOST + 20):
        root.add_service(Service())
    book = metrics.Book()
    metrics._of_states(book, list(seen.walk(root)))
    assert book.families["ginkgo_services_untold"].samples[0].value == 21.0
    told = {s.labels["state"]: s.value for s in book.families["ginkgo_services"].samples}
    assert sum(told.values()) == MOST + 21


def test_a_loop_that_has_not_answered_is_not_asked_again() -> None:
    posted: list[Any] = []
    tally = Tally(Service(), lambda function: posted.append(function))
    calls: list[int] = []
    assert tally.ask(lambda: calls.append(1))
    assert tally.ask(lambda: calls.append(2))
    assert len(posted) == 1
    tally._asked_at = (tally._asked_at or 0.0) - 5.0
    assert not tally.ask(lambda: calls.append(3))
    assert tally.unanswered > 4.0
    posted[0]()
    assert (calls, tally.unanswered) == ([1, 2], 0.0)
    assert tally.lag.total == 1


def test_a_loop_that_is_known_to_be_blocked_is_asked_for_a_sign_of_life_alone() -> None:
    posted: list[Any] = []
    tally = Tally(Service(), lambda function: posted.append(function))
    calls: list[int] = []
    assert not tally.ask(lambda: calls.append(1), blocked=True)
    assert not tally.ask(lambda: calls.append(2), blocked=True)
    assert len(posted) == 1
    posted[0]()
    assert (calls, tally.unanswered, tally.lag.total) == ([], 0.0, 1)


class Clocked(Service):
    """One with a health check, whose first start fails when it was up once."""

    def check(self) -> bool:
        return True


async def test_restarts_are_counted_by_what_they_are_for(world: World) -> None:
    with FakeClock() as clock:
        quick = {"backoff": Backoff(1.0, 1.0, 1.0, jitter=0.0), "max_restarts": 9}
        root = plant(world, "a(b,c(d))", a=quick | {"strategy": "rest_for_one"}, c=quick)
        await done(root.start())
        for name in "bd":
            root[name].task(fail)
            await until(world, root, lambda: clock.waiting)
            clock.advance(1.0)
            await until(world, root, lambda: root.ready)
        assert metrics.restarts_of(root["b"]) == {"start": 0, "task": 1}
        assert metrics.restarts_of(root["c"]) == {"start": 0, "task": 0, "child": 0, "sibling": 1}
        assert metrics.restarts_of(root["d"]) == {"start": 0, "task": 1}
        root["c"].max_restarts = 0
        root["d"].task(fail)
        await until(world, root, lambda: clock.waiting)
        root["c"].scripts["start"] = Wrong()
        clock.advance(1.0)
        await until(world, root, lambda: clock.waiting)
        root["c"].scripts.clear()
        clock.advance(1.0)
        await until(world, root, lambda: root.ready)
        counted = metrics.restarts_of(root["c"])
        assert counted == {"start": 1, "task": 0, "child": 0, "sibling": 1}
        assert set(counted) <= set(REASONS)
        await done(root.stop())
    assert metrics.restarts_of(Clocked())["check"] == 0


def test_what_keeps_a_server_from_taking_in_is_told_by_its_errno() -> None:
    server = StreamServer(("127.0.0.1", 0), lambda *_: None)
    server.bind()
    for error in (OSError(errno.EMFILE, "too many"), OSError(errno.EMFILE, "too many")):
        server._complain(error)
    server._complain(RuntimeError("can't start new thread"))
    server.unbind()
    book = metrics.Book()
    running: Any = SimpleNamespace(tally=SimpleNamespace(task_failures={}))
    metrics._of_service(book, server, "App/StreamServer", running)
    told = {s.labels["errno"]: s.value for s in book.families["ginkgo_accept_errors"].samples}
    assert told == {"EMFILE": 2, "ENFILE": 0, "ENOMEM": 0, "other": 1}
    assert server.counters()["accept_errors"] == 3


def test_no_metric_is_named_twice() -> None:
    assert len({told.name for told in METRICS}) == len(METRICS)
