"""``ginkgo check``, a run and a reload: all that is wrong is told at once, with its place."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.workshop import Workshop, eventually

SERVICE = """
    import logging
    from ginkgo import Service, Setting

    class App(Service):
        message = Setting("message", default="hello", help="What it says")
"""


@pytest.fixture
def app(shop: Workshop) -> Workshop:
    shop.write("app.py", SERVICE)
    configure(shop)
    return shop


def configure(shop: Workshop, *lines: str) -> Path:
    text = "\n".join(['service = "app.App"', f'logfile = "{shop.folder}/app.log"', *lines])
    return shop.write("app.conf.py", text + "\n")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("umask", "999", "the umask 999 is not a file mode mask"),
        ("rundir", "/nope", "cannot change to rundir /nope"),
        ("pidfile", "/nope/x", "pidfile /nope/x: there is no folder /nope"),
        ("logfile", "/nope/deep/x.log", "logfile /nope/deep/x.log: there is no folder /nope/deep"),
        ("logfile", "/proc/self/status/x", "logfile /proc/self/status/x: there is no folder"),
        ("user", "nosuch", "there is no user 'nosuch'"),
        ("group", "nosuch", "there is no group 'nosuch'"),
        ("loglevel", "loud", "loglevel: 'loud' is not a log level"),
        ("logconfig", "/nope.ini", "logconfig /nope.ini: No such file"),
        ("stop_timeout", "-5", "stop_timeout is -5, and has to be more than 0"),
        ("start_timeout", "0", "start_timeout is 0, and has to be more than 0"),
        ("blocked_after", "-1", "blocked_after is -1, and has to be 0 or more"),
        ("shutdown_timeout", "-0.5", "shutdown_timeout is -0.5, and has to be more than 0"),
    ],
)
def test_what_a_start_would_refuse_is_told_with_its_place(
    app: Workshop, name: str, value: str, told: str
) -> None:
    variable = f"GINKGO_{name.upper()}"
    result = app.ginkgo("check", "app.App", env={variable: value})
    assert result.returncode == 78, result.stdout
    assert f"environment {variable}: {told}" in result.stderr


@pytest.mark.fault(113)
def test_all_of_it_is_told_at_once_with_file_and_line(app: Workshop) -> None:
    configure(
        app,
        'user = "nosuch"',
        'loglevel = "loud"',
        "stop_timeout = -5",
        'message = ["no text"]',
        'umask = "9"',
    )
    for arguments in (["check"], [], ["-d"]):
        result = app.ginkgo(*arguments, "app.conf.py")
        assert result.returncode == 78
        assert "5 things are wrong" in result.stderr
        for line in range(3, 8):
            assert f"app.conf.py:{line}: " in result.stderr


@pytest.mark.fault(114)
def test_a_doubt_is_told_beside_the_errors(app: Workshop) -> None:
    configure(app, 'mesage = "typo"', "stop_timeout = -5")
    result = app.ginkgo("check", "app.conf.py")
    assert result.returncode == 78
    assert "app.conf.py:3: mesage is no setting; did you mean message?" in result.stderr
    assert "app.conf.py:4: stop_timeout is -5" in result.stderr


def test_one_thing_that_is_wrong_keeps_its_own_status_in_a_run(app: Workshop) -> None:
    configure(app, 'user = "nosuch"')
    run = app.ginkgo("app.conf.py")
    assert (run.returncode, "app.conf.py:3: there is no user 'nosuch'" in run.stderr) == (67, True)
    assert app.ginkgo("check", "app.conf.py").returncode == 78


def test_what_is_right_is_right_and_leaves_no_file(app: Workshop) -> None:
    configure(app, f'pidfile = "{app.folder}/app.pid"', 'umask = "027"', "stop_timeout = 0.5")
    result = app.ginkgo("check", "app.conf.py")
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(app.folder)) == ["app.conf.py", "app.py"]


@pytest.mark.parametrize(
    "config",
    [
        '{"filename": "new.log", "filemode": "w"}',
        '{"version": 1, "handlers": {"h": {"class": "logging.FileHandler", "filename": "new.log",'
        ' "mode": "w"}}, "root": {"handlers": ["h"]}}',
        '"log.ini"',
    ],
)
def test_no_form_of_logconfig_makes_or_empties_a_file(app: Workshop, config: str) -> None:
    app.write(
        "log.ini",
        """
        [loggers]
        keys=root
        [handlers]
        keys=h
        [formatters]
        keys=
        [logger_root]
        handlers=h
        [handler_h]
        class=FileHandler
        args=("new.log", "w")
        """,
    )
    configure(app, f"logconfig = {config}")
    assert app.ginkgo("check", "app.conf.py").returncode == 0
    assert not (app.folder / "new.log").exists()
    (app.folder / "new.log").write_text("kept\n")
    assert app.ginkgo("check", "app.conf.py").returncode == 0
    assert (app.folder / "new.log").read_text() == "kept\n"
    (app.folder / "new.log").unlink()
    for name in ("app.conf.py", "log.ini"):
        path = app.folder / name
        path.write_text(path.read_text().replace("new.log", "/nope/deep/new.log"))
    refused = app.ginkgo("check", "app.conf.py")
    assert refused.returncode == 78
    assert "app.conf.py:3: " in refused.stderr
    assert "there is no folder /nope/deep" in refused.stderr


def test_a_handler_that_cannot_be_made_is_told_once(app: Workshop) -> None:
    configure(app, 'logconfig = {"version": 1, "handlers": {"h": {"class": "nope"}}}')
    result = app.ginkgo("check", "app.conf.py")
    assert result.returncode == 78
    assert "app.conf.py:3: logconfig: handler 'h' cannot be made" in result.stderr
    assert result.stderr.count("No module named 'nope'") == 1


def test_a_place_that_the_start_makes_itself_is_right(app: Workshop) -> None:
    pidfile = app.runtime / "ginkgo" / "app.App" / "other.pid"
    env = {"GINKGO_PIDFILE": str(pidfile)}
    result = app.ginkgo("check", "app.App", env=env)
    assert result.returncode == 0, result.stderr


def test_a_rundir_that_the_service_makes_is_found_by_the_start(app: Workshop) -> None:
    app.write(
        "maker.py",
        """
        import os
        from ginkgo import Service

        class Maker(Service):
            def __init__(self):
                os.mkdir("data")
            def do_start(self):
                print("in", os.path.basename(os.getcwd()))
        """,
    )
    program = app.begin("ginkgo", "--set", "rundir=data", "maker.Maker")
    program.wait_for("^in data$")
    assert program.stops() == 0


@pytest.mark.fault(116)
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('loglevel = "loud"', "app.conf.py:3: loglevel: 'loud' is not a log level"),
        ('logconfig = "/nope.ini"', "app.conf.py:3: logconfig /nope.ini: No such file"),
        ("stop_timeout = -5", "app.conf.py:3: stop_timeout is -5"),
    ],
)
def test_a_refused_reload_tells_the_place(app: Workshop, line: str, told: str) -> None:
    assert app.ginkgo("-d", "app.conf.py").returncode == 0
    configure(app, line)
    refused = app.ctl("app.conf.py", "reload")
    assert refused.returncode == 78
    assert told in refused.stderr
    configure(app)
    assert app.ctl("app.conf.py", "reload").returncode == 0
    assert app.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(63)
def test_a_refused_reload_shows_the_line_with_its_caret(app: Workshop) -> None:
    assert app.ginkgo("-d", "app.conf.py").returncode == 0
    configure(app, "bad syntax")
    refused = app.ctl("app.conf.py", "reload")
    assert refused.returncode == 78
    shown = refused.stderr.splitlines()
    assert "app.conf.py:3:5: invalid syntax" in shown[0]
    assert shown[1:3] == ["    bad syntax", "        ^"]
    (row,) = [
        each
        for each in app.ctl("app.conf.py", "status").stdout.splitlines()
        if "refused at" in each
    ]
    assert row.endswith("app.conf.py:3:5: invalid syntax")
    (pid,) = [int(path.read_text()) for path in app.runtime.rglob("pid")]
    log = app.folder / "app.log"
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: log.read_text().count("Reload refused") == 2)
    assert "\\n" not in log.read_text()
    lines = log.read_text().splitlines()
    at = next(i for i, each in enumerate(lines) if "Reload refused" in each)
    below = lines[at + 1 : at + 3]
    assert [each.strip() for each in below] == ["bad syntax", "^"]
    assert below[0].index("s") == below[1].index("^")
    assert app.ctl("app.conf.py", "stop").returncode == 0


def test_a_config_file_of_python_2_gets_what_to_write_instead(app: Workshop) -> None:
    lines = ['print "x"', "def go(self):", "    self.async.sleep(1)", '# print "no"']
    configure(app, *lines, 'print "password =", 1')
    for arguments in (["check"], []):
        result = app.ginkgo(*arguments, "app.conf.py")
        assert result.returncode == 78
        assert (
            "app.conf.py:3: print is a function since Python 3: write print(...)" in result.stderr
        )
        assert '    print "x"' in result.stderr.splitlines()
        assert "app.conf.py:5: async is a keyword since Python 3.7: write .async_" in result.stderr
        assert "password" not in result.stderr
        assert '"no"' not in result.stderr
        assert "It is written for Python 2" in result.stderr


def test_what_only_looks_like_python_2_in_a_text_is_not_blamed(app: Workshop) -> None:
    configure(app, '"""', "print this", '"""', "bad syntax")
    result = app.ginkgo("check", "app.conf.py")
    assert "app.conf.py:6:5: invalid syntax" in result.stderr
    assert "Python 2" not in result.stderr
