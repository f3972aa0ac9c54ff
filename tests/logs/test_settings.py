from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ginkgo.config import Settings
from ginkgo.core.errors import ConfigError
from ginkgo.logs import setup
from ginkgo.logs.settings import LogSettings, default_logfile, log_settings


@pytest.fixture
def config() -> Iterator[Settings]:
    with Settings() as made:
        yield made


def test_the_defaults_are_the_seeds(config: Settings) -> None:
    declared = log_settings("HelloWorld")
    assert declared.logconfig is None
    assert declared.logfile == "/tmp/HelloWorld.log"
    assert declared.loglevel == "debug"


def test_the_help_is_the_seeds_and_that_of_logformat() -> None:
    # In a process of its own: other tests declare settings too.
    code = """
from ginkgo.config import format_settings, settings
from ginkgo.logs.settings import log_settings

declared = log_settings("HelloWorld")
print(format_settings(settings, width=100))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        done.stdout
        == """\
config settings:
  logconfig   Configuration of standard Python logger. Can be dict for basicConfig,
              dict with version key for dictConfig, or ini filepath for fileConfig. [None]
  logfile     Path to primary log file. Ignored if logconfig is set. [/tmp/HelloWorld.log]
  logformat   What a log line is: text, or json for those who collect logs by machine
              (pip install "ginkgo[json]"). Ignored if logconfig is set. [text]
  loglevel    Log level to use. Valid options: debug, info, warning, critical
              Ignored if logconfig is set. [debug]
"""
    )


def test_a_second_service_of_the_process_changes_the_default_and_is_no_conflict(
    config: Settings,
) -> None:
    first, second = log_settings("One"), log_settings("Two")
    config.load({"loglevel": "info"})
    assert second.logfile == "/tmp/Two.log"
    del first


@pytest.mark.parametrize(
    "values",
    [
        {"loglevel": "info"},
        {"loglevel": 20},
        {"loglevel": {"root": "info", "app.db": "debug", "urllib3": 30}},
        {"logconfig": {"level": "INFO", "stream": io.StringIO()}},
        {"logconfig": {"version": 1, "root": {"level": "INFO"}}},
    ],
    ids=["name", "number", "levels", "basic", "dict"],
)
def test_what_they_hold_is_what_logging_takes(config: Settings, values: dict[str, Any]) -> None:
    declared: type[LogSettings] = log_settings("HelloWorld")
    config.load(values)
    setup.configure(declared.logconfig, None, declared.loglevel, daemon=False, stream=io.StringIO())


@pytest.mark.parametrize("values", [{"loglevel": 1.5}, {"logfile": 3}, {"logconfig": 7}])
def test_a_value_of_a_wrong_type_is_refused_by_the_settings(
    config: Settings, values: dict[str, Any]
) -> None:
    declared = log_settings("HelloWorld")
    with pytest.raises(ConfigError, match=next(iter(values))):
        config.load(values)
    del declared


def test_a_name_is_one_file_in_tmp() -> None:
    assert default_logfile("../../etc/passwd") == "/tmp/..-..-etc-passwd.log"
