from __future__ import annotations

from typing import Any

import pytest

from ginkgo.config import Setting, Settings, format_settings

# As the manual of 0.6 prints it, but for `rundir` and `user`, whose help is one column off there.
SEED = """\
config settings:
  daemon      True or False whether to daemonize [False]
  group       Change to a different group before running [None]
  logconfig   Configuration of standard Python logger. Can be dict for basicConfig,
              dict with version key for dictConfig, or ini filepath for fileConfig. [None]
  logfile     Path to primary log file. Ignored if logconfig is set. [/tmp/HelloWorld.log]
  loglevel    Log level to use. Valid options: debug, info, warning, critical
              Ignored if logconfig is set. [debug]
  pidfile     Path to pidfile to use when daemonizing [None]
  rundir      Change to a directory before running [None]
  umask       Change file mode creation mask before running [None]
  user        Change to a different user before running [None]"""


@pytest.fixture
def alone() -> Any:
    """A configuration without anybody's declared settings, in force."""
    with Settings() as config:
        config.registry._parent = None
        yield config


class Builtin:
    """Declares what 0.6 had built in, in the configuration in force when it is made."""

    def __init__(self) -> None:
        class Process:
            user = Setting("user", default=None, help="Change to a different user before running")
            umask = Setting("umask", help="Change file mode creation mask before running")
            rundir = Setting("rundir", help="Change to a directory before running")
            pidfile = Setting("pidfile", help="Path to pidfile to use when daemonizing")
            loglevel = Setting(
                "loglevel",
                default="debug",
                choices=("debug", "info", "warning", "critical"),
                help="""
                Log level to use. Valid options: debug, info, warning, critical
                Ignored if logconfig is set.
                """,
            )
            logfile = Setting(
                "logfile",
                default="/tmp/HelloWorld.log",
                help="Path to primary log file. Ignored if logconfig is set.",
            )
            logconfig = Setting(
                "logconfig",
                help="Configuration of standard Python logger. Can be dict for basicConfig,\n"
                "dict with version key for dictConfig, or ini filepath for fileConfig.",
            )
            group = Setting("group", help="Change to a different group before running")
            daemon = Setting("daemon", default=False, help="True or False whether to daemonize")

        self.kept = Process


def test_the_list_is_printed_as_the_manual_shows_it(alone: Settings) -> None:
    builtin = Builtin()
    assert format_settings(alone, width=90) == SEED
    del builtin


def test_values_that_are_not_the_default_are_told_with_their_origin(
    alone: Settings, write: Any
) -> None:
    class Has:
        rate = Setting("rate", default=60, help="Rate at which to emit message")
        message = Setting("message", default="Hello", help="Message to print")
        wrong = Setting("wrong", default=1)
        secret = Setting("db.password", default="canary", secret=True, help="The password")

    path = write("rate = 180\nmessage = 'Hello'\nwrong = 'x'\nclass db:\n    password = 'canary'\n")
    alone.load_file(path, check=False)
    alone.load_options(["rate=181"])
    assert format_settings(alone, width=200) == (
        "config settings:\n"
        "  db.password  The password [****]\n"
        f"              now ****, from {path}:5\n"
        "  message     Message to print [Hello]\n"
        f"              now 'Hello', from {path}:2\n"
        "  rate        Rate at which to emit message [60]\n"
        "              now 181, from --set\n"
        "  wrong       [1]\n"
        f"              now refused: {path}:3: wrong must be a whole number (int), not 'x' (str)"
    )
    del Has


def test_a_long_name_pushes_its_help_aside_and_a_long_help_is_folded(alone: Settings) -> None:
    class Has:
        x = Setting("a.name.that.is.long", default="", help="word " * 20 + "\nanother line")
        y = Setting("b", default=1, choices=(1, 2), help="Which")

    assert format_settings(alone, width=60) == (
        "config settings:\n"
        "  a.name.that.is.long  word word word word word word word\n"
        "              word word word word word word word word word\n"
        "              word word word word another line ['']\n"
        "  b           Which [1]\n"
        "              One of: 1, 2"
    )
    assert all(len(line) <= 42 for line in format_settings(alone, width=5).splitlines())
    del Has


def test_print_help_is_as_in_0_6(alone: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    class Has:
        rate = Setting("rate", default=60, help="Rate")

    alone.set("rate", 5)
    alone.print_help()
    alone.print_help(only_default=True)
    assert capsys.readouterr().out == (
        "config settings:\n  rate        Rate [60]\n              now 5, from set()\n"
        "config settings:\n  rate        Rate [60]\n"
    )
    del Has


def test_nothing_declared_is_an_empty_list(alone: Settings) -> None:
    assert format_settings(alone) == "config settings:"


def test_a_declaration_says_all_there_is(alone: Settings) -> None:
    class Has:
        rate: int = Setting(
            "rate", default=60, help=" Rate ", choices=(60, 70), monitored=True, type=str
        )
        port = Setting("port", default=1, restart_required=True)

    alone.set("rate", 70)
    port, rate = alone.declared()
    assert rate._asdict() == {
        "path": "rate",
        "help": "Rate",
        "default": 60,
        "type": "int",
        "choices": (60, 70),
        "secret": False,
        "restart_required": False,
        "monitored": True,
        "value": 70,
        "origin": "set()",
        "problem": "",
        "place": vars(Has)["rate"].place,
    }
    assert (port.path, port.restart_required, port.value, port.origin) == (
        "port",
        True,
        1,
        "default",
    )
