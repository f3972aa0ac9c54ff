from __future__ import annotations

from ginkgo.servers.seldom import Seldom


def test_it_is_told_once_in_its_time_and_then_with_how_often_it_was_kept_back():
    now = 100.0
    warnings = Seldom(10.0, lambda: now)
    assert warnings.due() == 0
    assert [warnings.due() for _ in range(3)] == [None] * 3
    now = 109.9
    assert warnings.due() is None
    now = 110.0
    assert warnings.due() == 4
    now = 200.0
    assert warnings.due() == 0
