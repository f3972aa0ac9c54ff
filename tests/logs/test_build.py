from __future__ import annotations

import io
import logging
import logging.config
import logging.handlers
import os
from pathlib import Path
from typing import Any

import pytest
from tests.logs.scripts import dict_config, lines, messages

from ginkgo.core.errors import CannotCreate, ConfigError, GinkgoError, PermissionDenied
from ginkgo.logs import setup

logger = logging.getLogger("app.db")


# --- basicConfig ---


def test_a_dict_is_the_arguments_of_basic_config(tmp_path: Path) -> None:
    config = {"filename": str(tmp_path / "b.log"), "format": "{levelname}|{message}", "style": "{"}
    setup.configure({**config, "level": "warning"}, None, "debug", daemon=False)
    logger.info("no")
    logger.warning("a\nb")
    assert lines(tmp_path / "b.log") == ["WARNING|a\\nb"]


def test_basic_config_has_its_own_default_format_and_leaves_the_level(path: str) -> None:
    logging.getLogger().setLevel("ERROR")
    try:
        setup.configure({"force": True}, path, "debug", daemon=True)
        logger.warning("no")
        logger.error("yes")
        assert lines(path) == ["ERROR:app.db:yes"]
    finally:
        setup.unconfigure()
        logging.getLogger().setLevel("WARNING")


def test_basic_config_takes_streams_and_handlers() -> None:
    stream, other = io.StringIO(), io.StringIO()
    setup.configure({"stream": stream, "level": "INFO"}, daemon=False)
    logger.info("one")
    handler = logging.StreamHandler(other)
    setup.configure({"handlers": [handler], "level": "INFO", "format": "%(message)s"}, daemon=False)
    logger.info("two")
    assert (stream.getvalue(), other.getvalue()) == ("INFO:app.db:one\n", "two\n")


def test_filemode_w_empties_the_file_at_the_start_and_not_at_a_reload(path: str) -> None:
    Path(path).write_text("old\n")
    config = {"filename": path, "filemode": "w", "level": "INFO", "format": "%(message)s"}
    for message in ("one", "two"):
        setup.configure(config, daemon=False)
        logger.info(message)
    assert lines(path) == ["one", "two"]


def test_a_daemon_whose_basic_config_names_no_file_logs_to_the_logfile(path: str) -> None:
    setup.configure({"format": "%(message)s", "level": "INFO"}, path, daemon=True)
    logger.info("here")
    assert lines(path) == ["here"]


# --- dictConfig ---


def test_a_dict_with_a_version_is_a_dict_config(path: str) -> None:
    config = dict_config(path)
    before = repr(config)
    setup.configure(config, None, "error", daemon=False)
    logger.debug("yes")
    logging.getLogger("app").debug("no")
    logging.getLogger("other").error("no")
    assert lines(path) == ["DEBUG yes"]
    assert repr(config) == before  # a reload can use it again


@pytest.mark.fault(142)
def test_the_formatters_of_a_dict_config_escape_unless_they_have_a_class(path: str) -> None:
    config = dict_config(path)
    config["formatters"]["short"]["class"] = "logging.Formatter"
    setup.configure(dict_config(path), daemon=False)
    logger.info("a\x1b[2J")
    setup.configure(config, daemon=False)
    logger.info("a\tb")
    assert lines(path) == ["INFO a\\x1b[2J", "INFO a\tb"]


def test_factories_references_and_queues_are_the_standard_librarys(path: str) -> None:
    made: list[str] = []

    def make(name: str) -> logging.Handler:
        made.append(name)
        return logging.NullHandler()

    setup.configure(
        {
            "version": 1,
            "names": {"mine": "by reference"},
            "handlers": {"mine": {"()": make, "name": "cfg://names.mine"}},
            "root": {"handlers": ["mine"]},
        },
        daemon=False,
    )
    assert made == ["by reference"]


