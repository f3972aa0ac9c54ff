"""What may be given to a command, and what is said of the rest."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from ginkgo import Command, GinkgoError
from ginkgo.process.command_launch import find_program, parse_argv, parse_signal, prepare
from ginkgo.process.command_ready import parse_ready, pauses
from ginkgo.servers.addresses import Address


@pytest.mark.parametrize("argv", ["redis-server --port 1", b"redis", Path("/bin/sh")])
def test_a_text_is_no_list(argv: object):
    with pytest.raises(GinkgoError, match="argv is a list") as raised:
        Command(argv)
    assert "no shell" in str(raised.value)
    assert '["sh", "-c", "..."]' in raised.value.hint
    assert raised.value.status == 78


@pytest.mark.parametrize("argv", [[], (), None, 7, {"a": 1}, ["sleep", 5], [""], ["a\0b"]])
def test_what_is_no_program_is_refused(argv: object):
    with pytest.raises(GinkgoError, match="argv") as raised:
        parse_argv(argv)
    assert raised.value.status == 78


def test_texts_and_paths_may_be_mixed():
    assert parse_argv(["cat", Path("/etc/hosts"), b"x"]) == ("cat", "/etc/hosts", "x")


@pytest.mark.parametrize("given", ["SIGTERM", "term", 15, signal.SIGTERM])
def test_signals_have_names_and_numbers(given: object):
    assert parse_signal(given, "stop_signal") == 15


@pytest.mark.parametrize("given", ["SIGNAL", "", 0, 99, None, True, "SIG_IGN"])
def test_what_is_no_signal_is_refused(given: object):
    with pytest.raises(GinkgoError, match=r"stop_signal = .* is not a signal"):
        parse_signal(given, "stop_signal")


def test_the_forms_of_ready():
    assert parse_ready("127.0.0.1:80") == Address("127.0.0.1", 80)
    assert parse_ready(("localhost", 80)) == Address("localhost", 80)
    assert parse_ready(80) == Address("", 80)
    assert parse_ready("unix:/run/a") == Address(path="/run/a")
    assert parse_ready("listening at: 80") == re.compile("listening at: 80")
    assert parse_ready("up") == re.compile("up")
    assert parse_ready(None) is None
    assert parse_ready(print) is print


@pytest.mark.parametrize("given", ["", b"up", 0, 99999, "[", "example.org:80", 1.5, object()])
def test_what_says_nothing_of_readiness_is_refused(given: object):
    with pytest.raises(GinkgoError) as raised:
        Command(["sleep"], ready=given)
    assert raised.value.status == 78
    assert raised.value.hint


def test_a_name_is_that_of_the_program():
    assert Command(["/usr/bin/sleep", "1"]).name == "sleep"
    assert Command(["sleep"], name="nap").name == "nap"


def test_the_policy_of_restarts_may_be_given():
    assert Command(["sleep"], restart="permanent").restart == "permanent"


def test_a_folder_has_to_be_there_and_absolute(tmp_path: Path):
    with pytest.raises(GinkgoError, match="not an absolute path"):
        prepare(["sh"], cwd="tmp")
    with pytest.raises(GinkgoError, match="no such folder"):
        prepare(["sh"], cwd=tmp_path / "no")
    assert prepare(["sh"], cwd=tmp_path).cwd == str(tmp_path)


def test_a_program_is_looked_for_in_its_own_path(tmp_path: Path):
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(GinkgoError, match=f"no program 'mine' in PATH={tmp_path}"):
        find_program("mine", str(tmp_path), None)
    program.chmod(0o755)
    assert find_program("mine", str(tmp_path), None) == str(program)
    assert find_program("./mine", "", tmp_path) == f"{tmp_path}/./mine"
    assert prepare(["mine"], env={"PATH": str(tmp_path)}).executable == str(program)


def test_a_path_says_what_is_wrong_with_it(tmp_path: Path):
    with pytest.raises(GinkgoError, match="there is no program") as raised:
        find_program(str(tmp_path / "no"), "", None)
    assert raised.value.status == 66
    (tmp_path / "file").touch()
    with pytest.raises(GinkgoError, match="may not be executed") as raised:
        find_program(str(tmp_path / "file"), "", None)
    assert raised.value.status == 77


def test_the_mark_is_in_the_environment_and_another_one_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GINKGO_COMMAND_ID", "that of whoever started us")
    assert prepare(["sh"]).environment("mine.1.")["GINKGO_COMMAND_ID"] == "mine.1."


def test_pauses_grow_and_are_never_long():
    waits = pauses()
    taken = [next(waits) for _ in range(20)]
    assert taken == sorted(taken)
    assert taken[0] <= 0.01
    assert taken[-1] == 0.5
