"""Metrics and probes over HTTP: what is answered, in which format, and to whom."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import Exemplar, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.parser import text_fd_to_metric_families
from prometheus_client.parser import text_string_to_metric_families
from tests.control.conftest import Serve
from tests.control.harness import Served

import ginkgo.control.routes_metrics as routes
from ginkgo.control.routes_metrics import told
from ginkgo.control.tcp import Tcp


def ask(served: Served, line: str, **headers: str) -> tuple[int, dict[str, str], str]:
    with served.client() as client:
        client.ask(line, **headers)
        status, found, body = client.read()
        return status, found, body.decode()


@pytest.fixture
def orders() -> Iterator[Counter]:
    """A metric that an application has made, in the library's default registry."""
    counter = Counter("test_orders", "Orders of the test.")
    yield counter
    REGISTRY.unregister(counter)


def test_the_applications_own_metrics_are_told_too(served: Served, orders: Counter) -> None:
    orders.inc(3)
    status, headers, body = ask(served, "GET /metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert "test_orders_total 3.0" in body
    assert "ginkgo_metrics_complete 1.0" in body


def counted(served: Served) -> dict[tuple[str, str], float]:
    """The requests to the control plane, by route and result."""
    _, _, body = ask(served, "GET /metrics")
    return {
        (sample.labels["command"], sample.labels["result"]): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        if sample.name == "ginkgo_control_requests_total"
    }


def test_who_is_not_let_in_is_counted_by_route_too(serve: Serve) -> None:
    served = serve(tcp=Tcp("127.0.0.1:0", token="a-token-of-this-test-0123456789"))
    lines = ("GET /api/v1/status", "HEAD /api/v1/status", "GET /api/v1/nothing", "GET /livez")
    for line in lines:
        with served.tcp_client() as client:
            client.ask(line, Authorization="Bearer wrong")
            assert client.read(head_only=line.startswith("HEAD"))[0] == 401
    assert served.tcp_json("GET /api/v1/tree")[0] == 401
    assert served.tcp_json("GET /api/v1/tree", Origin="http://evil.example")[0] == 403
    assert served.tcp_json("POST /login", b'{"token": "wrong"}')[0] == 401
    for _ in range(2):
        served.tcp_json("GET /api/v1/dump", Authorization="Bearer wrong")  # one too many: 429
    assert counted(served) == {
        ("GET /api/v1/status", "refused"): 2,
        ("unknown", "refused"): 1,
        ("GET /livez", "refused"): 1,
        ("GET /api/v1/tree", "refused"): 2,
        ("POST /login", "refused"): 1,
        ("GET /api/v1/dump", "refused"): 2,
    }
    assert [each.partition(" come ")[0] for each in served.reports] == ["Too many wrong tokens"]
    served.reports.clear()


def test_requests_are_counted_by_route_and_result(served: Served) -> None:
    for line in ("GET /api/v1/status", "HEAD /api/v1/status", "GET /api/v1/services/App/Db"):
        with served.client() as client:
            client.ask(line)
            client.read(head_only=line.startswith("HEAD"))
    served.json("GET /api/v1/services/Nope")
    served.json("GET /nothing/of/that/kind")
    served.json("POST /api/v1/set", b'{"name": "ratee", "value": 1}')
    served.json("POST /api/v1/reload", b"{}")
    served.instance.why = "it broke"
    served.json("POST /api/v1/restart", b'{"path": "App/Db"}')
    with served.client() as client:
        client.ask("GET /api/v1/events?stream=1")
        client._more()
    assert counted(served) == {
        ("GET /api/v1/status", "ok"): 2,
        ("GET /api/v1/services/{path...}", "ok"): 1,
        ("GET /api/v1/services/{path...}", "refused"): 1,
        ("unknown", "refused"): 1,
        ("POST /api/v1/set", "refused"): 1,
        ("POST /api/v1/reload", "ok"): 1,
        ("POST /api/v1/restart", "error"): 1,
        ("GET /api/v1/events", "ok"): 1,
    }


def test_openmetrics_is_told_to_those_who_ask_for_it(served: Served) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"
    status, headers, body = ask(served, "GET /metrics", Accept=accept)
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith("# EOF\n")


def test_head_tells_the_headers_alone(served: Served) -> None:
    with served.client() as client:
        client.ask("HEAD /metrics")
        status, headers, body = client.read(head_only=True)
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


def test_a_blocked_loop_keeps_nobody_waiting(served: Served, orders: Counter) -> None:
    served.instance.loop = "blocked"
    status, _, body = ask(served, "GET /metrics")
    assert status == 200
    assert "ginkgo_metrics_complete 0.0" in body
    assert "test_orders" not in body


def test_a_loop_that_is_late_is_waited_for_a_moment(served: Served, orders: Counter) -> None:
    served.instance.loop = "late"
    status, _, body = ask(served, "GET /metrics")
    assert status == 200
    assert "ginkgo_metrics_complete 0.0" in body


@pytest.mark.parametrize("loop", ["late", "blocked"])
def test_meanwhile_the_applications_are_told_as_they_were(
    served: Served, orders: Counter, loop: str
) -> None:
    before = ask(served, "GET /metrics")[2]
    served.instance.loop = loop
    body = ask(served, "GET /metrics")[2]
    assert "ginkgo_metrics_complete 0.0" in body
    mine = [line for line in body.splitlines() if "test_orders" in line]
    assert mine
    assert mine == [line for line in before.splitlines() if "test_orders" in line]


def test_a_client_that_does_not_wait_for_the_loop_leaves_nothing(served: Served) -> None:
    served.instance.loop = "late"
    with served.client() as client:
        client.ask("GET /metrics")
    assert ask(served, "GET /livez")[0] == 200


def test_a_collector_that_raises_takes_only_the_applications_metrics_away(served: Served) -> None:
    class Broken:
        def describe(self) -> list[object]:
            return []

        def collect(self) -> list[object]:
            raise ZeroDivisionError("of the test")

    broken = Broken()
    REGISTRY.register(broken)  # type: ignore[arg-type]
    try:
        status, _, body = ask(served, "GET /metrics")
    finally:
        REGISTRY.unregister(broken)  # type: ignore[arg-type]
    assert status == 200
    assert "ginkgo_metrics_complete 0.0" in body


def text_of(own: list[Any], others: list[Any], accept: str = "") -> str:
    """What is answered in the end."""
    *turns, answer = told(own, others, accept)
    assert turns == [None] * len(turns)
    assert answer is not None
    return answer.body.decode()


def test_of_two_metrics_with_one_name_ours_is_told() -> None:
    ours, theirs = (GaugeMetricFamily("one", "Help.", value=value) for value in (1, 2))
    assert text_of([ours], [theirs]) == "# HELP one Help.\n# TYPE one gauge\none 1.0\n"


def test_openmetrics_ends_once() -> None:
    families = [GaugeMetricFamily(name, "Help.", value=1) for name in ("one", "two")]
    text = text_of(families, [], "application/openmetrics-text; version=1.0.0")
    assert text.count("# EOF") == 1
    assert [family.name for family in text_fd_to_metric_families(StringIO(text))] == ["one", "two"]


def test_a_metric_that_openmetrics_does_not_know_is_named() -> None:
    strange = Metric("strange", "Help.", "gauge")
    strange.add_sample("strange", {}, 1, exemplar=Exemplar({}, 1.0))
    accept = "application/openmetrics-text; version=1.0.0"
    assert "strange cannot be told" in text_of([], [strange], accept)


def test_a_large_tree_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "SLICE", 0.0)
    many = [GaugeMetricFamily(f"name{number}", "Help.", value=1) for number in range(10)]
    answers = list(told([*many, None, None], [], ""))
    assert answers.count(None) == 12


