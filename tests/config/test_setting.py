from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any, ClassVar

import pytest

from ginkgo.config import ConfigError, Setting, Settings, settings


def test_an_instance_and_its_class_give_the_value_of_now(config: Settings) -> None:
    class Hello:
        rate: int = Setting("rate_per_minute", default=60)

    hello = Hello()
    assert (hello.rate, Hello.rate) == (60, 60)
    config.set("rate_per_minute", 180)
    assert (hello.rate, Hello.rate) == (180, 180)


def test_after_the_first_read_the_value_itself_stands_in_the_class(config: Settings) -> None:
    class Hello:
        rate = Setting("rate", default=60)

    declared = vars(Hello)["rate"]
    assert isinstance(declared, Setting)
    assert Hello().rate == 60
    assert vars(Hello)["rate"] == 60
    config.set("rate", 61)
    assert vars(Hello)["rate"] is declared
    assert Hello().rate == 61
    assert vars(Hello)["rate"] == 61


def test_a_change_of_another_setting_leaves_the_value_where_it_stands(config: Settings) -> None:
    class Hello:
        rate = Setting("rate", default=60)
        name = Setting("name", default="x")

    assert (Hello.rate, Hello.name) == (60, "x")
    config.set("name", "y")
    assert vars(Hello)["rate"] == 60
    assert Hello.name == "y"


def test_a_value_that_is_equal_but_not_the_same_kind_is_read_anew(config: Settings) -> None:
    class Hello:
        flag: Any = Setting("flag", default=1)

    assert Hello.flag is 1 or Hello.flag == 1  # noqa: F632 - read, so that it stands in the class
    config.set("flag", True)
    assert Hello.flag is True


def test_an_assignment_to_an_instance_overrides_the_setting_there(config: Settings) -> None:
    class Hello:
        rate = Setting("rate", default=60)

    one, other = Hello(), Hello()
    one.rate = 5
    config.set("rate", 7)
    assert (one.rate, other.rate, Hello.rate) == (5, 7, 7)
    del one.rate
    assert one.rate == 7


