"""The watchdog's judgement, without a process around it."""

from __future__ import annotations

import bdb
import logging
import sys
from types import FrameType

import pytest

from ginkgo.async_.pulse import Pulse
from ginkgo.async_.stacks import frames_of
from ginkgo.logs.beside import Beside
from ginkgo.process import watchdog
from ginkgo.process.watchdog import Moment


def later(moment: Moment, seconds: float, worked: float, waits: int) -> Moment:
    return Moment(moment.time + seconds, moment.worked + worked, moment.waits + waits)


START = Moment(100.0, 10.0, 1000)


@pytest.mark.fault(52)
@pytest.mark.parametrize(
    ("what", "after", "stopped"),
    [
        ("in time", later(START, 0.26, 0.26, 1), False),
        ("late on a busy machine", later(START, 0.45, 0.01, 1), False),
        ("stopped for a minute", later(START, 60.0, 0.0, 1), True),
        ("worked, then stopped for a second", later(START, 1.25, 0.25, 2), True),
        ("kept from the interpreter", later(START, 3.0, 3.0, 550), False),
        ("the same, and others need the processor too", later(START, 3.0, 0.2, 60), False),
    ],
)
def test_only_who_was_stopped_as_a_whole_has_an_excuse(
    what: str, after: Moment, stopped: bool
) -> None:
    assert watchdog.stood_still(START, after, 0.25) is stopped


def test_a_person_in_a_debugger_blocks_nothing() -> None:
    seen: list[bool] = []

    def look() -> None:
        frames: list[FrameType] = frames_of(sys._getframe())
        seen.append(watchdog._is_debugged(frames))

    look()
    bdb.Bdb().runcall(look)
    assert seen == [False, True]


def test_a_pulse_wakes_only_who_wants_to_be_woken() -> None:
    woken: list[int] = []
    pulse = Pulse("the loop", lambda: woken.append(1))
    for _ in range(3):
        pulse.works()
        pulse.rests()
    assert not woken
    assert pulse.rounds == 3
    pulse.alert = True
    pulse.works()
    pulse.rests()
    assert len(woken) == 1


class Kept(logging.Handler):
    """A handler of somebody else's, which takes a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_a_handler_with_a_lock_gets_the_line_in_the_loop_and_stderr_at_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logger = logging.getLogger("test.beside")
    logger.propagate = False
    handler = Kept()
    logger.addHandler(handler)
    posted: list[tuple] = []
    try:
        beside = Beside(logger, lambda *call: posted.append(call), "beside")
        beside.log(logging.WARNING, __file__, "50% blocked", "  File x")
        assert not handler.records
        assert "WARNING test_watchdog: 50% blocked\n      File x" in capfd.readouterr().err
        for function, *args in posted:
            function(*args)
        [record] = handler.records
        assert record.getMessage() == "50% blocked"
        assert record.threadName == "beside"
        assert record.module == "test_watchdog"
        beside.log(logging.DEBUG - 5, __file__, "not wanted")
        assert "not wanted" not in capfd.readouterr().err
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
