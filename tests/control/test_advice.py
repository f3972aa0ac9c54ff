"""Every error of the control plane says what to do next."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.control.harness import Served

import ginkgo.control

SOURCES = sorted(Path(ginkgo.control.__file__).parent.glob("*.py"))


def errors(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Name) and called.id in ("error", "reject"):
            yield node


def test_no_error_is_without_advice() -> None:
    found = 0
    for source in SOURCES:
        for call in errors(ast.parse(source.read_text(encoding="utf-8"))):
            found += 1
            where = f"{source.name}:{call.lineno}"
            assert len(call.args) == 4, where  # status, what, why, do
            assert getattr(call.args[3], "value", "said elsewhere") != "", where
    assert found > 40


ASKED = (
    ("GET /api/v1/nope", {}),
    ("GET nope", {}),
    ("GET /api/v1/services/Nope", {}),
    ("GET /api/v1/stop", {}),
    ("GET /api/v1/wait?state=happy", {}),
    ("GET /api/v1/wait?timeout=soon", {}),
    ("GET /api/v1/events?limit=lots", {}),
    ("GET /api/v1/events?path=Nope", {}),
    ("GET /api/v1/events?%FF=1", {}),
    ("GET /api/v1/log?level=lots", {}),
    (f"GET /api/v1/log?grep={'x' * 300}", {}),
    ("GET /static/nope", {}),
    ("POST /api/v1/stop", {"path": "Nope"}),
    ("POST /api/v1/stop", {"path": 7}),
    ("POST /api/v1/restart", {}),
    ("POST /api/v1/restart", {"path": "Nope"}),
    ("POST /api/v1/set", {}),
    ("POST /api/v1/set", {"name": "rate"}),
    ("POST /api/v1/set", {"name": "rate", "value": 1, "for": "soon"}),
    ("POST /api/v1/set", {"name": "nope", "value": 1}),
    ("POST /api/v1/set", {"name": "rate", "value": 1, "unit": "s"}),
    ("POST /api/v1/log-level", {"logger": "app"}),
)


@pytest.mark.parametrize(("line", "body"), ASKED)
def test_who_is_refused_is_told_what_to_do(
    served: Served, line: str, body: dict[str, object]
) -> None:
    status, told = served.json(line, json.dumps(body).encode() if body else b"")
    assert status >= 400
    assert all(told["error"][part] for part in ("what", "why", "do")), told


def test_an_answer_for_the_command_names_no_route(served: Served) -> None:
    for line in ("GET /api/v1/services/Nope", "GET /api/v1/events?path=Nope"):
        assert "GET /" not in served.json(line)[1]["error"]["do"]
