"""How a tree is drawn for people."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from ginkgo.cli.output import has_unicode
from ginkgo.cli.trees import drawn


def node(path: str, state: str = "ready", *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    return {"name": name, "path": path, "state": state, "why": None, "children": [*children]} | more


def workers(count: int, **more: Any) -> list[dict[str, Any]]:
    numbers = ["", *(f"-{number}" for number in range(2, count + 1))]
    return [node(f"App/Worker{number}", kind="Worker", **more) for number in numbers]


@pytest.fixture(autouse=True)
def output(monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    return stream


def draw(root: dict[str, Any], **more: Any) -> list[str]:
    return list(drawn(root, **{"why": True, **more}))


def test_what_is_wrong_stands_beside_the_service() -> None:
    db = node("App/Db", "failed", why="App/Db: start failed: OSError: no", restarts=3)
    web = node("App/Web", "ready", node("App/Web/Pool", "starting", tasks=1), tasks=2)
    assert draw(node("App", "degraded", db, web)) == [
        "▲ App  degraded",
        "├─ ✗ Db  failed, restarted 3 times: start failed: OSError: no",
        "└─ ● Web  ready, 2 tasks",
        "   └─ ◐ Pool  starting, 1 task",
    ]
    assert "OSError" not in "".join(draw(node("App", "degraded", db), why=False))


def test_each_state_has_a_symbol_of_its_own_without_unicode_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert not has_unicode()
    lines = draw(node("App", "degraded", node("App/A", "failed"), node("App/B", "stopped")))
    assert lines == ["! App  degraded", "|- x A  failed", "`- - B  stopped"]
    assert "".join(lines).isascii()
    assert "".join(draw(node("App", "ready", *workers(5)))).isascii()


def test_many_that_are_alike_are_one_line() -> None:
    lines = draw(node("App", "ready", *workers(1000, tasks=1)))
    assert lines == ["● App  ready", "└─ ● Worker … Worker-1000  ready, 1000 tasks (1000 alike)"]


def test_few_that_are_alike_are_drawn() -> None:
    assert len(draw(node("App", "ready", *workers(3)))) == 4


def test_each_is_drawn_where_that_is_wanted() -> None:
    assert len(draw(node("App", "ready", *workers(1000)), each=True)) == 1001


def test_one_among_many_that_is_not_like_them_stands_out() -> None:
    many = workers(9)
    many[4] |= {"state": "failed", "why": "App/Worker-5: task failed: ValueError: no"}
    lines = draw(node("App", "degraded", *many))
    assert lines[1:] == [
        "├─ ● Worker … Worker-4  ready (4 alike)",
        "├─ ✗ Worker-5  failed: task failed: ValueError: no",
        "└─ ● Worker-6 … Worker-9  ready (4 alike)",
    ]


def test_many_that_fail_alike_are_one_line() -> None:
    many = [
        one | {"state": "failed", "why": f"{one['path']}: start failed: no"} for one in workers(50)
    ]
    assert len(draw(node("App", "failed", *many))) == 2


def test_what_is_in_them_counts_too() -> None:
    many = workers(8)
    for one in many:
        one["children"] = [node(f"{one['path']}/Queue")]
    lines = draw(node("App", "ready", *many))
    assert lines[1:] == ["└─ ● Worker … Worker-8  ready (8 alike)", "   └─ ● Queue  ready"]
    many[3]["children"][0]["state"] = "failed"
    assert "✗ Queue  failed" in "\n".join(draw(node("App", "ready", *many)))


def test_a_line_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    deep = node("App/Web", "failed", why="x" * 500)
    for _ in range(40):
        deep = node("App/Web", "ready", deep)
    lines = draw(node("App", "ready", deep, node("App/" + "n" * 300)))
    assert lines[-1].endswith("…")
    assert [line for line in lines[:20] + lines[-1:] if len(line) > 80] == []


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = node("App", "failed")
    assert draw(failed) == ["✗ App  failed"]
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert draw(failed) == ["\x1b[31m✗\x1b[0m App  \x1b[31mfailed\x1b[0m"]


@pytest.mark.fault(143)
def test_a_service_drives_no_terminal() -> None:
    evil = node("App/\x1b]52;c;evil\x07", "ready", why="\x1b[2J")
    assert "\x1b" not in "".join(draw(node("App", "ready", evil)))


def test_a_tree_of_another_version_is_drawn_as_far_as_it_is_known() -> None:
    assert draw({"path": "App", "state": "dreaming", "children": [{}, 7]}) == [
        "? App  dreaming",
        "└─ ? None  None",
    ]
