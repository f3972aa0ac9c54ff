from __future__ import annotations

from typing import Any

import pytest

from ginkgo.config import ConfigError, Settings, service_of


def test_a_config_file_names_a_class_path_a_class_or_a_factory(
    config: Settings, write: Any
) -> None:
    config.load_file(write("service = 'hello.HelloWorld'"))
    assert service_of(config) == "hello.HelloWorld"
    config.load_file(write("class Hello(dict): pass\nservice = Hello\n"))
    assert service_of(config).__name__ == "Hello"  # type: ignore[union-attr]
    config.load_file(write("def service():\n    return 5\n"))
    assert service_of(config)() == 5  # type: ignore[operator]
    config.load_file(write("class service:\n    pass\n"))
    assert service_of(config).__name__ == "service"  # type: ignore[union-attr]


def test_the_command_line_may_name_another(config: Settings, write: Any) -> None:
    config.load_file(write("service = 'hello.HelloWorld'"))
    config.load_options(["service=hello.Other"])
    assert service_of(config) == "hello.Other"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rate = 5\n", "{path}: it does not say which service to run"),
        ("sevice = 'a.B'\n", "{path}:1: sevice is no setting; did you mean service?"),
        (
            "service = 'hello'\n",
            "{path}:1: service must be a dotted name such as 'module.ClassName', not 'hello'",
        ),
        (
            "service = 'hello.'\n",
            "{path}:1: service must be a dotted name such as 'module.ClassName', not 'hello.'",
        ),
        (
            "service = 5\n",
            "{path}:1: service must be a dotted name, a class or a factory, not 5 (int)",
        ),
    ],
)
def test_a_file_that_names_none_is_told(config: Settings, write: Any, text: str, told: str) -> None:
    path = write(text)
    config.load_file(path)
    with pytest.raises(ConfigError) as caught:
        service_of(config)
    assert str(caught.value) == told.format(path=path)
    assert caught.value.status == 78


def test_a_configuration_without_a_file_is_told_too(config: Settings) -> None:
    with pytest.raises(ConfigError, match=r"^it does not say which service to run$"):
        service_of(config)


def test_the_same_class_after_a_reload_is_no_change(config: Settings, write: Any) -> None:
    config.load_file(write("class Hello(dict): pass\nservice = Hello\nrate = 1\n"))
    write("class Hello(dict): pass\nservice = Hello\nrate = 2\n")
    report = config.reload()
    assert (report.changed, report.needs_restart, report.undeclared) == ((), (), ("rate",))
    write("class Other(dict): pass\nservice = Other\n")
    [change] = config.reload().needs_restart
    assert change.path == "service"
    assert service_of(config).__name__ == "Hello"  # type: ignore[union-attr]
