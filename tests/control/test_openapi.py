"""The document of the API, and that the API is as the document says."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from tests.control.conftest import Serve
from tests.control.harness import Served

from ginkgo.control import openapi_data as data
from ginkgo.control.api import ROUTES
from ginkgo.control.openapi import NAME, document
from ginkgo.control.tcp import Tcp

TOKEN = "a-token-of-this-test-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guarded(serve: Serve) -> Served:
    return serve(tcp=Tcp("127.0.0.1:0", token=TOKEN, actions=True))


def test_every_route_is_in_the_document(served: Served) -> None:
    status, answer = served.json("GET /api/v1/openapi.json")
    assert (status, answer["openapi"]) == (200, "3.1.0")
    found = {(method.upper(), path) for path, item in answer["paths"].items() for method in item}
    assert found == {(route.method, NAME.sub(r"{\1}", route.path)) for route in ROUTES}
    names = [one["operationId"] for item in answer["paths"].values() for one in item.values()]
    assert len(set(names)) == len(names)
    assert all(one["summary"] for item in answer["paths"].values() for one in item.values())


def test_nothing_is_described_that_is_no_route() -> None:
    known = {f"{route.method} {route.path}" for route in ROUTES}
    for table in (data.ANSWERS, data.BODIES, data.QUERIES, data.STATUSES, data.TEXTS):
        assert set(table) <= known
    assert set(data.STREAMS) <= known
    assert set(data.ANSWERS.values()) <= set(data.SCHEMAS)


def test_the_shapes_are_json_schema() -> None:
    for name, shape in document(ROUTES)["components"]["schemas"].items():
        jsonschema_rs.meta.validate(shape)
        assert name[0].isupper()


@pytest.mark.parametrize("over", ["unix", "tcp"])
def test_the_document_says_where_the_api_is(guarded: Served, over: str) -> None:
    if over == "unix":
        assert "servers" not in guarded.json("GET /api/v1/openapi.json")[1]
    else:
        servers = guarded.tcp_json("GET /api/v1/openapi.json", **BEARER)[1]["servers"]
        assert servers == [{"url": f"http://127.0.0.1:{guarded.port}"}]


OPERATIONS = [" ".join((route.method, NAME.sub(r"{\1}", route.path))) for route in ROUTES]


@pytest.mark.timeout(300)
@pytest.mark.fault(104)
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_api_is_as_its_document_says(guarded: Served, name: str) -> None:
    method, path = name.split()
    assert guarded.server.url is not None
    url = f"{guarded.server.url}api/v1/openapi.json"
    described = schemathesis.openapi.from_url(url, headers=BEARER, timeout=20)

    @given(case=described[path][method].as_strategy())
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        if path == "/api/v1/wait":
            case.query["timeout"] = "0.01"  # it would last
        if "stream" in case.query:
            case.query["stream"] = "0"  # likewise
        case.call_and_validate(headers=BEARER, timeout=20)

    ask()
    assert guarded.reports == []
