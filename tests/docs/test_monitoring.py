"""The alert rules and the dashboard name only metrics that exist, and the labels that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.docs.pages import ROOT

from ginkgo.process.metrics import METRICS

FOLDER = ROOT / "docs/monitoring"
RULES = yaml.safe_load((FOLDER / "ginkgo-alerts.yml").read_text())
DASHBOARD = json.loads((FOLDER / "ginkgo-dashboard.json").read_text())
NAME = re.compile(r"\b((?:ginkgo|process|python)_\w+)(\{[^}]*\})?")
BY_GRACE = {"job", "instance", "le"}  # given by Prometheus, or by the kind of a metric
# Of prometheus-client's own collectors.
STANDARD = {
    "process_open_fds",
    "process_max_fds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
}


def series() -> dict[str, set[str]]:
    """All series of ours: their names, and their labels."""
    known: dict[str, set[str]] = {name: set() for name in STANDARD}
    for told in METRICS:
        endings = ("_bucket", "_sum", "_count") if told.kind == "histogram" else ("",)
        for ending in endings:
            known[told.shown + ending] = set(told.labels)
    return known


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, and where it stands."""
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_names_only_what_exists(where: str, expression: str) -> None:
    known = series()
    found = NAME.findall(expression)
    assert found
    labels: set[str] = set()
    for name, selector in found:
        assert name in known, f"{where}: there is no {name}"
        labels |= known[name]
        wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert wanted <= known[name] | BY_GRACE, f"{where}: {name} has no labels {wanted}"
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        assert {each.strip() for each in grouped.split(",")} <= labels | BY_GRACE, where
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_a_counter_is_asked_for_its_rate_and_a_gauge_is_not(where: str, expression: str) -> None:
    for name, _ in NAME.findall(expression):
        within = re.search(rf"(?:rate|increase)\({name}\b", expression) is not None
        grows = name.endswith(("_total", "_bucket", "_count", "_sum"))
        assert within == grows, f"{where}: {name}"


def test_the_rules_have_the_form_that_promtool_asks_for() -> None:
    names = []
    for group in RULES["groups"]:
        assert set(group) == {"name", "rules"}
        for rule in group["rules"]:
            assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch(r"\d+[smhd]", rule.get("for", "1m"))
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert set(rule["annotations"]) == {"summary", "description"}
            known = {label for told in METRICS for label in told.labels} | BY_GRACE
            for text in rule["annotations"].values():
                assert set(re.findall(r"\$labels\.(\w+)", text)) <= known
            names.append(rule["alert"])
    assert len(set(names)) == len(names)


def test_the_panels_of_the_dashboard_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at: dict[str, Any] = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_reference_lists_every_metric_there_is() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text()
    listed = set(re.findall(r"^\| `(ginkgo_\w+)", page, re.MULTILINE))
    assert listed == {told.shown for told in METRICS}
    for told in METRICS:
        row = next(line for line in page.splitlines() if line.startswith(f"| `{told.shown}`"))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == told.kind
        assert cells[2] == ", ".join(told.labels)
