"""The control thread's loop: what is not seen from outside."""

from __future__ import annotations

import sys

import pytest

from ginkgo.async_.switching import SOON
from ginkgo.control.loop import Loop


def test_whatever_it_does_it_gets_the_interpreter_soon_for() -> None:
    usual = sys.getswitchinterval()
    found: list[float] = []
    loop = Loop(pytest.fail)
    try:
        loop.post(lambda: found.append(sys.getswitchinterval()))
        loop.run(lambda: bool(found))
    finally:
        loop.close()
    assert found == [pytest.approx(SOON)]
    assert sys.getswitchinterval() == pytest.approx(usual)
