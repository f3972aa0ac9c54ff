from __future__ import annotations

from ginkgo.core.repeats import Repeats


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_is_said_and_the_next_ones_are_counted() -> None:
    clock = Clock()
    repeats = Repeats(10, clock)
    assert repeats.due() == 0
    clock.now += 5
    assert [repeats.due() for _ in range(3)] == [None, None, None]
    clock.now += 5
    assert repeats.due() == 3
    clock.now += 10
    assert repeats.due() == 0


def test_different_troubles_do_not_hide_each_other() -> None:
    repeats = Repeats(10, Clock())
    assert repeats.due("EMFILE") == 0
    assert repeats.due("ENOMEM") == 0
    assert repeats.due("EMFILE") is None


def test_a_trouble_that_is_over_is_news_when_it_comes_again() -> None:
    repeats = Repeats(10, Clock())
    repeats.due()
    repeats.due()
    assert repeats.over() == 1
    assert repeats.over() == 0
    assert repeats.due() == 0


def test_keys_from_outside_do_not_pile_up() -> None:
    repeats = Repeats(10, Clock())
    for number in range(100_000):
        repeats.due(number)
    assert len(repeats._seen) <= 1024
    assert repeats.due(99_999) is None