def test_without_the_library_the_answer_says_what_to_install(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with served.client() as client:
        status, answer = client.json("GET /metrics")
    assert status == 501
    assert answer["error"]["do"] == 'pip install "ginkgo[metrics]"'


def test_the_library_is_imported_by_the_first_scrape_and_not_before() -> None:
    code = (
        "import sys, ginkgo.control.api, ginkgo.process.metrics\n"
        "assert 'prometheus_client' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.mark.parametrize("path", ["/livez", "/healthz"])
def test_an_instance_that_answers_is_alive(served: Served, path: str) -> None:
    served.instance.become("failed")
    status, headers, body = ask(served, f"GET {path}")
    assert (status, body) == (200, "alive\n")
    assert headers["content-type"] == "text/plain; charset=utf-8"


def test_readiness_follows_the_state(served: Served) -> None:
    assert ask(served, "GET /readyz")[::2] == (200, "ready\n")
    for state in ("starting", "stopping", "stopped", "failed", "degraded"):
        served.instance.become(state)
        assert ask(served, "GET /readyz")[::2] == (503, f"not ready: {state}\n")


def test_the_reason_is_in_the_body(served: Served) -> None:
    served.instance.become("degraded")
    served.instance.troubles.append({"path": "App/Db", "state": "failed", "why": "of the test"})
    status, _, body = ask(served, "GET /readyz")
    assert (status, body) == (503, "not ready: degraded\nApp/Db: failed: of the test\n")
    assert ask(served, "GET /readyz?degraded=ok")[0] == 200


def test_a_stranger_learns_which_service_it_is_and_not_what_its_error_says(serve: Serve) -> None:
    token = "a-token-of-this-test-0123456789"
    served = serve(tcp=Tcp("127.0.0.1:0", token=token))
    served.instance.become("degraded")
    served.instance.troubles.append({"path": "App/Db", "state": "failed", "why": "password=x"})
    with served.tcp_client() as client:
        client.ask("GET /readyz")
        assert client.read()[::2] == (503, b"not ready: degraded\nApp/Db: failed\n")
        client.ask("GET /readyz", Authorization=f"Bearer {token}")
        assert client.read()[2].endswith(b"App/Db: failed: password=x\n")
        client.ask("GET /metrics")
        assert client.read()[0] == 401
        client.ask("GET /metrics", Authorization=f"Bearer {token}")
        assert client.read()[0] == 200


@pytest.mark.parametrize("given", ["verbose", "verbose=", "verbose=1", "degraded=ok&verbose=true"])
def test_each_thing_looked_at_is_told_where_that_is_asked(served: Served, given: str) -> None:
    status, headers, body = ask(served, f"GET /readyz?{given}")
    told = "[+]shutdown ok\n[+]state ok\n[+]App/Db ok\nreadyz check passed\n"
    assert (status, headers["content-type"], body) == (200, "text/plain; charset=utf-8", told)
    served.instance.become("starting")
    served.instance.troubles.append({"path": "App/Db", "state": "starting", "why": "of the test"})
    status, _, body = ask(served, f"GET /readyz?{given}")
    assert (status, body.splitlines()[1:]) == (
        503,
        [
            "[-]state failed: starting",
            "[-]App/Db failed: starting: of the test",
            "readyz check failed",
        ],
    )


@pytest.mark.parametrize("name", ["livez", "healthz"])
def test_so_is_what_life_depends_on(served: Served, name: str) -> None:
    assert ask(served, f"GET /{name}?verbose&blocked=10")[::2] == (
        200,
        f"[+]loop ok\n{name} check passed\n",
    )
    assert ask(served, f"GET /{name}?verbos")[0] == 400


def test_a_stranger_is_told_of_what_fails_and_neither_why_nor_what_else_there_is(
    serve: Serve,
) -> None:
    token = "a-token-of-this-test-0123456789"
    served = serve(tcp=Tcp("127.0.0.1:0", token=token))
    served.instance.become("degraded")
    with served.tcp_client() as client:
        client.ask("GET /readyz?verbose")
        told = b"[+]shutdown ok\n[-]state failed: degraded\nreadyz check failed\n"
        assert client.read()[::2] == (503, told)
        served.instance.troubles.append({"path": "App/Db", "state": "failed", "why": "password=x"})
        client.ask("GET /readyz?verbose")
        assert b"\n[-]App/Db failed: reason withheld\n" in client.read()[2]
        client.ask("GET /readyz?verbose", Authorization=f"Bearer {token}")
        assert b"\n[-]App/Db failed: password=x\n" in client.read()[2]


def test_a_limit_that_is_no_number_is_refused(served: Served) -> None:
    assert ask(served, "GET /livez?blocked=long")[0] == 400
