from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ginkgo.config import Monitored, Setting, Settings


class Hello:
    message = Setting("m.message", default="Hello", monitored=True)
    rate = Setting("m.rate", default=60, monitored=True)
    anything: Any = Setting("m.anything", monitored=True)


@pytest.fixture(autouse=True)
def _in_force(config: Settings) -> Iterator[None]:
    yield


def test_it_acts_like_the_value() -> None:
    hello = Hello()
    message, rate = hello.message, hello.rate
    assert isinstance(message, str)
    assert type(message) is Monitored
    assert (message == "Hello", message == "Hello", message != "x", message < "J") == (True,) * 4
    assert (message + "!", "Oh " + message, f"{message:>6}", "%s" % message) == (  # noqa: UP031
        "Hello!",
        "Oh Hello",
        " Hello",
        "Hello",
    )
    assert (message.upper(), message[1], message[-2:], len(message), "ell" in message) == (
        "HELLO",
        "e",
        "lo",
        5,
        True,
    )
    assert (str(message), repr(message), list(message)) == ("Hello", "'Hello'", list("Hello"))
    assert {"Hello": 1}[message] == 1
    assert (60.0 / rate, rate + 1, 1 - rate, rate // 7, -rate, abs(rate)) == (
        1,
        61,
        -59,
        8,
        -60,
        60,
    )
    assert (int(rate), float(rate), range(100)[rate], round(rate, -2)) == (60, 60.0, 60, 100)
    assert (divmod(rate, 7), rate**2, 2**rate, rate & 4, rate << 1) == ((8, 4), 3600, 2**60, 4, 120)
    assert (math.floor(rate), math.ceil(rate), math.trunc(rate)) == (60, 60, 60)
    assert (message.value, rate.value) == ("Hello", 60)
    assert type(message.value) is str


def test_an_empty_value_is_false(config: Settings) -> None:
    config.set("m.message", "")
    assert not Hello().message
    assert not Hello().anything


def test_a_container_or_object_can_be_changed_through_it(config: Settings, tmp_path: Path) -> None:
    config.set("m.anything", {"a": 1})
    it = Hello().anything
    it["b"] = 2
    del it["a"]
    assert it.value == {"b": 2}
    config.set("m.anything", tmp_path)
    assert os.path.join(Hello().anything, "x") == str(tmp_path / "x")
    config.set("m.anything", lambda *args: args)
    assert Hello().anything(1) == (1,)

    class Own:
        pass

    config.set("m.anything", Own())
    Hello().anything.x = 5
    assert Hello().anything.x == 5
    del Hello().anything.x
    assert not hasattr(Hello().anything, "x")


def test_changed_is_true_once_after_each_change(config: Settings) -> None:
    hello = Hello()
    assert hello.message.changed is False
    config.set("m.message", "a")
    assert (hello.message.changed, hello.message.changed) == (True, False)
    config.set("m.message", "a")
    assert hello.message.changed is False
    config.set("m.message", "b")
    assert hello.message.changed is True


def test_each_object_is_told_of_each_change(config: Settings) -> None:
    one, other = Hello(), Hello()
    seen = [one.rate.changed, other.rate.changed, Hello.rate.changed]
    config.set("m.rate", 5)
    seen += [one.rate.changed, other.rate.changed, Hello.rate.changed, one.rate.changed]
    assert seen == [False, False, False, True, True, True, False]


def test_what_was_read_before_a_change_keeps_its_value(config: Settings) -> None:
    hello = Hello()
    before = hello.rate
    config.set("m.rate", 5)
    assert (before, hello.rate) == (60, 5)


def test_objects_that_are_gone_leave_no_watch_behind() -> None:
    watches = vars(Hello)["rate"]._watches
    before = len(watches._each)
    for _ in range(100):
        assert Hello().rate.changed is False
    assert len(watches._each) == before


@pytest.mark.fault(117)
def test_a_secret_is_masked_where_it_is_represented(config: Settings) -> None:
    class Has:
        password = Setting("m.password", default="canary", monitored=True, secret=True)

    assert repr(Has().password) == "****"
    assert Has().password == "canary"
