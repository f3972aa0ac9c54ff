"""How an instance is started again, and whose word is taken for it."""

import os
import sys
from pathlib import Path

import pytest

from ginkgo.control.starting import how_again, trusted, usual_command
from ginkgo.process.instances import Found, Record


def record(folder: Path, *argv: str) -> Record:
    return Record(
        name="app-1",
        pid=1,
        start_ticks=1,
        target="app.conf.py",
        cwd=str(folder),
        argv=argv,
        python="/opt/python",
        logfile=None,
        pidfile=None,
        control=None,
        started_at="2026-11-24T12:00:00Z",
    )


def test_a_record_says_how_it_was() -> None:
    again = how_again(record(Path("/"), "ginkgo", "-d", "--set", "a=1", "app.conf.py"), "x.py")
    command = ["/opt/python", "-P", "-m", "ginkgo", "-d", "--set", "a=1", "app.conf.py"]
    assert again == ("/", "app.conf.py", command)


def test_what_was_no_daemon_by_its_arguments_becomes_one() -> None:
    again = how_again(record(Path("/"), "ginkgo", "app.conf.py"), None)
    assert again is not None
    assert again[2][4:] == ["-d", "app.conf.py"]


def test_a_folder_that_is_gone_is_not_gone_to(tmp_path: Path) -> None:
    again = how_again(record(tmp_path / "gone", "ginkgo", "app.conf.py"), None)
    assert again is not None
    assert again[0] is None


def test_without_a_record_it_is_as_start_does() -> None:
    assert how_again(None, "app.conf.py") == (None, "app.conf.py", usual_command("app.conf.py"))
    assert how_again(None, None) is None


@pytest.mark.fault(150)
def test_a_daemon_does_not_import_from_the_current_folder_by_itself() -> None:
    assert usual_command("a.B") == [sys.executable, "-P", "-m", "ginkgo", "-d", "--", "a.B"]


def test_only_ones_own_record_is_believed() -> None:
    assert trusted(Found("running", owner=os.geteuid()))
    assert not trusted(Found("running", owner=os.geteuid() + 1))
