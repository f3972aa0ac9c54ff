"""Commands whose standard output is full, or whose standard streams are closed."""

from __future__ import annotations

from collections.abc import Callable
from shlex import join

import pytest
from tests.cli.conftest import Fake
from tests.workshop import Workshop

LINES = [
    ["ginkgoctl", "fake.App", "status"],
    ["ginkgoctl", "fake.App", "log"],
    ["ginkgoctl", "completion", "bash"],
    ["ginkgoctl", "-v"],
    ["ginkgo", "-v"],
    ["ginkgo", "check", "app.conf.py"],
    ["ginkgo", "app.conf.py", "-h"],
]


@pytest.fixture
def app(shop: Workshop, fake: Callable[..., Fake]) -> Workshop:
    fake("fake.App", FAKE_LOGFILE=str(shop.write("app.log", "line\n")))
    shop.write("app.py", "from ginkgo import Service\n\nclass App(Service): pass\n")
    shop.write("app.conf.py", 'service = "app.App"\n')
    return shop


@pytest.mark.parametrize("words", LINES, ids=join)
def test_what_cannot_be_printed_is_told_without_a_traceback(
    app: Workshop, words: list[str]
) -> None:
    run = app.run("sh", "-c", f"{join(words)} > /dev/full")
    assert (run.returncode, run.stderr.splitlines()) == (
        71,
        [
            f"{words[0]}: the standard output cannot be written: No space left on device",
            "make room there, or have it printed elsewhere",
        ],
    )


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", LINES, ids=join)
def test_a_closed_stream_is_as_good_as_none(app: Workshop, words: list[str], closed: str) -> None:
    run = app.run("sh", "-c", f"{join(words)} {closed}")
    assert (run.returncode, run.stderr) == (0, "")
    assert bool(run.stdout) == (">&-" not in closed.split())
