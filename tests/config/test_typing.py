"""What a type checker knows of settings: `mypy --strict` passes on this file, and it runs."""

from __future__ import annotations

from typing import Annotated, Any, assert_type

import msgspec

from ginkgo.config import Monitored, Setting, Settings, settings


class Hello:
    annotated: int = Setting("typing.annotated", default=60)
    without_default: int = Setting("typing.without_default")
    optional: str | None = Setting("typing.optional", default=None)
    limited: Annotated[int, msgspec.Meta(ge=1)] = Setting("typing.limited", default=1)
    generic: Setting[float] = Setting("typing.generic", default=60)
    choice: str = Setting("typing.choice", "a", "help", choices=("a", "b"))
    many: str | int | None = Setting("typing.many", default=None, restart_required=True)
    inferred = Setting("typing.inferred", default=60)
    typed = Setting("typing.typed", type=int)
    anything = Setting("typing.anything")
    seen = Setting("typing.seen", default="x", monitored=True)


def test_a_checker_knows_the_types_on_the_instance_and_on_the_class(config: Settings) -> None:
    hello = Hello()
    assert_type(hello.annotated, int)
    assert_type(Hello.annotated, int)
    assert_type(hello.without_default, int)
    assert_type(hello.optional, str | None)
    assert_type(hello.limited, int)
    assert_type(hello.generic, float)
    assert_type(Hello.generic, float)
    assert_type(hello.choice, str)
    assert_type(hello.many, str | int | None)
    assert_type(hello.inferred, int)
    assert_type(Hello.inferred, int)
    assert_type(hello.typed, int | None)
    assert_type(hello.anything, Any)
    assert_type(hello.seen, Monitored[str])
    assert_type(hello.seen.value, str)
    assert_type(hello.seen.changed, bool)
    assert hello.seen + "y" == "xy"
    assert 60.0 / hello.annotated == 1.0


def test_a_checker_knows_the_configuration_of_a_block() -> None:
    assert_type(settings, Settings)
    with settings.context({"typing.annotated": 5}) as fresh:
        assert_type(fresh, Settings)
        assert Hello.annotated == fresh.get("typing.annotated") == 5
