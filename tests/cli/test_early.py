"""What comes before there is a tree: signals, misuse, and starts that end before they begin."""

from __future__ import annotations

import os
import pty
import signal

import pytest
from tests.workshop import Workshop, eventually, wait_gone

SLOW = """
    import os
    from ginkgo import Service

    class Slow(Service):
        def __init__(self):
            print("making")
            while not os.path.exists("gate"):
                self.async_.sleep(0.02)

        def do_start(self):
            print("up")

        def do_reload(self):
            print("reloaded")
"""


@pytest.fixture
def slow(shop: Workshop) -> Workshop:
    shop.write("slow.py", SLOW)
    return shop


@pytest.mark.fault(56)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_while_the_service_is_made_ends_it_in_order(slow: Workshop, number: int) -> None:
    program = slow.begin("ginkgo", "slow.Slow")
    program.wait_for("^making$")
    assert program.stops(number) == 0
    assert "up" not in program.lines
    assert "KeyboardInterrupt" not in program.output


@pytest.mark.fault(62)
def test_other_signals_while_the_service_is_made_are_kept(slow: Workshop) -> None:
    program = slow.begin("ginkgo", "slow.Slow")
    program.wait_for("^making$")
    program.signal(signal.SIGHUP)
    program.signal(signal.SIGUSR1)
    slow.write("gate", "")
    program.wait_for("^reloaded$")
    assert program.lines.index("up") < program.lines.index("reloaded")
    assert program.stops() == 0


@pytest.mark.fault(56)
def test_signals_while_the_target_is_imported(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import os
        from gevent import monkey
        from ginkgo import Service

        print("importing", flush=True)
        while not os.path.exists("gate"):
            monkey.get_original("time", "sleep")(0.02)

        class App(Service):
            def do_start(self):
                print("up")
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^importing$")
    program.signal(signal.SIGHUP)
    assert program.stops(signal.SIGTERM) == 0
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^importing$")
    program.signal(signal.SIGUSR1)
    shop.write("gate", "")
    program.wait_for("^up$")
    assert program.stops() == 0


@pytest.mark.fault(60)
@pytest.mark.fault(41)
def test_sigquit_shows_what_blocks_the_loop(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.spawn(self.busy_for_ever)

            def busy_for_ever(self):
                print("busy")
                while True:
                    pass
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^busy$")
    assert program.stops(signal.SIGQUIT) == 75
    assert "in busy_for_ever" in program.output


def test_the_shorter_deadline_counts(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                print("up")

            def do_stop(self):
                print("stopping")
                self.async_.sleep(1000)
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^up$")
    program.signal(signal.SIGTERM)
    program.wait_for("^stopping$")
    assert program.stops(signal.SIGQUIT) == 75
    assert "had not ended after 2 s" in program.output


@pytest.mark.fault(64)
def test_under_nohup_a_closed_terminal_stops_nothing(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import os
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                with open("up", "w") as file:
                    file.write(str(os.getpid()))

            def do_reload(self):
                open("reloaded", "w").close()
        """,
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shop.folder)
        os.execvpe("sh", ["sh", "-c", "nohup ginkgo app.App >out 2>&1 & wait"], shop.env)
    up = shop.folder / "up"
    eventually(lambda: up.exists() and up.read_text())
    os.close(terminal)
    os.waitpid(pid, 0)
    daemon = int(up.read_text())
    os.kill(daemon, signal.SIGHUP)
    eventually((shop.folder / "reloaded").exists)
    os.kill(daemon, signal.SIGTERM)
    wait_gone(daemon)


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("StreamServer(':99999', print)", 78, ["99999"]),
        ("StreamServer('127.0.0.1:0', 7000)", 78, ["7000 is no handler", "is one argument"]),
        ("StreamServer(':0')", 78, ["has no handler", "Give it a function"]),
        ("BackdoorServer('0.0.0.0:0')", 78, ["allow_remote"]),
        ("self.add_service(None)", 70, ["add_service takes a service, not None", 'app.py", line']),
    ],
)
def test_misuse_while_it_is_made_keeps_its_own_words(
    shop: Workshop, code: str, status: int, words: list[str]
) -> None:
    shop.write(
        "app.py",
        f"""
        from ginkgo import Service
        from ginkgo.async_.gevent import BackdoorServer, StreamServer

        class App(Service):
            def __init__(self):
                {code}
        """,
    )
    result = shop.ginkgo("app.App")
    assert result.returncode == status, result.stderr
    for word in words:
        assert word in result.stderr
    if status == 78:
        assert "Traceback" not in result.stderr


def test_misuse_in_do_start_is_the_applications_failure(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.add_service(None)
        """,
    )
    result = shop.ginkgo("app.App")
    assert result.returncode == 70
    assert 'app.py", line 5' in result.stderr


@pytest.mark.fault(30)
@pytest.mark.parametrize(("code", "status"), [("3", 3), ("'a word'", 1)])
@pytest.mark.parametrize("where", ["__init__", "do_start"])
def test_sys_exit_in_a_start_means_the_same_in_both_grounds(
    shop: Workshop, where: str, code: str, status: int
) -> None:
    shop.write(
        "app.py",
        f"""
        import sys
        from ginkgo import Service

        class App(Service):
            def {where}(self):
                sys.exit({code})
        """,
    )
    log = shop.folder / "app.log"
    foreground = shop.ginkgo("app.App")
    daemon = shop.ginkgo("-d", "--set", f"logfile={log}", "app.App")
    for result in (foreground, daemon):
        assert result.returncode == status, result.stderr
        assert f"called sys.exit({code})" in result.stderr
    assert f"called sys.exit({code})" in log.read_text()


def test_a_config_file_that_is_not_there_is_told_once(shop: Workshop) -> None:
    for result in (shop.ginkgo("-d", "nosuch.conf.py"), shop.ctl("nosuch.conf.py", "start")):
        assert result.returncode == 66
        assert result.stderr.count("there is no file") == 1
        assert "ended with status" not in result.stderr


def test_a_syntax_error_is_shown_without_a_traceback(shop: Workshop) -> None:
    shop.write("app.py", "x = 1\ndef f(:\n    pass\n")
    result = shop.ginkgo("app.App")
    assert result.returncode == 70
    assert "app.py:2:7: invalid syntax" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_task_that_stops_the_tree_gets_its_call_back(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.spawn(self.work)

            def work(self):
                self.stop()
                print("stopped by a task of its own")
        """,
    )
    result = shop.ginkgo("app.App")
    assert result.returncode == 0
    assert "stopped by a task of its own" in result.stdout
