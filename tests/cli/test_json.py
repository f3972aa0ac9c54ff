"""What --json prints has the shape that docs/reference/json.md says, for every action."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_ctl_live import app  # noqa: F401 - the fixture
from tests.workshop import Program, Workshop

from ginkgo.cli.ctl import ACTIONS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"

TYPES: dict[str, type | tuple[type, ...]] = {
    "text": str,
    "number": (int, float),
    "true or false": bool,
    "list": list,
    "object": dict,
    "null": type(None),
    "anything": object,
}
OPEN = ("ginkgo.event/1", "ginkgo.wait/1")
"""Those that have further keys, as the page says."""


def read_page() -> tuple[dict[str, dict[str, tuple[bool, str]]], dict[str, str]]:
    """The schemas: for each its keys, whether they are always there, and their types; and which
    actions print which."""
    schemas: dict[str, dict[str, tuple[bool, str]]] = {}
    actions: dict[str, str] = {}
    keys: dict[str, tuple[bool, str]] = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            keys = schemas.setdefault(line.removeprefix("## "), {})
        elif not schemas:
            if match := re.match(r"\| (`.*) \| `(ginkgo\.[\w-]+/1)`", line):
                actions |= dict.fromkeys(re.findall(r"`([\w-]+)`", match[1]), match[2])
        elif match := re.match(r"\| `(\w+)`(\*?) \| ([^|]+) \|", line):
            keys[match[1]] = (match[2] == "*", match[3].strip())
    return schemas, actions


SCHEMAS, _ = read_page()


def check(value: dict[str, Any], schema: str, where: str = "") -> None:
    """See that an object is as the page says."""
    keys = SCHEMAS[schema]
    where = where or schema
    unknown = set(value) - set(keys) - {"schema"}
    if schema in OPEN:
        unknown = set()
    assert not unknown, f"{where}: not on the page: {unknown}"
    missing = {name for name, (always, _) in keys.items() if always} - set(value)
    assert not missing, f"{where}: missing: {missing}"
    for name, (_, kind) in keys.items():
        if name in value:
            check_value(value[name], kind, f"{where}: {name}")


def check_value(value: Any, kind: str, where: str) -> None:
    """See that a value is of that type."""
    if kind.startswith("list of "):
        assert isinstance(value, list), where
        for one in value:
            check(one, kind.removeprefix("list of "), where)
        return
    names = [kind] if kind in TYPES else kind.split(" or ")
    good = tuple(each for name in names for each in _types(name))
    assert isinstance(value, good), f"{where}: {value!r} is no {kind}"
    assert isinstance(value, bool) <= (bool in good or object in good), where


def _types(name: str) -> tuple[type, ...]:
    known = TYPES[name]
    return known if isinstance(known, tuple) else (known,)


def schema_of(told: dict[str, Any], expected: str) -> None:
    assert told["schema"] == expected
    check(told, expected)


def test_the_page_names_the_schema_of_every_action() -> None:
    schemas, actions = read_page()
    assert set(ACTIONS) == set(actions)
    assert set(actions.values()) <= set(schemas)


LOOKING = [
    "status",
    "ls",
    "tree",
    "top",
    "events -n 500",
    "logs",
    "settings",
    "wait",
    "dump",
    "reload",
    "set rate 12 --for 1m",
    "set rate 13",
    "log-level app.db INFO",
    "restart App/Db",
    "reload App/Db",
    "stop App/Worker",
    "completion fish",
]


def test_what_is_printed_is_as_the_page_says(shop: Workshop, app: Program) -> None:  # noqa: F811
    shop.write("fail", "")
    app.wait_for("restarted$")
    _, actions = read_page()
    for line in LOOKING:
        action, *rest = line.split()
        target = [] if action in ("ls", "completion") else ["app.App"]
        run = shop.ctl(*target, action, *rest, "--json")
        assert (run.returncode, run.stderr) == (0, ""), line
        printed = run.stdout.splitlines()
        assert printed, line
        expected = "ginkgo.action/1" if rest and rest[0][:4] == "App/" else actions[action]
        for one in printed:
            schema_of(json.loads(one), expected)


def test_so_is_what_a_shell_prints(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    shop.write("app.conf.py", "service = 'app.App'\nlogfile = 'app.log'\nbackdoor = True\n")
    assert shop.ctl("app.conf.py", "start").returncode == 0
    run = shop.run("bash", "-c", "echo 1 + 1 | ginkgoctl app.conf.py shell --json")
    schema_of(json.loads(run.stdout), "ginkgo.shell/1")
    assert shop.ctl("app.conf.py", "stop").returncode == 0


def test_so_is_that_of_a_daemon_that_comes_and_goes(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    shop.write("app.conf.py", "service = 'app.App'\nlogfile = 'app.log'\n")

    def told(action: str) -> dict[str, Any]:
        run = shop.ctl("app.conf.py", action, "--json")
        found = json.loads(run.stdout.splitlines()[-1])
        assert isinstance(found, dict)
        return found

    schema_of(told("status"), "ginkgo.status/1")
    schema_of(told("start"), "ginkgo.start/1")
    schema_of(told("restart"), "ginkgo.restart/1")
    schema_of(told("status"), "ginkgo.status/1")
    schema_of(told("log"), "ginkgo.line/1")
    schema_of(told("stop"), "ginkgo.stop/1")
    schema_of(told("stop"), "ginkgo.stop/1")


@pytest.mark.parametrize("line", ["tree", "set rate 1", "restart App/Db", "logs -f", "ls x"])
def test_so_are_errors(shop: Workshop, line: str) -> None:
    words = line.split() if line.startswith("ls") else ["app.App", *line.split()]
    run = shop.ctl(*words, "--json")
    assert (run.stdout, run.returncode > 0) == ("", True)
    told = json.loads(run.stderr)
    schema_of(told, "ginkgo.error/1")
    assert told["status"] == run.returncode


def test_the_check_sees_what_is_not_as_the_page_says() -> None:
    good = {"schema": "ginkgo.error/1", "error": {}, "status": 7}
    check(good, "ginkgo.error/1")
    for bad in ({"status": "7"}, {"status": True}, {"status": None}, {"more": 1}):
        with pytest.raises(AssertionError):
            check(good | bad, "ginkgo.error/1")
    with pytest.raises(AssertionError):
        check({"schema": "ginkgo.error/1", "status": 7}, "ginkgo.error/1")
