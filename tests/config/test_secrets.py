"""A secret is used, and never shown: a canary in every secret setting, and in no output."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ginkgo.config import ConfigProblems, Setting, Settings, format_settings

CANARY = "canary-7f3a"
pytestmark = pytest.mark.fault(117)


class Db:
    password: str = Setting("s.password", default=CANARY, secret=True, help="The password")
    pin: int = Setting("s.pin", secret=True, choices=(1, 2))
    seen = Setting("s.seen", default=CANARY, secret=True, monitored=True)


class Elsewhere:
    """The same setting, declared by somebody who does not say that it is secret."""

    password: str = Setting("s.password", default=CANARY)


def told_by(act: Callable[[], object]) -> str:
    """Everything that a failing call says, cause, traceback, hint and all."""
    with pytest.raises(ConfigProblems) as caught:
        act()
    error = caught.value
    chain = "".join(traceback.format_exception(error))
    return f"{error!s}{error!r}{error.hint}{error.problems!r}{error.args!r}{chain}"


def test_in_nothing_that_is_printed(config: Settings, write: Any) -> None:
    source = f"class s:\n    password = '{CANARY}'\n    seen = '{CANARY}'\n"
    config.load_file(write(source))
    old = config.snapshot
    write(source.replace(CANARY, f"{CANARY}2"))
    report = config.reload()
    assert [change.path for change in report.changed] == ["s.password", "s.seen"]
    config.load_options([f"s.password={CANARY}"])
    out = [
        repr(config),
        repr(config.snapshot),
        repr(config.group("s")),
        repr(config.group()),
        repr(config.declared()),
        format_settings(config),
        str(report),
        repr(report),
        repr(report.as_dict()),
        str(config.report(old)),
        repr(config.check()),
        repr(config.warnings),
        repr(vars(Db)),
        repr(Db().seen),
    ]
    del out[-2]  # the class itself holds the value that was read, as any object would
    assert CANARY not in "".join(out)
    assert Db.password == CANARY


def test_in_no_error_about_its_value(config: Settings, write: Any) -> None:
    told = told_by(lambda: config.set("s.pin", CANARY))
    told += told_by(lambda: config.set("s.pin", CANARY, parse=True))
    told += told_by(lambda: config.load({"s": {"pin": CANARY}}))
    told += told_by(lambda: config.load_file(write(f"class s:\n    pin = '{CANARY}'\n")))
    config.load_options([f"s.pin={CANARY}"])
    told += told_by(config.check)
    told += format_settings(config) + repr(config.declared())
    assert "****" in told
    assert CANARY not in told.replace(f"s.pin={CANARY}", "").replace(f'"s.pin", {CANARY}', "")


@pytest.mark.parametrize(
    "text",
    [
        f"class s:\n    password = '{CANARY}\n",
        f"s = dict(\n    password='{CANARY}' 5)\n",
        f"db_password = int('{CANARY}')\n",
        f"class s:\n    seen = int('{CANARY}')\n",
        f"class s:\n    seen = int(\n        '{CANARY}'\n    )\n",
        f"db = {{'host': 5, 'password': int('{CANARY}')}}\n",
        f"db = dict(a=1, password='{CANARY}' 5)\n",
    ],
)
def test_in_no_error_about_the_line_that_sets_it(config: Settings, write: Any, text: str) -> None:
    path = write(text)
    with pytest.raises(ConfigProblems) as caught:
        config.load_file(path)
    assert CANARY not in f"{caught.value}{caught.value.hint}{caught.value.problems!r}"
    assert str(caught.value).startswith(f"{path}:")


def test_a_missing_variable_is_told_even_where_a_secret_would_be(
    config: Settings, write: Any
) -> None:
    path = write("import os\napi_key = os.environ['NO_SUCH_KEY']\n")
    with pytest.raises(ConfigProblems) as caught:
        config.load_file(path)
    assert str(caught.value) == f"{path}:2: KeyError: 'NO_SUCH_KEY'"


def test_in_no_error_about_two_declarations(config: Settings) -> None:
    class One:
        key = Setting("s.key", default=f"{CANARY}1", secret=True)

    class Other:
        key = Setting("s.key", default=f"{CANARY}2")

    assert CANARY not in told_by(config.check)
    del One, Other


def test_a_secret_comes_from_a_file_that_the_environment_names(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    with Settings(environ={"GINKGO_S__PASSWORD_FILE": str(file)}) as config:
        assert Db.password == CANARY
        assert config.origin("s.password") == f"environment GINKGO_S__PASSWORD_FILE ({file})"
        file.write_text("new")
        config.load({})
        assert Db.password == "new"


def test_the_file_of_a_secret_may_be_gone_once_it_was_read(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(CANARY)
    with Settings(environ={"GINKGO_S__PASSWORD_FILE": str(file)}) as config:
        config.check()
        file.unlink()
        assert Db.password == CANARY
        config.set("s.pin", 1)
        config.load_options(["s.seen=x"])
        assert Db.password == CANARY
        with pytest.raises(ConfigProblems):
            config.reload()
        assert Db.password == CANARY


def test_a_secret_comes_from_the_credentials_that_systemd_gives(tmp_path: Path) -> None:
    (tmp_path / "s.password").write_text(f"{CANARY}\r\n")
    (tmp_path / "s.pin").write_text("2\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "GINKGO_S__PASSWORD": "other"}
    with Settings(environ=environ) as config:
        assert (Db.password, Db.pin) == (CANARY, 2)
        assert config.origin("s.pin") == f"credential {tmp_path / 's.pin'}"
        config.load_options(["s.password=last"])
        assert Db.password == "last"


def test_only_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("file")
    environ = {
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "GINKGO_OPEN_FILE": str(tmp_path / "open"),
    }
    with Settings(environ=environ):

        class Has:
            open = Setting("open", default="default")

        assert Has.open == "default"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "s.password cannot be read: No such file or directory"),
        (os.mkdir, "s.password cannot be read: Is a directory"),
        (os.mkfifo, "s.password is not a regular file"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "s.password is not UTF-8 text"),
        (lambda path: path.write_bytes(b"x" * 70_000), "s.password is larger than 64 KiB"),
    ],
)
def test_a_secrets_file_that_cannot_be_used_is_told(
    tmp_path: Path, make: Callable[[Path], object], told: str
) -> None:
    path = tmp_path / "password"
    make(path)
    with (
        Settings(environ={"GINKGO_S__PASSWORD_FILE": str(path)}) as config,
        pytest.raises(ConfigProblems) as caught,
    ):
        config.check()
    assert str(caught.value) == f"environment GINKGO_S__PASSWORD_FILE ({path}): {told}"


def test_a_secret_on_the_command_line_is_warned_of(config: Settings) -> None:
    config.load_options([f"s.password={CANARY}"])
    assert config.check() == (
        "--set: s.password is secret, and a command line can be read by every user; "
        "use the environment variable GINKGO_S__PASSWORD_FILE",
    )
