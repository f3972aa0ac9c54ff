"""Log records are counted by their level."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from ginkgo.logs.beside import Beside
from ginkgo.logs.records import LEVELS, Records


@pytest.fixture
def records() -> Iterator[Records]:
    counter = Records()
    logging.root.addHandler(counter)
    yield counter
    logging.root.removeHandler(counter)


@pytest.fixture
def log(records: Records) -> Iterator[logging.Logger]:
    logger = logging.getLogger("tests.records")
    logger.setLevel(1)
    yield logger
    logger.setLevel(logging.NOTSET)


def test_each_record_counts_for_its_level(records: Records, log: logging.Logger):
    for level in (logging.INFO, logging.ERROR, logging.ERROR, logging.CRITICAL):
        log.log(level, "of the test")
    assert records.by_level() == {"debug": 0, "info": 1, "warning": 0, "error": 2, "critical": 1}


def test_a_level_of_ones_own_counts_as_the_one_below_it(records: Records, log: logging.Logger):
    log.log(5, "trace")
    log.log(logging.WARNING + 5, "notable")
    log.log(99, "beyond")
    assert records.by_level() == dict(zip(LEVELS, (1, 0, 1, 0, 1), strict=True))


def test_no_record_is_lost_between_threads(records: Records, log: logging.Logger):
    def many() -> None:
        for _ in range(500):
            log.info("of the test")

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert records.by_level()["info"] == 2000


def test_what_is_logged_beside_a_blocked_loop_counts_without_waiting_for_it(
    records: Records, log: logging.Logger, capfd: pytest.CaptureFixture[str]
):
    log.propagate = False
    log.addHandler(records)
    posted: list[object] = []
    try:
        Beside(log, lambda *call: posted.append(call), "thread").log(logging.WARNING, "f.py", "Hm.")
    finally:
        log.removeHandler(records)
        log.propagate = True
    assert records.by_level()["warning"] == 1
    assert not posted
    assert "Hm." in capfd.readouterr().err
