"""What the journal reads: each line begins with its priority, and nobody else sees that."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from ginkgo.logs import setup
from ginkgo.logs.handler import with_priority


class Stream:
    """A text stream on a descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd

    def write(self, text: str) -> int:
        return os.write(self.fd, text.encode())


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    setup.unconfigure()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.CRITICAL, "<2>"),
        (logging.ERROR, "<3>"),
        (logging.WARNING, "<4>"),
        (logging.INFO + 5, "<6>"),
        (logging.DEBUG, "<7>"),
        (0, "<7>"),
    ],
)
def test_every_line_of_a_record_has_the_priority_of_its_level(level: int, prefix: str) -> None:
    assert with_priority("a\nb", level) == f"{prefix}a\n{prefix}b"


@pytest.mark.parametrize("logformat", ["text", "json"])
def test_the_journal_gets_priorities(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, logformat: str
) -> None:
    reader, writer = pipe
    found = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    setup.configure(None, None, "debug", daemon=False, stream=Stream(writer), logformat=logformat)
    logging.getLogger("app").warning("look")
    line = os.read(reader, 4096).decode()
    assert line.startswith("<4>{" if logformat == "json" else "<4>20")


@pytest.mark.parametrize("value", [None, "", "8:1", "nonsense", "8:1:2"])
def test_whoever_is_not_the_journal_gets_none(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    reader, writer = pipe
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    if value is not None:
        monkeypatch.setenv("JOURNAL_STREAM", value)
    setup.configure(None, None, "debug", daemon=False, stream=Stream(writer))
    logging.getLogger("app").warning("look")
    assert os.read(reader, 4096).startswith(b"20")
