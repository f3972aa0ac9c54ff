from __future__ import annotations

import os
import pickle
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from ginkgo.config import (
    Config,
    ConfigError,
    ConfigProblems,
    Problem,
    Setting,
    Settings,
    settings,
)
from ginkgo.core.errors import TemporaryFailure, UsageError

ORIGINAL = {
    "foo": "bar",
    "bar.foo": "qux",
    "bar.boo": "bar",
    "bar.baz.foo": "bar",
    "bar.baz.bar": "bar",
}


class Rated:
    """What most tests here configure."""

    rate: int = Setting("t.rate", default=60)


def test_a_configuration_of_0_6_behaves_as_it_did() -> None:
    config = Config()
    config.load(ORIGINAL)

    class Service:
        foo = config.setting("foo", help="This is foo.", monitored=True)

    service = Service()
    assert service.foo == "bar"
    assert [service.foo.changed, service.foo.changed] == [False, False]
    config.set("foo", "BAZ")
    assert [service.foo.changed, service.foo.changed] == [True, False]
    assert Service.foo == "BAZ"
    service.foo = "qux"
    assert (Service.foo, service.foo) == ("BAZ", "qux")


def test_get_returns_the_value_else_the_default_asked_for_else_the_declared_one() -> None:
    config = Settings({"set": 1})
    assert (config.get("set"), config.get("set", 2)) == (1, 1)
    assert (config.get("unset"), config.get("unset", 2)) == (None, 2)
    assert (config.get("t.rate"), config.get("t.rate", 2)) == (60, 2)


@pytest.mark.parametrize("spelling", ["db.host", "DB.Host", ".db.host"])
def test_case_and_a_leading_dot_do_not_matter(spelling: str) -> None:
    config = Settings({"Db.Host": "a"})
    assert config.get(spelling) == "a"
    config.set(spelling, "b")
    assert config.get("db.host") == "b"


@pytest.mark.fault("O10")
def test_configurations_share_nothing() -> None:
    one, other = Config(), Config()
    one.load({"foo": 1})
    one.set("bar", 2, force=True)
    one.setting("baz", default=3)
    assert (other.get("foo"), other.get("bar"), other.get("baz")) == (None, None, None)
    assert other.load({"bar": 5})["bar"] == 5


def test_each_layer_wins_over_those_below_it(write: Any) -> None:
    environ: dict[str, str] = {}
    with Settings(environ=environ) as config:
        seen = [(Rated.rate, config.origin("t.rate"))]
        path = write("class t:\n    rate = 1\n")
        config.load_file(path)
        seen.append((Rated.rate, config.origin("t.rate")))
        config.set("t.rate", 2)
        seen.append((Rated.rate, config.origin("t.rate")))
        environ["GINKGO_T__RATE"] = "3"
        config.load({})
        seen.append((Rated.rate, config.origin("t.rate")))
        config.load_options(["t.rate=4"])
        seen.append((Rated.rate, config.origin("t.rate")))
        config.set("t.rate", 5, force=True)
        seen.append((Rated.rate, config.origin("t.rate")))
        config.load_file(path)
        config.set("t.rate", 6)
        seen.append((Rated.rate, config.origin("t.rate")))
    assert seen == [
        (60, "default"),
        (1, f"{path}:2"),
        (2, "set()"),
        (3, "environment GINKGO_T__RATE"),
        (4, "--set"),
        (5, "set()"),
        (5, "set()"),
    ]


def test_a_plain_set_holds_until_a_file_that_sets_the_same_is_loaded(write: Any) -> None:
    config = Settings()
    config.load_file(write("a = 1\nb = 1\n"))
    config.set("a", 2)
    config.set("c", 2)
    config.load({"b": 3})
    assert (config.get("a"), config.get("b"), config.get("c")) == (2, 3, 2)
    config.reload_file()
    assert (config.get("a"), config.get("b"), config.get("c")) == (1, 3, 2)


def test_of_two_files_the_later_wins(write: Any) -> None:
    config = Settings()
    one, other = write("a = 1\nb = 1\n", "one.py"), write("b = 2\n", "other.py")
    config.load_file(one)
    config.load_file(other)
    assert (config.get("a"), config.get("b")) == (1, 2)
    config.reload()
    assert config.origin("b") == f"{other}:1"
    config.load_file(one)
    assert config.get("b") == 1


def test_what_is_loaded_again_and_again_does_not_pile_up() -> None:
    config = Settings()
    for number in range(100):
        config.load({"a": number, f"b{number % 3}": number})
    assert len(config.snapshot.layers.sources) == 1
    assert (config.get("a"), config.get("b0")) == (99, 99)


