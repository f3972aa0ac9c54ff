"""A setting that is set for now: one more layer, checked like the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ginkgo.config import ConfigError, Setting, Settings, settings, temporary
from ginkgo.config.hidden import secret_values


def declare() -> type:
    """Declare an application's settings in the configuration that is in force."""

    class App:
        rate: int = Setting("rate", default=60)
        name: str = Setting("name", default="x", choices=("x", "y"))
        seen: int = Setting("seen", default=1, monitored=True)
        port: int = Setting("port", default=1, restart_required=True)
        password: str | None = Setting("db.password", default=None, secret=True)
        ways: list[int] = Setting("ways", default=[1])

    return App


def test_it_is_above_all_others():
    with settings.context({"rate": 1}, environ={"GINKGO_RATE": "2"}) as now:
        App = declare()
        now.load_options(["rate=3"])
        now.set("rate", 4, force=True)
        temporary.put(now, "rate", "180")
        assert App.rate == 180
        assert now.origin("rate") == "ginkgoctl set"
        temporary.take_back(now, "rate")
        assert App.rate == 4


@pytest.mark.parametrize(("value", "is_now"), [("[1, 2]", [1, 2]), ([3], [3])])
def test_text_is_parsed_and_json_is_taken_as_it_is(value: object, is_now: object):
    with settings.context() as now:
        App = declare()
        temporary.put(now, "ways", value)
        assert App.ways == is_now


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("ratee", "1", "there is no setting ratee; did you mean rate?"),
        ("rate", "many", "rate must be a whole number"),
        ("rate", [1], "rate must be a whole number"),
        ("name", "z", "name must be one of x, y"),
        ("port", "2", "port takes effect only at a restart"),
        ("db.password", "canary", "db.password is secret"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(path: str, value: object, why: str):
    with settings.context() as now:
        App = declare()
        before = now.snapshot
        with pytest.raises(ConfigError) as refused:
            temporary.put(now, path, value)
        assert why in str(refused.value)
        assert "canary" not in str(refused.value)
        assert now.snapshot is before
        assert App.rate == 60


def test_who_monitors_a_setting_sees_it_come_and_go():
    with settings.context() as now:
        App = declare()
        app = App()
        assert not app.seen.changed
        temporary.put(now, "seen", "2")
        assert app.seen.changed
        assert not app.seen.changed
        temporary.take_back(now, "seen")
        assert app.seen.changed


def test_a_reader_of_an_older_snapshot_keeps_what_it_has():
    with settings.context() as now:
        App = declare()
        before = temporary.put(now, "rate", "2")
        assert (before.get("rate"), App.rate) == (60, 2)


def test_a_reload_leaves_it_and_what_the_file_says_comes_back_after_it(tmp_path: Path):
    file = tmp_path / "app.conf.py"
    file.write_text("rate = 1\n")
    with settings.context() as now:
        App = declare()
        now.load_file(str(file))
        temporary.put(now, "rate", "180")
        file.write_text("rate = 22\n")
        now.reload()
        assert App.rate == 180
        temporary.take_back(now, "rate")
        assert App.rate == 22
        assert now.origin("rate") == f"{file}:1"


def test_a_reload_refuses_what_it_covers(tmp_path: Path):
    file = tmp_path / "app.conf.py"
    file.write_text("rate = 1\n")
    with settings.context() as now:
        App = declare()
        now.load_file(str(file))
        temporary.put(now, "rate", "7")
        before = now.snapshot
        file.write_text("# it is\nrate = 'x'\n")
        with pytest.raises(ConfigError) as caught:
            now.reload()
        [problem] = caught.value.problems
        assert str(problem) == f"{file}:2: rate must be a whole number (int), not 'x' (str)"
        assert now.snapshot is before
        temporary.take_back(now, "rate")
        assert App.rate == 1


def test_a_reload_tells_what_it_covers(tmp_path: Path):
    file = tmp_path / "app.conf.py"
    file.write_text("rate = 1\n")
    with settings.context() as now:
        _kept = declare()
        now.load_file(str(file))
        temporary.put(now, "rate", "7")
        file.write_text("rate = 22\n")
        report = now.reload()
        assert (report.changed, str(report)) == (
            (),
            f"rate: 1 -> 22 ({file}:1), when its `ginkgoctl set` ends",
        )
        assert report.as_dict()["covered"] == [
            {"path": "rate", "old": "1", "new": "22", "origin": f"{file}:1"}
        ]
        assert now.reload().covered == ()


def test_it_may_come_and_go_while_a_reload_is_prepared(tmp_path: Path):
    file = tmp_path / "app.conf.py"
    file.write_text("rate = 1\n")
    with settings.context() as now:
        App = declare()
        now.load_file(str(file))
        temporary.put(now, "rate", "180")
        prepared = now.prepare()
        temporary.take_back(now, "rate")
        temporary.put(now, "name", "y")
        now.apply(prepared)
        assert (App.rate, App.name) == (1, "y")


@pytest.mark.fault(117)
@pytest.mark.fault(147)
def test_the_values_of_secrets_are_known_so_that_they_can_be_hidden():
    environ = {
        "GINKGO_DB__PASSWORD": "canary-setting",
        "AWS_SECRET_ACCESS_KEY": "canary-environment",
        "DB_PASSWORD_FILE": "/run/secrets/db",
        "HOME": "/home/somebody",
        "API_TOKEN": "short",
    }
    with settings.context(environ=environ) as now:
        App = declare()
        assert App.password == "canary-setting"
        found = secret_values(now.snapshot, environ)
    assert {"canary-setting", "canary-environment"} <= found
    assert not found & {"/run/secrets/db", "/home/somebody", "short"}


def test_a_setting_of_another_configuration_is_left_alone():
    with Settings() as one, Settings(), pytest.raises(ConfigError):
        temporary.put(one, "nobody.has.this", "1")


@pytest.mark.fault(117)
def test_a_secret_is_known_in_every_spelling_that_it_is_met_in():
    environ = {"KEY_PASSWORD": 'it\'s "so" & so\nand a second line'}
    found = secret_values(settings.snapshot, environ)
    assert "it%27s%20%22so%22%20%26%20so%0Aand%20a%20second%20line" in found
    assert "and a second line" in found
    assert 'it\'s \\"so\\" & so\\nand a second line' in found  # as JSON
    assert 'it\\\'s "so" & so\\nand a second line' in found  # as Python