def test_loggers_that_exist_stay_alive_through_a_reload_unless_told_otherwise(path: str) -> None:
    framework = logging.getLogger("ginkgo.process.runner")
    framework.setLevel("INFO")
    try:
        config = dict_config(path, filters={"app": {"name": ""}})
        del config["loggers"]
        setup.configure(config, daemon=False)
        logger.info("alive")
        setup.configure(config | {"disable_existing_loggers": True}, daemon=False)
        logger.info("not alive")
        framework.info("Stopping.")
        setup.configure(config, daemon=False)
        logger.info("alive again")
    finally:
        framework.setLevel("NOTSET")
    assert lines(path) == ["INFO alive", "INFO Stopping.", "INFO alive again"]


def test_filters_and_propagation_are_taken_back(path: str) -> None:
    config = dict_config(path)
    config["loggers"]["app.db"] = {"filters": ["app"], "propagate": False}
    setup.configure(config, daemon=False)
    assert (logger.propagate, len(logger.filters)) == (False, 1)
    setup.configure(config, daemon=False)
    assert len(logger.filters) == 1
    setup.configure(None, path, daemon=True)
    assert (logger.propagate, logger.filters) == (True, [])


def test_the_files_of_an_old_dict_config_are_closed(tmp_path: Path) -> None:
    def open_files() -> list[str]:
        return sorted(
            os.readlink(f"/proc/self/fd/{fd}").rpartition("/")[2]
            for fd in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{fd}")
            and os.readlink(f"/proc/self/fd/{fd}").startswith(str(tmp_path))
        )

    for name in ("a.log", "b.log", "a.log"):
        setup.configure(dict_config(str(tmp_path / name)), daemon=False)
        assert open_files() == [name]
    setup.configure(None, str(tmp_path / "c.log"), daemon=True)
    assert open_files() == ["c.log"]


# --- fileConfig ---

INI = """
[loggers]
keys = root, db
[handlers]
keys = file, null
[formatters]
keys = short
[logger_root]
level = info
handlers = file
[logger_db]
qualname = app.db
level = debug
handlers =
propagate = 1
[handler_file]
class = FileHandler
formatter = short
args = ({path!r}, "a")
[handler_null]
class = logging.NullHandler
[formatter_short]
format = %(levelname)s %(message)s
"""


def test_a_path_is_a_file_config(tmp_path: Path, path: str) -> None:
    (tmp_path / "logging.ini").write_text(INI.format(path=path))
    setup.configure(str(tmp_path / "logging.ini"), None, "error", daemon=False)
    logger.debug("a\nb")
    logging.getLogger("other").debug("no")
    assert lines(path) == ["DEBUG a\\nb"]


