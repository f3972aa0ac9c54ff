"""What holds for now, over what held before it: time is the test's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.dialects import LIMIT, World, done
from tests.trees import Node, plant

from ginkgo.config import ConfigError, Setting, settings, temporary
from ginkgo.logs import levels
from ginkgo.process.for_now import ForNow
from ginkgo.testing import FakeClock

BY = "uid 0 (pid 12, ginkgoctl)"


class App:
    """Who declares what is set."""

    rate: int = Setting("for_now.rate", default=60)


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with FakeClock() as clock, settings.context():
        yield clock


class Steered:
    """A tree, and what is changed in it."""

    def __init__(self, world: World, clock: FakeClock) -> None:
        self.world = world
        self.clock = clock
        self.refused: set[object] = set()
        self.root: Node = plant(world, "a")
        self.for_now = ForNow(self.root, self.configure)
        logging.getLogger("for.now")  # so that there is one

    def configure(self, change: Callable[[], Any]) -> dict[str, Any]:
        before = change()
        if settings.get("for_now.rate") in self.refused:
            settings.restore(before)
            raise ConfigError("that is too fast")
        return {}

    def set(self, value: object, seconds: float | None = None) -> dict[str, Any]:
        return self.for_now.set("for_now.rate", value, seconds, BY)

    def level(self, level: str, seconds: float | None = None) -> dict[str, Any]:
        return self.for_now.log_level("for.now", level, seconds, BY)

    async def passes(self, seconds: float, backs: int) -> None:
        """Let time go by, in which so many changes are put back."""
        gate = self.world.gate()
        seen: list[Any] = []

        def look(event: Any) -> None:
            seen.extend([event] if event.kind == "put-back" else [])
            if len(seen) >= backs:
                gate.open()

        subscription = self.root.events.subscribe(look)
        self.clock.advance(seconds)
        if backs:
            assert await gate.passed(LIMIT), seen
        subscription.close()
        assert len(seen) == backs

    def after(self, told: dict[str, Any]) -> tuple[Any, Any]:
        """What an answer says of what comes after it; the same that is told of what holds."""
        after = told["back_to"], told["back_until"]
        assert after == (self.holds["back_to"], self.holds["back_until"])
        return after

    @property
    def holds(self) -> dict[str, Any]:
        """The one change that holds."""
        [one] = self.for_now.all()
        return one


@pytest.fixture
def app(world: World, clock: FakeClock) -> Steered:
    return Steered(world, clock)


async def test_after_its_time_comes_what_was_set_before_for_good(app: Steered) -> None:
    await done(app.root.start())
    assert app.after(app.set(1)) == (None, None)
    assert app.after(app.set("2", 1.0)) == (1, None)
    assert App.rate == 2
    await app.passes(0.9, 0)
    await app.passes(0.1, 1)
    assert App.rate == 1
    assert (app.holds["value"], app.holds["until"]) == (1, None)
    await app.passes(1000, 0)
    assert App.rate == 1
    await done(app.root.stop())


async def test_what_comes_back_has_the_rest_of_its_own_time(app: Steered) -> None:
    await done(app.root.start())
    first = app.set(1, 60)
    assert app.after(first) == (60, None)
    assert app.after(app.set(2, 10)) == (1, first["until"])
    await app.passes(10, 1)
    assert (App.rate, app.holds["until"]) == (1, first["until"])
    await app.passes(49, 0)
    assert App.rate == 1
    await app.passes(1, 1)
    assert (App.rate, app.for_now.all()) == (60, [])
    await done(app.root.stop())


async def test_what_would_end_below_something_longer_does_not_come_back(app: Steered) -> None:
    await done(app.root.start())
    app.set(1, 10)
    app.set(2, 60)
    await app.passes(59, 0)
    assert App.rate == 2
    await app.passes(1, 1)
    assert (App.rate, app.clock.waiting) == (60, 0)
    await done(app.root.stop())


async def test_one_without_a_time_replaces_all(app: Steered) -> None:
    await done(app.root.start())
    app.set(1, 60)
    app.set(2, 10)
    app.set(3)
    assert app.clock.waiting == 0
    assert (App.rate, app.holds["until"], app.holds["back_to"]) == (3, None, None)
    await done(app.root.stop())


async def test_of_several_whose_time_is_over_at_once_none_comes_back(app: Steered) -> None:
    await done(app.root.start())
    app.set(1, 60)
    app.set(2, 10)
    app.clock._move_to(app.clock.now() + 100)  # the loop was blocked for so long
    await app.passes(0, 1)
    assert (App.rate, app.for_now.all()) == (60, [])
    await done(app.root.stop())


async def test_what_is_not_good_any_more_is_passed_over(
    app: Steered, caplog: pytest.LogCaptureFixture
) -> None:
    await done(app.root.start())
    app.set(1, 60)
    app.set(2, 10)
    app.refused.add(1)
    await app.passes(10, 1)
    assert App.rate == 60
    assert "for_now.rate cannot be 1 again: that is too fast" in caplog.text
    await done(app.root.stop())


async def test_what_cannot_be_put_back_at_all_holds_and_is_told(app: Steered) -> None:
    await done(app.root.start())
    app.set(2, 10)
    app.refused.add(60)
    gate = app.world.gate()
    lines: list[str] = []

    def emit(record: logging.LogRecord) -> None:
        lines.append(record.getMessage())
        gate.open()

    handler = logging.Handler()
    handler.emit = emit  # type: ignore[method-assign]
    logging.getLogger("ginkgo.process.for_now").addHandler(handler)
    app.clock.advance(10)
    assert await gate.passed(LIMIT)
    logging.getLogger("ginkgo.process.for_now").removeHandler(handler)
    assert lines == [
        "for_now.rate: its time is over, and it could not be put back: that is too fast"
    ]
    await app.world.breathe()
    assert (App.rate, app.holds["value"], app.holds["until"]) == (2, 2, None)
    await done(app.root.stop())


async def test_status_tells_what_it_will_go_back_to(app: Steered) -> None:
    await done(app.root.start())
    app.set(1, 60)
    assert (app.holds["what"], app.holds["name"]) == ("set", "for_now.rate")
    assert (app.holds["value"], app.holds["back_to"], app.holds["back_until"]) == (1, 60, None)
    until = app.holds["until"]
    app.set(2, 10)
    assert (app.holds["value"], app.holds["back_to"], app.holds["back_until"]) == (2, 1, until)
    await app.passes(10, 1)
    settings.set("for_now.rate", 7, force=True)
    app.for_now.look_again()
    assert (app.holds["value"], app.holds["back_to"]) == (1, 7)
    app.for_now.close()
    temporary.take_back(settings, "for_now.rate")
    await done(app.root.stop())


async def test_levels_of_loggers_come_back_in_the_same_way(app: Steered) -> None:
    logger = logging.getLogger("for.now")
    logger.setLevel(logging.WARNING)
    await done(app.root.start())
    first = app.level("info", 60)
    app.level("debug", 10)
    assert (app.holds["value"], app.holds["back_to"]) == ("DEBUG", "INFO")
    await app.passes(10, 1)
    assert logger.level == logging.INFO
    assert (app.holds["until"], app.holds["back_to"]) == (first["until"], "WARNING")
    await app.passes(50, 1)
    assert logger.level == logging.WARNING
    app.level("error")
    app.level("debug", 5)
    levels.lift()
    logger.setLevel(logging.CRITICAL)  # what a reload configures
    levels.lay()
    assert logger.level == logging.DEBUG
    await app.passes(5, 1)
    assert logger.level == logging.ERROR
    app.for_now.close()
    assert logger.level == logging.CRITICAL
    logger.setLevel(logging.NOTSET)
    await done(app.root.stop())


async def test_each_is_an_event_that_says_what_changed_and_by_whom(app: Steered) -> None:
    await done(app.root.start())
    app.set(1)
    app.set(2, 10)
    app.level("debug", 10)
    await app.passes(10, 2)
    told = [event for event in app.root.events if event.kind not in ("state",)]
    assert [event.text for event in told[:3]] == [
        f"set: for_now.rate is 1, it was 60; by {BY}",
        f"set: for_now.rate is 2 for 10 s, it was 1; by {BY}",
        f"log-level: for.now is DEBUG for 10 s, it was {told[2].details['old']}; by {BY}",
    ]
    assert sorted(event.text.partition(",")[0] for event in told[3:]) == sorted(
        [
            "put-back: for_now.rate is 1 again",
            f"put-back: for.now is {told[2].details['old']} again",
        ]
    )
    assert told[0].details == {
        "outcome": "done",
        "name": "for_now.rate",
        "old": 60,
        "value": 1,
        "until": None,
        "by": BY,
    }
    app.for_now.close()
    await done(app.root.stop())
