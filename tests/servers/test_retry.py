from __future__ import annotations

import random
from itertools import islice

from ginkgo.servers.retry import Retry


def waits(policy: Retry, chance: float, count: int) -> list[float]:
    return list(islice(policy.waits(lambda: chance), count))


def test_the_bound_doubles_up_to_the_limit():
    policy = Retry(first=1.0, limit=10.0)
    assert waits(policy, 1.0, 6) == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_the_wait_is_any_part_of_the_bound():
    policy = Retry(first=1.0, limit=10.0)
    assert waits(policy, 0.0, 3) == [0.0, 0.0, 0.0]
    assert waits(policy, 0.25, 3) == [0.25, 0.5, 1.0]


def test_it_goes_on_for_ever():
    assert waits(Retry(), 1.0, 5000)[-1] == 30.0


def test_a_thousand_clients_do_not_come_back_together():
    chance = random.Random(7)
    thirds = [next(islice(Retry(first=1.0).waits(chance.random), 2, None)) for _ in range(1000)]
    tenths = [sum(1 for wait in thirds if step <= wait / 0.4 < step + 1) for step in range(10)]
    assert min(tenths) > 50
