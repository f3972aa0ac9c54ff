from __future__ import annotations

import json
from typing import Any

import pytest

from ginkgo.config import ReloadReport, Setting, Settings
from ginkgo.config.report import same


class Server:
    port = Setting("r.port", default=7000, restart_required=True)
    rate = Setting("r.rate", default=60)
    password = Setting("r.password", default=None, secret=True)


def test_a_report_reads_like_a_list_of_changes(config: Settings, write: Any) -> None:
    config.load_file(write("class r:\n    port = 7001\nother = 1\n"))
    path = write(
        """
        class r:
            port = 7002
            rate = 180
            password = 'canary'
        other = 2
        rat = {}
        """
    )
    report = config.reload()
    assert str(report) == (
        f"r.password: changed ({path}:4)\n"
        f"r.rate: 60 -> 180 ({path}:3)\n"
        f"r.port: 7001 -> 7002 ({path}:2), after a restart\n"
        "changed, but declared by nobody: other, rat"
    )
    assert json.loads(json.dumps(report.as_dict())) == {
        "number": config.snapshot.number,
        "changed": [
            {"path": "r.password", "old": "None", "new": "****", "origin": f"{path}:4"},
            {"path": "r.rate", "old": "60", "new": "180", "origin": f"{path}:3"},
        ],
        "needs_restart": [{"path": "r.port", "old": "7001", "new": "7002", "origin": f"{path}:2"}],
        "covered": [],
        "undeclared": ["other", "rat"],
        "warnings": [],
    }
    assert "canary" not in repr(report)


def test_a_reload_without_a_change_says_so(config: Settings, write: Any) -> None:
    config.load_file(write("import os\nclass r:\n    rate = 5\ndef hook(): ...\nlog = object()\n"))
    report = config.reload()
    assert report == ReloadReport(config.snapshot.number)
    assert str(report) == "no setting has changed"


def test_a_line_that_is_gone_is_a_change_to_the_default(config: Settings, write: Any) -> None:
    config.load_file(write("class r:\n    rate = 5\n"))
    write("x = 1\n")
    assert [(c.path, c.old, c.new, c.origin) for c in config.reload().changed] == [
        ("r.rate", 5, 60, "default")
    ]


def test_warnings_are_in_the_report(config: Settings, write: Any) -> None:
    path = write("class r:\n    rte = 5\n")
    config.load_file(path)
    told = (
        f"{path}:2: r.rte is no setting; did you mean r.rate? "
        "(If it is the file's own, start it with an underscore.)"
    )
    report = config.reload()
    assert report.warnings == (told,)
    assert str(report) == f"no setting has changed\nwarning: {told}"


class Odd:
    def __eq__(self, other: object) -> bool:
        raise TypeError("never compare me")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        ([1], [1], True),
        (len, len, True),
        (len, max, False),
        (Odd(), Odd(), False),
        (object(), object(), False),
    ],
)
def test_values_are_the_same_when_they_are_equal_and_of_one_kind(
    one: object, other: object, alike: bool
) -> None:
    assert same(one, other) is alike
