from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Any

import pytest
from tests.config.conftest import alone

from ginkgo.config import ConfigError, Setting, Settings
from ginkgo.config.names import environment_name, nearest, normalise, one_slip_apart

# 0.6's settings, the one that names the service, and some of an application's.
NAMES = [
    *("daemon", "group", "logconfig", "logfile", "loglevel", "pidfile", "rundir", "umask", "user"),
    *("service", "rate_per_minute", "db.host", "db.pool.size"),
]


def slips(name: str) -> Iterator[str]:
    """Every single slip of the fingers, with letters that a name may have."""
    letters = string.ascii_lowercase + "_"
    for at in range(len(name) + 1):
        head, tail = name[:at], name[at:]
        yield from (head + letter + tail for letter in letters)
        if tail:
            yield head + tail[1:]
            yield from (head + letter + tail[1:] for letter in letters)
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]


@pytest.mark.fault(114)
@pytest.mark.parametrize("name", NAMES)
def test_every_single_slip_in_a_name_is_recognised(name: str) -> None:
    for slip in set(slips(name)) - set(NAMES):
        meant = nearest(slip, NAMES)
        assert meant is not None, slip
        # Between two names a slip may be nearer to the other one.
        assert one_slip_apart(slip, meant), (slip, meant)


@pytest.mark.fault(114)
def test_every_slip_in_a_config_file_is_told_with_its_line(config: Settings, write: Any) -> None:
    class Has:
        rate = Setting("rate_per_minute", default=60)

    wrong = sorted(
        slip
        for slip in set(slips("rate_per_minute"))
        if slip.isidentifier() and not slip.startswith("_") and slip != "rate_per_minute"
    )
    path = write("".join(f"{slip} = 1\n" for slip in wrong))
    config.load_file(path)
    assert config.check() == tuple(
        f"{path}:{line}: {slip} is no setting; did you mean rate_per_minute? "
        "(If it is the file's own, start it with an underscore.)"
        for line, slip in enumerate(wrong, 1)
    )
    with pytest.raises(ConfigError) as caught:
        config.check(strict=True)
    assert len(caught.value.problems) == len(wrong)  # type: ignore[attr-defined]
    del Has


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("rate_per_min", "rate_per_minute"),
        ("ratePerMinute".lower(), "rate_per_minute"),
        ("db_host", "db.host"),
        ("databases", None),
        ("log", None),
        ("host", None),
        ("daemon", None),
        ("x", None),
        ("", None),
    ],
)
def test_names_that_are_much_alike_are_recognised_and_others_are_not(
    name: str, meant: str | None
) -> None:
    assert nearest(name, NAMES) == meant


def test_very_short_names_are_not_guessed_at() -> None:
    assert nearest("b", ["a", "ab"]) is None
    assert nearest("abd", ["abc"]) == "abc"


def test_names_have_one_spelling_and_one_environment_variable() -> None:
    assert normalise(".Db.Host") == "db.host"
    assert environment_name("rate_per_minute") == "GINKGO_RATE_PER_MINUTE"
    assert environment_name("db.pool-size") == "GINKGO_DB__POOL_SIZE"


def test_helpers_of_a_config_file_are_no_mistakes(config: Settings, write: Any) -> None:
    alone(config)

    class Has:
        rate = Setting("rate_per_minute", default=60)
        user = Setting("user", default="x")
        dump = Setting("dumpx", default="x")

    config.load_file(
        write(
            """
            import os
            from json import dumps
            from os import uname as users
            _users = ["a"]
            base = os.getcwd()

            def helper():
                return base

            rate_per_minute = 5
            """
        )
    )
    assert config.check(strict=True) == ()
    del Has


def test_a_misspelt_factory_is_told(config: Settings, write: Any) -> None:
    path = write("def sevice(): ...\n")
    config.load_file(path)
    assert config.check() == (
        f"{path}:1: sevice is no setting; did you mean service? "
        "(If it is the file's own, start it with an underscore.)",
    )


def test_names_in_groups_and_in_dicts_that_are_groups_are_looked_at(
    config: Settings, write: Any
) -> None:
    class Has:
        host = Setting("db.host", default="x")

    path = write("class db:\n    hots = 1\nclass bd:\n    host = 1\n")
    config.load_file(path)
    assert [told.partition(";")[0] for told in config.check()] == [
        f"{path}:2: db.hots is no setting",
        f"{path}:4: bd.host is no setting",
    ]
    path = write("db = {\n    'hots': 1,\n}\n")
    config.reload()
    assert [told.partition(";")[0] for told in config.check()] == [
        f"{path}:1: db.hots is no setting"
    ]
    del Has


def test_misspelt_environment_variables_are_told() -> None:
    with Settings(environ={"GINKGO_RATE_PER_MINUT": "1", "GINKGO_READY_FD": "3"}) as config:

        class Has:
            rate = Setting("rate_per_minute", default=60)

        assert config.check() == (
            "environment GINKGO_RATE_PER_MINUT: there is no such setting; "
            "did you mean GINKGO_RATE_PER_MINUTE?",
        )
        del Has


def test_a_near_miss_on_the_command_line_is_an_error_and_a_stranger_a_warning(
    config: Settings,
) -> None:
    class Has:
        rate = Setting("rate_per_minute", default=60)

    config.load_options(["foo=1"])
    assert config.check() == ("--set: foo is no setting",)
    config.load_options(["rate_per_minut=1"])
    with pytest.raises(ConfigError) as caught:
        config.check()
    assert str(caught.value) == (
        "--set: rate_per_minut is no setting; did you mean rate_per_minute?"
    )
    del Has
