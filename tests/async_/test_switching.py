"""How soon a thread that waits for the interpreter insists on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from ginkgo.async_.switching import SOON, SOONER, insist, relent


@pytest.fixture(autouse=True)
def usual() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def test_who_insists_most_counts_until_the_last_has_relented(usual: float) -> None:
    insist("one", SOON)
    assert sys.getswitchinterval() == pytest.approx(SOON)
    insist("other", SOONER)
    insist("one", SOON)
    assert sys.getswitchinterval() == pytest.approx(SOONER)
    relent("other")
    assert sys.getswitchinterval() == pytest.approx(SOON)
    relent("one")
    assert sys.getswitchinterval() == pytest.approx(usual)
    relent("one")
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_an_interval_that_is_set_meanwhile_stays(usual: float) -> None:
    insist("one", SOONER)
    sys.setswitchinterval(0.002)
    relent("one")
    assert sys.getswitchinterval() == pytest.approx(0.002)


def test_a_forked_child_has_the_usual_one(usual: float) -> None:
    insist("one", SOONER)
    child = os.fork()
    if child == 0:
        os._exit(abs(sys.getswitchinterval() - usual) > 1e-6)
    relent("one")
    assert os.waitpid(child, 0)[1] == 0


def test_a_shorter_one_is_left_alone() -> None:
    sys.setswitchinterval(SOONER / 5)
    insist("one", SOONER)
    assert sys.getswitchinterval() == pytest.approx(SOONER / 5)
    relent("one")
    assert sys.getswitchinterval() == pytest.approx(SOONER / 5)
