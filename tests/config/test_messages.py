"""Every message about a wrong configuration, word for word: all at once, with place and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from tests.config.conftest import alone

from ginkgo.config import ConfigProblems, Setting, Settings

FILE = """
class db:
    host = 5
    password = ["canary"]
    pool = 0

rate_per_minute = "fast"
loglevel = "debgu"
ports = [1, "x"]
rundir = 7
"""


@pytest.mark.fault(113)
def test_everything_that_is_wrong_is_told_at_once(write: Any, tmp_path: Path) -> None:
    path = write(FILE)
    environ = {
        "GINKGO_DAEMON": "maybe",
        "GINKGO_UMASK": "022",
        "GINKGO_API_TOKEN": "canary",
        "GINKGO_API_TOKEN_FILE": "/no/such/file",
        "GINKGO_PIN_FILE": "/no/such/file",
    }
    with Settings(environ=environ) as config:
        alone(config)

        class Has:
            host = Setting("db.host", default="localhost")
            password = Setting("db.password", default="", secret=True)
            pool: Annotated[int, msgspec.Meta(ge=1, le=9)] = Setting("db.pool", default=3)
            rate = Setting("rate_per_minute", default=60)
            level = Setting("loglevel", default="debug", choices=("debug", "info", "warning"))
            ports: list[int] = Setting("ports", default=[])
            rundir: Path | None = Setting("rundir")
            daemon = Setting("daemon", default=False)
            umask: int = Setting("umask")
            token = Setting("api_token", secret=True)
            pin = Setting("pin", default=1, secret=True)
            user = Setting("user", default="nobody")
            workers = Setting("workers", default=1)
            wrong: int = Setting("wrong", default="one")

        config.load_file(path, check=False)
        config.load_options(["workers=two", "usr=x"])
        config.set("kept", 1)
        with pytest.raises(ConfigProblems) as caught:
            config.check()
    place = vars(Has)["wrong"].place
    assert str(caught.value) == (
        "14 things are wrong in the configuration:\n"
        "  environment GINKGO_API_TOKEN_FILE: "
        "GINKGO_API_TOKEN is set as well; keep one of the two\n"
        "  environment GINKGO_DAEMON: daemon must be true or false, not 'maybe'\n"
        f"  {path}:2: db.host must be text (str), not 5 (int)\n"
        f"  {path}:3: db.password must be text (str), not **** (list)\n"
        f"  {path}:4: db.pool must be int >= 1, not 0 (int)\n"
        f"  {path}:7: loglevel must be one of debug, info, warning, not 'debgu'; "
        "did you mean debug?\n"
        "  environment GINKGO_PIN_FILE (/no/such/file): "
        "pin cannot be read: No such file or directory\n"
        f"  {path}:8: ports[1] must be int, not str\n"
        f"  {path}:6: rate_per_minute must be a whole number (int), not 'fast' (str)\n"
        f"  {path}:9: rundir must be a path or None, not 7 (int)\n"
        "  environment GINKGO_UMASK: umask must be a whole number, not '022'; "
        "octal is written 0o22\n"
        "  --set: workers must be a whole number, not 'two'\n"
        f"  {place}: the default of wrong must be a whole number (int), not 'one' (str)\n"
        "  --set: usr is no setting; did you mean user?"
    )
    assert caught.value.status == 78
    assert [problem.setting for problem in caught.value.problems][:3] == [
        "api_token",
        "daemon",
        "db.host",
    ]


def test_one_problem_is_one_sentence(config: Settings, write: Any) -> None:
    class Has:
        rate = Setting("rate", default=60)

    path = write("rate = 'fast'")
    with pytest.raises(ConfigProblems) as caught:
        config.load_file(path)
    assert str(caught.value) == f"{path}:1: rate must be a whole number (int), not 'fast' (str)"
    assert caught.value.problems == (
        ("rate", "rate must be a whole number (int), not 'fast' (str)", f"{path}:1"),
    )
    del Has


class Loud:
    def __repr__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a" * 500, f"'{'a' * 116}..."),
        ("\x1b[31mred\n", "'\\x1b[31mred\\n'"),
        (Loud(), "<Loud, whose repr raised ValueError>"),
    ],
)
def test_values_are_shown_on_one_line_and_never_break_the_message(
    config: Settings, value: object, shown: str
) -> None:
    class Has:
        rate = Setting("rate", default=60)

    with pytest.raises(ConfigProblems) as caught:
        config.set("rate", value)
    assert str(caught.value) == (
        f"set(): rate must be a whole number (int), not {shown} ({type(value).__name__})"
    )
    del Has