def test_a_module_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf_of_test").mkdir()
    (tmp_path / "conf_of_test" / "__init__.py").touch()
    module = tmp_path / "conf_of_test" / "prod.py"
    module.write_text("from . import __name__ as _above\nabove = _above\nrate = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = Settings()
    assert config.load_module("conf_of_test.prod") == {"above": "conf_of_test", "rate": 1}
    assert config.origin("rate") == f"{module}:3"
    module.write_text("rate = 22\n")
    assert config.reload_file() == {"rate": 22}
    sys.modules.pop("conf_of_test", None)


def test_a_module_that_does_not_exist_is_told_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^module no\.such: there is no such Python module$"):
        Settings().load_module("no.such")


@pytest.mark.fault("O11")
@pytest.mark.fault(115)
def test_a_line_that_is_deleted_gives_back_the_default_at_reload(
    config: Settings, write: Any
) -> None:
    config.load_file(write("class t:\n    rate = 1\nfoo = 1\n"))
    assert (Rated.rate, config.get("foo")) == (1, 1)
    write("")
    with pytest.raises(ConfigError, match="it is empty; is it being written"):
        config.reload_file()
    write("# nothing\n")
    assert config.reload_file() == {}
    assert (Rated.rate, config.get("foo")) == (60, None)


BROKEN = {
    "a syntax error": "class t:\n    rate = = 5\n",
    "a wrong type": "class t:\n    rate = 'fast'\nfoo = 2\n",
    "an exception": "class t:\n    rate = 5\nfoo = 1 / 0\n",
    "an exit": "class t:\n    rate = 5\nraise SystemExit\n",
    "nothing": "",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_reload_that_fails_in_any_way_changes_nothing(
    config: Settings, write: Any, broken: str
) -> None:
    path = write("class t:\n    rate = 1\nfoo = 1\n")
    config.load_file(path)
    before, value = config.snapshot, Rated.rate
    write(broken)
    with pytest.raises(ConfigProblems) as caught:
        config.reload()
    assert caught.value.problems[0].origin.startswith(path)
    assert "Nothing was changed" in (caught.value.hint or "")
    assert config.snapshot is before
    assert (Rated.rate, config.get("foo"), value) == (1, 1, 1)
    write("class t:\n    rate = 2\n")
    config.reload()
    assert Rated.rate == 2


def test_a_file_that_is_gone_at_reload_changes_nothing(config: Settings, write: Any) -> None:
    path = write("foo = 1")
    config.load_file(path)
    os.unlink(path)
    with pytest.raises(ConfigError, match="there is no such file"):
        config.reload()
    assert config.get("foo") == 1


def test_a_file_that_declares_settings_itself_leaves_none_behind_when_it_fails(
    config: Settings, write: Any
) -> None:
    declares = "from ginkgo.config import Setting\nclass Own(object):\n"
    config.load_file(write(f"{declares}    x = Setting('own', default=1)\n"))
    assert config.get("own") == 1
    write(f"{declares}    x = Setting('own', default=2)\nraise ValueError\n")
    with pytest.raises(ConfigError):
        config.reload()
    assert config.get("own") == 1
    write(f"{declares}    x = Setting('own', default=3)\n")
    config.reload()
    assert config.get("own") == 3
    assert [each.default for each in config.declared() if each.path == "own"] == [3]


def test_a_reload_can_be_prepared_applied_and_taken_back(config: Settings, write: Any) -> None:
    config.load_file(write("class t:\n    rate = 1\n"))
    write("class t:\n    rate = 2\n")
    prepared = config.prepare()
    assert Rated.rate == 1
    before = config.apply(prepared)
    assert (Rated.rate, config.snapshot.number) == (2, prepared.number)
    assert prepared.number > before.number
    config.restore(before)
    assert (Rated.rate, config.snapshot) == (1, before)
    assert config.prepare().number > prepared.number


def test_what_is_set_between_prepare_and_apply_is_kept(config: Settings, write: Any) -> None:
    config.load_file(write("foo = 1\n"))
    write("foo = 2\n")
    prepared = config.prepare()
    config.set("t.rate", 5, force=True)
    config.set("bar", 6)
    config.apply(prepared)
    assert (config.get("foo"), Rated.rate, config.get("bar")) == (2, 5, 6)


def test_a_config_file_may_load_another_and_both_are_one_reload(
    config: Settings, write: Any
) -> None:
    base = write("shared = 1\nfoo = 1\n", "base.py")
    path = write(f"from ginkgo import settings\nsettings.load_file({base!r})\nfoo = 2\n")
    config.load_file(path)
    assert (config.get("shared"), config.get("foo")) == (1, 2)
    write("shared = 3\nfoo = 3\n", "base.py")
    write(f"from ginkgo import settings\nsettings.load_file({base!r})\nfoo = 4\nx = 1/0\n")
    with pytest.raises(ConfigError, match="division by zero"):
        config.reload()
    assert (config.get("shared"), config.get("foo")) == (1, 2)
    write(f"from ginkgo import settings\nsettings.load_file({base!r})\nfoo = 4\n")
    config.reload()
    assert (config.get("shared"), config.get("foo")) == (3, 4)


def test_a_reload_within_a_reload_is_refused(config: Settings, write: Any) -> None:
    path = write(
        "from ginkgo import settings\n_again = settings.get('again')\n_again and _again()\n"
    )
    config.load_file(path)
    config.set("again", config.reload)
    with pytest.raises(ConfigError, match="another reload is under way") as caught:
        config.reload()
    assert isinstance(caught.value.__cause__, TemporaryFailure)


def test_a_wrong_value_is_refused_where_it_is_given(config: Settings) -> None:
    for give in (
        lambda: config.set("t.rate", "fast"),
        lambda: config.set("t.rate", "fast", force=True),
        lambda: config.set("t.rate", "fast", parse=True),
        lambda: config.load({"t.rate": "fast", "foo": 1}),
    ):
        with pytest.raises(ConfigError, match="must be a whole number"):
            give()
    assert (Rated.rate, config.get("foo")) == (60, None)


def test_text_can_be_set_as_the_type_says(config: Settings) -> None:
    config.set("t.rate", "0x10", parse=True)
    assert Rated.rate == 16


def test_load_can_leave_checking_for_later_when_all_is_declared(
    config: Settings, write: Any
) -> None:
    path = write("class t:\n    rate = 'fast'\nfoo = 1\n")
    assert config.load_file(path, check=False) == {"foo": 1}
    with pytest.raises(ConfigProblems) as caught:
        config.check()
    assert [(p.setting, p.origin) for p in caught.value.problems] == [("t.rate", f"{path}:2")]


@pytest.mark.parametrize("option", ["rate", "=5", " =5", ""])
def test_an_option_needs_a_name_and_an_equals_sign(option: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings().load_options([option])
    assert str(caught.value) == f"--set needs NAME=VALUE, not {option!r}"


def test_options_are_text_until_somebody_declares_them(config: Settings) -> None:
    config.load_options(["late=5", "name=a=b", "empty="])
    assert (config.get("late"), config.get("name"), config.get("empty")) == ("5", "a=b", "")

    class Late:
        late = Setting("late", default=1)

    assert Late.late == 5


def test_the_environment_is_asked_only_for_what_is_declared() -> None:
    environ = {"GINKGO_T__RATE": "5", "GINKGO_FOO": "6", "PATH": "/bin", "GINKGO_SERVICE": "a.B"}
    with Settings(environ=environ) as config:
        assert (Rated.rate, config.get("foo"), config.get("path")) == (5, None, None)
        assert config.get("service") == "a.B"


def test_a_tests_configuration_does_not_depend_on_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GINKGO_T__RATE", "5")
    with settings.context():
        assert Rated.rate == 60
    with settings.context(environ=os.environ):
        assert Rated.rate == 5


@pytest.mark.fault(116)
def test_a_setting_that_needs_a_restart_keeps_its_value_and_is_reported(
    config: Settings, write: Any
) -> None:
    class Server:
        port = Setting("port", default=7000, restart_required=True)
        name = Setting("name", default="a")

    path = write("port = 7001\n")
    config.load_file(path)
    write("port = 7002\nname = 'b'\n")
    report = config.reload()
    assert (Server.port, Server.name) == (7001, "b")
    assert [(c.path, c.old, c.new, c.origin) for c in report.needs_restart] == [
        ("port", 7001, 7002, f"{path}:1")
    ]
    assert [c.path for c in report.changed] == ["name"]
    again = config.reload()
    assert (again.changed, len(again.needs_restart)) == ((), 1)
    config.set("name", "c")
    assert Server.port == 7001
    write("port = 7001\n")
    assert config.reload().needs_restart == ()


def test_two_declarations_that_agree_are_one_setting(config: Settings) -> None:
    class One:
        rate = Setting("rate", default=60)

    class Other:
        speed: int = Setting("rate", default=60, help="again")

    config.set("rate", 5)
    assert (One.rate, Other.speed) == (5, 5)
    assert config.check() == ()


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ({"default": 60}, {"default": 30}, ("the default 60", "the default 30")),
        ({"type": int}, {"type": str}, ("the type int | None", "the type str | None")),
        ({"choices": (1, 2)}, {"choices": (1,)}, ("the choices (1, 2)", "the choices (1,)")),
        (
            {"default": 1, "secret": True},
            {"default": 2},
            ("the default ****", "the default ****"),
        ),
    ],
)
def test_declarations_that_contradict_each_other_are_told_with_both_places(
    config: Settings, one: Any, other: Any, difference: tuple[str, str]
) -> None:
    class One:
        rate = Setting("rate", **one)

    class Other:
        rate = Setting("rate", **other)

    with pytest.raises(ConfigProblems) as caught:
        config.check()
    here, there = vars(One)["rate"].place, vars(Other)["rate"].place
    assert here.startswith(f"{__file__}:")
    assert str(caught.value) == (
        "rate is declared twice, and not alike: "
        f"{here} has {difference[0]}, {there} has {difference[1]}"
    )


def test_settings_stand_for_the_configuration_in_force() -> None:
    assert isinstance(settings, Settings)
    with Settings({"foo": 1}) as config, settings.context({"foo": 2}) as inner:
        assert settings.get("foo") == 2
        assert repr(settings) == repr(inner)
        settings.deadline = 3.0
        assert (inner.deadline, config.deadline) == (3.0, 10.0)
    assert settings.get("foo") is None


def test_blocks_may_end_in_any_order() -> None:
    one, other = Settings({"foo": 1}), Settings({"foo": 2})
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert settings.get("foo") == 2
    other.__exit__(None, None, None)
    assert settings.get("foo") is None


def test_a_wrong_file_raises_what_it_raised_in_0_6(write: Any) -> None:
    with pytest.raises(RuntimeError):
        Config().load_file(write("x = 1/0"))


def test_a_representation_names_the_files_and_no_value(write: Any) -> None:
    config = Settings()
    path = write("foo = 'canary'")
    config.load_file(path)
    assert repr(config) == f"<Settings 1 from {path}>"
    assert repr(config.snapshot) == "<Snapshot 1>"
    assert "canary" not in repr(Setting("foo", default="canary"))


def test_a_dict_is_a_value_and_where_settings_are_declared_below_it_a_group(
    config: Settings, write: Any
) -> None:
    class Db:
        host = Setting("db.host", default="x")
        port = Setting("db.pool.size", default=1)

    path = write(
        """
        plain = {"host": "h"}

        db = {
            "Host": "a",
            "pool": {"size": 5},
        }
        """
    )
    config.load_file(path)
    assert config.get("plain") == {"host": "h"}
    assert config.get("plain.host") is None
    assert (Db.host, Db.port) == ("a", 5)
    assert config.origin("db.host") == f"{path}:3"
    write("db = {'host': 5}")
    with pytest.raises(ConfigError, match=r"db\.host must be text"):
        config.reload()
    with pytest.raises(ConfigError, match=r"db\.host must be text"):
        config.set("db", {"host": 5})
    config.set("db", {"host": "b"})
    assert (Db.host, Db.port) == ("b", 5)
    config.set("db", {"host": "c"}, force=True)
    assert Db.host == "c"


def test_the_settings_of_a_process_are_there_from_the_start(shop_python: Any) -> None:
    out = shop_python(
        """
        import os
        os.environ["GINKGO_RATE"] = "5"
        from ginkgo import Setting, settings

        class Hello:
            rate = Setting("rate", default=60)

        print(Hello.rate, settings.origin("rate"))
        """
    )
    assert out == "5 environment GINKGO_RATE\n"


@pytest.fixture
def shop_python() -> Any:
    import subprocess

    def run(code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    return run


def test_what_several_threads_set_at_once_is_all_set() -> None:
    config = Settings()

    def set_all(name: str) -> None:
        for number in range(200):
            config.set(f"{name}.{number}", number, force=number % 2 == 0)

    threads = [threading.Thread(target=set_all, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(config.get(f"{name}.{number}") == number for name in "abcd" for number in range(200))


def test_an_error_can_be_sent_to_another_process() -> None:
    error = ConfigProblems([Problem("rate", "rate is wrong", "a.py:1")], hint="Mend it.")
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.problems, copied.hint) == (
        "a.py:1: rate is wrong",
        error.problems,
        "Mend it.",
    )