@pytest.mark.fault("O13")
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("level = debug", "level = loud", "logger 'db': 'loud' is not a log level"),
        ("handlers = file", "handlers = no", "no handler 'no'"),
        ("class = logging.NullHandler", "class = no.Such", "No module named 'no'"),
        ("keys = short", "keys = short, no", "No section: 'formatter_no'"),
        ("[loggers]", "loggers", "no section headers"),
        ("qualname = app.db", "", "no 'qualname'"),
    ],
)
def test_a_wrong_file_config_is_named_and_changes_nothing(
    tmp_path: Path, path: str, old: str, new: str, told: str
) -> None:
    setup.configure(None, path, "info", daemon=True)
    ini = tmp_path / "logging.ini"
    ini.write_text(INI.format(path=str(tmp_path / "other.log")).replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        setup.configure(str(ini), path, daemon=True)
    assert told in str(caught.value)
    logger.info("as before")
    assert messages(path) == ["as before"]


# --- mistakes ---


BAD_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"loglevel": "loud"}, "loglevel: 'loud' is not a log level"),
    ({"loglevel": True}, "loglevel: True"),
    ({"loglevel": 1.5}, "loglevel: 1.5"),
    ({"loglevel": -1}, "loglevel: -1"),
    ({"loglevel": {"app": "loud"}}, "loglevel['app']: 'loud'"),
    ({"loglevel": {1: "info"}}, "loglevel: 1 is not the name of a logger"),
    ({"logconfig": 7}, "logconfig: int is not a logging configuration"),
    ({"logconfig": "/nowhere.ini"}, "logconfig /nowhere.ini: No such file"),
    ({"logconfig": {"loglevel": "info"}}, "basicConfig has no argument loglevel"),
    ({"logconfig": {"level": "loud"}}, "logconfig['level']: 'loud'"),
    ({"logconfig": {"format": "%(message)"}}, "Invalid format"),
    ({"logconfig": {"style": "!"}}, "style '!'"),
    ({"logconfig": {"filename": "x", "stream": 1}}, "filename and stream exclude each other"),
    ({"logconfig": {"handlers": [1]}}, "1 in handlers is not a handler"),
    ({"logconfig": {"stream": 1}}, "1 is not a text stream"),
    ({"logconfig": {"filename": "x", "filemode": "r"}}, "filemode 'r'"),
    ({"logconfig": {"encoding": "klingon"}}, "unknown encoding: klingon"),
    ({"logconfig": {"version": 2}}, "version 2 is not 1"),
    ({"logconfig": {"version": 1, "incremental": True}}, "incremental"),
    ({"logconfig": {"version": 1, "root": {"level": "loud"}}}, "logger 'root': 'loud'"),
    ({"logconfig": {"version": 1, "root": {"handlers": ["no"]}}}, "no handler 'no'"),
    (
        {"logconfig": {"version": 1, "handlers": {"h": {"class": "no.Such"}}}},
        "handler 'h' cannot be made: Cannot resolve 'no.Such'",
    ),
    (
        {
            "logconfig": {
                "version": 1,
                "handlers": {"h": {"class": "logging.StreamHandler", "level": "loud"}},
            }
        },
        "level of a handler: 'loud'",
    ),
    (
        {"logconfig": {"version": 1, "formatters": {"f": {"format": "%(message)"}}}},
        "formatter 'f' cannot be made",
    ),
    (
        {
            "logconfig": {
                "version": 1,
                "handlers": {
                    "a": {"class": "logging.FileHandler", "filename": "a.log"},
                    "b": {"class": "logging.FileHandler", "filename": "/nowhere/b.log"},
                },
            }
        },
        "handler 'b' cannot be made: ",
    ),
]


@pytest.mark.fault("O13")
@pytest.mark.parametrize(("values", "told"), BAD_VALUES, ids=lambda v: None)
def test_a_wrong_value_is_named_and_changes_nothing(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    setup.configure(None, path, {"": "warning", "app.db": "debug"}, daemon=True)
    before = list(logging.getLogger().handlers)
    with pytest.raises(ConfigError) as caught:
        setup.configure(**({"logfile": path, "loglevel": "info"} | values), daemon=True)
    assert told in str(caught.value)
    assert logging.getLogger().handlers == before
    logger.debug("as before")
    assert messages(path) == ["as before"]


def test_a_wrong_level_says_which_are_right(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup.configure(None, path, "loud", daemon=True)
    assert caught.value.hint == "Use one of debug, info, warning, error, critical."
    assert caught.value.status == 78
    assert not Path(path).exists()


@pytest.mark.fault(135)
def test_a_log_file_that_is_refused_changes_nothing(path: str, tmp_path: Path) -> None:
    setup.configure(None, path, "info", daemon=True)
    (tmp_path / "link").symlink_to("/etc/passwd")
    refusals: list[tuple[str, type[GinkgoError]]] = [
        ("link", PermissionDenied),
        ("no/such/app.log", CannotCreate),
    ]
    for name, kind in refusals:
        with pytest.raises(kind):
            setup.configure(None, str(tmp_path / name), "error", daemon=True)
    logger.info("as before")
    assert messages(path) == ["as before"]