def test_what_is_patched_into_the_class_stays_and_goes(
    config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hello:
        rate = Setting("rate", default=60)

    hello = Hello()
    assert hello.rate == 60
    with monkeypatch.context() as patch:
        patch.setattr(Hello, "rate", 5)
        assert hello.rate == 5
        with settings.context({"rate": 8}):
            assert hello.rate == 5
    config.set("rate", 9)
    assert hello.rate == 9


def test_objects_without_dict_or_weak_references_have_settings_too(config: Settings) -> None:
    class Slim:
        __slots__ = ()
        rate = Setting("rate", default=60)
        seen = Setting("seen", default=1, monitored=True)

    slim = Slim()
    assert (slim.rate, slim.seen) == (60, 1)
    config.set("rate", 61)
    assert slim.rate == 61
    assert slim.seen.changed is False


def test_a_class_that_lets_nobody_write_to_it_is_looked_up_each_time(config: Settings) -> None:
    class Closed(type):
        def __setattr__(cls, name: str, value: object) -> None:
            raise TypeError("closed")

    class Shut(metaclass=Closed):
        rate = Setting("rate", default=60)

    assert Shut().rate == 60
    config.set("rate", 61)
    assert (Shut().rate, Shut.rate) == (61, 61)


def test_a_function_is_given_as_it_is_and_not_as_a_method(config: Settings) -> None:
    def hook(*args: object) -> tuple[object, ...]:
        return args

    class Hello:
        on_start: Any = Setting("on_start", default=None)

    config.set("on_start", hook)
    assert Hello().on_start is hook
    assert Hello().on_start(1) == (1,)


def test_a_setting_may_stand_under_another_name_in_a_subclass(config: Settings) -> None:
    class Parent:
        rate: Any = Setting("rate", default=60)

    class Child(Parent):
        rate = 5

        def inherited(self) -> object:
            return super().rate

    child = Child()
    assert (child.inherited(), child.rate, Parent.rate) == (60, 5, 60)
    config.set("rate", 61)
    assert (child.inherited(), child.rate) == (61, 5)


class Copied:
    rate = Setting("copied.rate", default=60)


def test_copies_of_an_object_carry_no_stale_value(config: Settings) -> None:
    one = Copied()
    assert one.rate == 60
    copies = [copy.copy(one), pickle.loads(pickle.dumps(one))]
    config.set("copied.rate", 61)
    assert [each.rate for each in copies] == [61, 61]


def test_a_setting_given_to_a_class_after_its_making_works(config: Settings) -> None:
    class Hello:
        rate: Any

    Hello.rate = Setting("rate", default=60)
    assert (Hello().rate, Hello.rate) == (60, 60)
    config.set("rate", 61)
    assert Hello().rate == 61


def test_settings_do_not_keep_their_classes_alive(config: Settings) -> None:
    class Hello:
        rate = Setting("rate", default=60)
        seen = Setting("seen", default=1, monitored=True)

    hello = Hello()
    assert (hello.rate, hello.seen) == (60, 1)
    gone = weakref.ref(Hello)
    del Hello, hello
    gc.collect()
    assert gone() is None
    assert [each.path for each in config.declared() if each.path in ("rate", "seen")] == []


def test_descriptors_follow_the_configuration_in_force() -> None:
    with settings.context():

        class Hello:
            rate = Setting("rate", default=60)

        hello = Hello()
        assert hello.rate == 60
        with settings.context({"rate": 5}) as inner:
            assert hello.rate == 5
            with settings.context({"rate": 6}):
                assert hello.rate == 6
            assert hello.rate == 5
            assert settings.get("rate") == inner.get("rate") == 5
        assert hello.rate == 60


def test_a_configurations_own_settings_stay_with_it() -> None:
    own = Settings({"rate": 5})

    class Hello:
        rate = own.setting("rate", default=60)

    with settings.context({"rate": 9}):
        assert Hello().rate == 5
    own.set("rate", 6)
    assert Hello().rate == 6


@pytest.mark.parametrize(
    ("declare", "wrong", "wanted"),
    [
        (lambda: Setting("x", default=5), "a", "a whole number (int)"),
        (lambda: Setting("x", default=5.0), "a", "a number (float)"),
        (lambda: Setting("x", default=True), 1, "True or False (bool)"),
        (lambda: Setting("x", default="a"), 1, "text (str)"),
        (lambda: Setting("x", type=int), "a", "a whole number (int) or None"),
        (lambda: Setting("x", default=5, type=float), "a", "a number (float)"),
    ],
)
def test_without_an_annotation_the_type_comes_from_type_else_from_the_default(
    config: Settings, declare: Any, wrong: object, wanted: str
) -> None:
    class Has:
        x = declare()

    with pytest.raises(ConfigError) as caught:
        config.set("x", wrong)
    assert f"x must be {wanted}, not {wrong!r}" in str(caught.value)


def test_the_annotation_says_the_type_in_each_of_its_forms(config: Settings) -> None:
    class Has:
        a: int = Setting("a")
        b: Setting[int] = Setting("b")
        c: ClassVar[int] = Setting("c")
        d: float = Setting("d", default=60)
        e: str | None = Setting("e", default="x")
        f: int = Setting("f", type=str)

    types = {each.path: each.type for each in config.declared() if len(each.path) == 1}
    assert types == {
        "a": "int | None",
        "b": "int | None",
        "c": "int | None",
        "d": "float",
        "e": "str | None",
        "f": "int | None",
    }
    assert type(Has.d) is float


def test_an_annotation_that_makes_no_sense_is_told_with_its_place(config: Settings) -> None:
    class Has:
        a: Nowhere = Setting("a")  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        ConfigError, match=r"test_setting.py:\d+: the type of a cannot be found out"
    ):
        config.check()
    del Has


def test_a_setting_needs_a_name() -> None:
    with pytest.raises(ValueError, match="needs a name"):
        Setting("")


def test_reading_a_setting_that_has_a_wrong_value_says_so(config: Settings, write: Any) -> None:
    path = write("rate = 'fast'")
    config.load_file(path)

    class Hello:
        rate: int = Setting("rate", default=60)

    with pytest.raises(ConfigError, match=rf"{path}:1: rate must be a whole number"):
        print(Hello().rate)
