from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from ginkgo.config import Group, Setting, Settings

VALUES = {
    "foo": "BAZ",
    "bar.foo": "qux",
    "bar.boo": "bar",
    "bar.baz.foo": "deep",
    "items.values": 1,
}


@pytest.fixture
def alone() -> Any:
    """A configuration without anybody's declared settings."""
    config = Settings(VALUES)
    config.registry._parent = None
    return config


def test_a_group_gives_values_groups_and_none(alone: Settings) -> None:
    top = alone.group()
    assert top is not None
    assert top.foo == "BAZ"
    assert top.bar.__class__ is Group
    assert (top.bar.boo, top.bar["foo"], top.bar.baz.foo) == ("bar", "qux", "deep")
    assert (top.bar.tree, top.tree, top["tree"]) == (None, None, None)


def test_a_group_is_a_mapping(alone: Settings) -> None:
    group = alone.group("bar")
    assert isinstance(group, Mapping)
    assert (list(group), len(group)) == (["baz", "boo", "foo"], 3)
    assert ("foo" in group, "tree" in group, "deep" in group) == (True, False, False)
    assert group.get("foo") == "qux"
    assert dict(group.items())["boo"] == "bar"
    assert {**group}["foo"] == "qux"
    assert alone.group()["items"]["values"] == 1  # type: ignore[index]


def test_a_group_that_is_a_value_is_none_and_one_that_nothing_sets_is_empty(
    alone: Settings,
) -> None:
    assert alone.group("foo") is None
    empty = alone.group("nothing")
    assert empty is not None
    assert (len(empty), empty.x) == (0, None)


def test_a_group_follows_the_configuration(alone: Settings) -> None:
    group = alone.group("bar")
    assert group is not None
    baz = group.baz
    alone.set("bar.new", 1)
    alone.set("bar.baz.foo", 2)
    assert (group.new, baz.foo) == (1, 2)


def test_declared_settings_are_in_their_group_with_their_defaults(config: Settings) -> None:
    class Db:
        host = Setting("db.host", default="localhost")
        password = Setting("db.password", default="canary", secret=True)

    group = config.group("db")
    assert group is not None
    assert dict(group.items()) == {"host": "localhost", "password": "canary"}
    assert repr(group) == "Group[db: host='localhost', password=****]"
    config.load({"db": {"host": "a"}})
    assert config.group().db.host == "a"  # type: ignore[union-attr]
    del Db


def test_a_group_can_be_copied(alone: Settings) -> None:
    group = alone.group("bar")
    assert copy.copy(group).foo == "qux"  # type: ignore[union-attr]


def test_the_setting_that_names_the_service_is_in_no_group_until_it_is_set(
    config: Settings,
) -> None:
    assert "service" not in config.group()  # type: ignore[operator]
    config.set("service", "a.B")
    assert config.group().service == "a.B"  # type: ignore[union-attr]
