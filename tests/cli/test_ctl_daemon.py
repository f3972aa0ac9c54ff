"""ginkgoctl with real daemons: started, reloaded, restarted and stopped."""

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
from tests.workshop import DEADLINE, Workshop, eventually, free_port, wait_gone

APP = """
    import os
    import time
    from ginkgo import Service, Setting

    class App(Service):
        message = Setting("message", default="hello", help="what to say")

        def do_start(self):
            self.spawn(self.talk)

        def talk(self):
            while True:
                print(self.message)
                self.async_.sleep(0.05)
"""

CONF = """
    service = "app.App"
    logfile = "{folder}/app.log"
    message = "one"
"""


class Daemon:
    """The application in a workshop's folder, managed through its config file."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.write(APP)
        self.configure(CONF)

    def write(self, text: str) -> None:
        self.shop.write("app.py", text)

    def configure(self, text: str) -> None:
        self.shop.write("app.conf.py", text.format(folder=self.shop.folder))

    def ctl(self, *args: str, **more: object):  # type: ignore[no-untyped-def]
        return self.shop.ctl("app.conf.py", *args, timeout=60, **more)

    def pid(self) -> int:
        """The pid that status tells."""
        pid = json.loads(self.ctl("status", "--json").stdout)["pid"]
        assert isinstance(pid, int)
        return pid

    def clear(self) -> None:
        """Remove what it could not remove itself, because it died."""
        shutil.rmtree(self.shop.runtime / "ginkgo", ignore_errors=True)

    def says(self, text: str) -> None:
        """Wait until it is in the log."""
        log = self.shop.folder / "app.log"
        eventually(lambda: log.exists() and text in log.read_text())


@pytest.fixture
def daemon(shop: Workshop):  # type: ignore[no-untyped-def]
    """An application that is stopped at the end, whatever it does."""
    made = Daemon(shop)
    yield made
    made.ctl("stop", "--force", "--timeout", "1")


# -- start


@pytest.mark.fault("O1")
def test_start_returns_when_it_is_ready(daemon: Daemon) -> None:
    run = daemon.ctl("start")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("started app-")
    assert daemon.ctl("status").returncode == 0
    daemon.says("one")


@pytest.mark.fault(12)
def test_start_of_what_is_ready_is_done(daemon: Daemon) -> None:
    daemon.ctl("start")
    pid = daemon.pid()
    run = daemon.ctl("start")
    assert (run.returncode, daemon.pid()) == (0, pid)
    assert f"is already running (pid {pid})" in run.stdout


@pytest.mark.fault(12)
def test_of_many_starts_one_wins_and_all_are_content(daemon: Daemon, shop: Workshop) -> None:
    starts = [shop.begin("ginkgoctl", "app.conf.py", "start", "--json") for _ in range(6)]
    assert [start.ends(60) for start in starts] == [0] * 6, [start.output for start in starts]
    answers = [json.loads(start.lines[-1]) for start in starts]
    assert len({answer["pid"] for answer in answers}) == 1
    assert [answer["outcome"] for answer in answers].count("started") == 1


START_FAILURES = {
    "no such module": ("", 'service = "nothere.App"', 66, "there is no module 'nothere'"),
    "no such class": ("", 'service = "app.Nothing"', 66, "has no 'Nothing'"),
    "raising": (
        APP.replace("self.spawn(self.talk)", "raise ValueError('no luck')"),
        CONF,
        70,
        "ValueError: no luck",
    ),
    "dying": (APP.replace("self.spawn(self.talk)", "os._exit(3)"), CONF, 70, "status 3"),
    "crashing": (
        APP.replace("self.spawn(self.talk)", "os.abort()"),
        CONF,
        70,
        "was killed by SIGABRT",
    ),
    "misconfigured": (APP, CONF + "\n    message = 7\n", 78, "app.conf.py:5"),
    "not even Python": (APP, "message = = 7", 78, "app.conf.py"),
}


@pytest.mark.fault("O1")
@pytest.mark.fault(22)
@pytest.mark.parametrize("case", START_FAILURES)
def test_start_tells_why_it_failed(daemon: Daemon, shop: Workshop, case: str) -> None:
    app, conf, status, words = START_FAILURES[case]
    daemon.write(app)
    daemon.configure(conf)
    run = daemon.ctl("start")
    assert (run.returncode, run.stdout) == (status, "")
    assert words in run.stderr
    assert run.stderr.count(words) == 1 or case == "raising", run.stderr
    assert daemon.ctl("status").returncode == 3
    run = daemon.ctl("start", "--json")
    assert json.loads(run.stderr)["status"] == status
    daemon.clear()


@pytest.mark.fault(1)
def test_start_tells_which_port_is_taken(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon.write(f"""
            from ginkgo.async_.gevent import StreamServer
            def App():
                return StreamServer(("127.0.0.1", {port}), lambda sock, address: None)
        """)
        run = daemon.ctl("start")
    assert run.returncode == 69
    assert str(port) in run.stderr


@pytest.mark.fault(23)
def test_start_that_takes_too_long_is_told_and_goes_on(daemon: Daemon, shop: Workshop) -> None:
    gate = shop.folder / "gate"
    daemon.write(
        APP.replace(
            "self.spawn(self.talk)",
            f"""
            while not os.path.exists({str(gate)!r}):
                self.async_.sleep(0.01)""",
        )
    )
    run = daemon.ctl("start", "--timeout", "3")
    assert run.returncode == 75
    assert "not ready after 3 s" in run.stderr
    assert daemon.ctl("status").returncode == 150
    waiting = shop.begin("ginkgoctl", "app.conf.py", "start")
    gate.touch()
    assert waiting.ends() == 0
    assert daemon.ctl("wait").returncode == 0


@pytest.mark.fault(23)
def test_start_can_be_told_to_end_what_takes_too_long(daemon: Daemon) -> None:
    daemon.write(APP.replace("self.spawn(self.talk)", "self.async_.sleep(1000)"))
    run = daemon.ctl("start", "--timeout", "3", "--kill-on-timeout")
    assert run.returncode == 75
    assert daemon.ctl("status").returncode == 3


# -- stop


@pytest.mark.fault(84)
@pytest.mark.fault("O21")
def test_stop_works_with_the_application_deleted(daemon: Daemon, shop: Workshop) -> None:
    daemon.ctl("start")
    pid = daemon.pid()
    for name in ("app.py", "app.conf.py"):
        (shop.folder / name).unlink()
    assert daemon.ctl("status").returncode == 0
    assert daemon.ctl("stop").returncode == 0
    assert not Path(f"/proc/{pid}").exists() or wait_gone(pid) is None
    assert daemon.ctl("status").returncode == 3


@pytest.mark.fault("O2")
def test_stop_works_where_do_stop_raises(daemon: Daemon) -> None:
    daemon.write(APP + "\n        def do_stop(self):\n            raise ValueError('no')\n")
    daemon.ctl("start")
    run = daemon.ctl("stop")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("stopped ")


def test_a_blocked_application_is_seen_and_can_be_ended(daemon: Daemon, shop: Workshop) -> None:
    daemon.write(
        """
        import os
        from ginkgo import Service
        from ginkgo.async_ import native

        class App(Service):
            def do_start(self):
                self.spawn_later(0.01, self.block)

            def block(self):
                while not os.path.exists("gate"):
                    self.async_.sleep(0.01)
                print("blocked", flush=True)
                native.sleep(1000)
        """
    )
    daemon.configure('service = "app.App"\nlogfile = "{folder}/app.log"')
    daemon.ctl("start")
    (shop.folder / "gate").touch()
    daemon.says("blocked")
    assert daemon.ctl("status", "--timeout", "2").returncode == 0
    run = daemon.ctl("reload", "--timeout", "0.2")
    assert run.returncode == 75
    assert "its loop may be blocked" in run.stderr
    run = daemon.ctl("stop", "--timeout", "0.5", "--json")
    assert json.loads(run.stdout)["signals"][:2] == ["SIGTERM", "SIGCONT"]
    assert daemon.ctl("status").returncode == 3
    daemon.clear()


# -- restart


@pytest.mark.fault("O3")
def test_restart_is_a_stop_and_then_a_start(daemon: Daemon) -> None:
    port = free_port()
    daemon.write(f"""
        from ginkgo.async_.gevent import StreamServer
        def App():
            return StreamServer(("127.0.0.1", {port}), lambda sock, address: None)
    """)
    daemon.ctl("start")
    for _ in range(3):
        before = daemon.pid()
        run = daemon.ctl("restart", "--json")
        answer = json.loads(run.stdout)
        assert run.returncode == 0, run.stderr
        assert (answer["stop"]["pid"], answer["stop"]["outcome"]) == (before, "stopped")
        assert answer["start"]["outcome"] == "started"
        assert answer["start"]["pid"] == daemon.pid() != before


def test_restart_keeps_how_it_was_started(daemon: Daemon, shop: Workshop) -> None:
    assert shop.ginkgo("-d", "--set", "message=special", "app.conf.py").returncode == 0
    pid = daemon.pid()
    assert shop.run("ginkgoctl", "-p", str(pid), "restart", timeout=60).returncode == 0
    assert daemon.pid() != pid
    (shop.folder / "app.log").write_text("")
    daemon.says("special")


def test_restart_starts_what_does_not_run(daemon: Daemon) -> None:
    run = daemon.ctl("restart")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("started ")


def test_restart_tells_both_halves_where_the_second_fails(daemon: Daemon) -> None:
    daemon.ctl("start")
    pid = daemon.pid()
    daemon.write("raise ValueError('broken since')")
    run = daemon.ctl("restart")
    assert run.returncode == 70
    assert f"(pid {pid}) stopped in" in run.stderr
    assert "broken since" in run.stderr
    assert daemon.ctl("status").returncode == 3


def test_restart_with_a_wrong_configuration_is_refused_and_stops_nothing(daemon: Daemon) -> None:
    daemon.ctl("start")
    pid = daemon.pid()
    daemon.configure(CONF + "\n    shutdown_timeout = 'long'\n    umask = 'x'\n")
    run = daemon.ctl("restart")
    assert run.returncode == 78
    first, *rest = run.stderr.splitlines()
    assert first.startswith("ginkgoctl: the restart of ")
    assert " was refused, nothing was stopped: " in first
    assert "app.conf.py:5: shutdown_timeout must be a number" in run.stderr
    assert "app.conf.py:6: the umask" in run.stderr
    assert rest[-1] == "mend the configuration, and `ginkgoctl app.conf.py restart` again"
    assert (daemon.pid(), daemon.ctl("status").returncode) == (pid, 0)
    daemon.configure(CONF)
    assert daemon.ctl("restart").returncode == 0
    assert daemon.pid() != pid


def test_restart_checks_the_configuration_with_the_options_of_the_start(
    daemon: Daemon, shop: Workshop
) -> None:
    daemon.configure(CONF + "\n    umask = 'x'\n")
    assert shop.ginkgo("-d", "--set", "umask=022", "app.conf.py").returncode == 0
    pid = daemon.pid()
    assert daemon.ctl("restart").returncode == 0
    assert daemon.pid() != pid


# -- reload


def test_reload_takes_the_new_configuration_and_tells_what_changed(daemon: Daemon) -> None:
    daemon.ctl("start")
    daemon.says("one")
    daemon.configure(CONF.replace('"one"', '"two"'))
    run = daemon.ctl("reload")
    assert run.returncode == 0, run.stderr
    assert "changed: message: " in run.stdout
    daemon.says("two")


@pytest.mark.fault(63)
def test_reload_of_a_broken_configuration_changes_nothing(daemon: Daemon, shop: Workshop) -> None:
    daemon.ctl("start")
    pid = daemon.pid()
    daemon.configure(CONF + "\n    message = 7\n")
    run = daemon.ctl("reload")
    assert run.returncode == 78
    assert "app.conf.py:5" in run.stderr
    (shop.folder / "app.log").write_text("")
    daemon.says("one")
    run = daemon.ctl("status")
    assert (run.returncode, daemon.pid()) == (0, pid)
    assert "reload    refused at " in run.stdout


def test_reload_tells_of_a_service_that_could_not(daemon: Daemon) -> None:
    daemon.write(APP + "\n        def do_reload(self):\n            raise ValueError('not now')\n")
    daemon.ctl("start")
    run = daemon.ctl("reload")
    assert run.returncode == 70
    assert "ValueError: not now" in run.stderr


@pytest.mark.fault(107)
def test_a_stop_wins_over_a_reload(daemon: Daemon, shop: Workshop) -> None:
    daemon.write(
        APP
        + """
        def do_reload(self):
            print("reloading")
            self.async_.sleep(1000)
"""
    )
    daemon.ctl("start")
    reload = shop.begin("ginkgoctl", "app.conf.py", "reload")
    daemon.says("reloading")
    run = daemon.ctl("stop", "--json")
    assert json.loads(run.stdout)["outcome"] == "stopped"
    reload.ends()
    assert "Traceback" not in reload.output


# -- the control socket of a real daemon


@pytest.mark.fault(103)
def test_the_socket_of_a_daemon_comes_again(daemon: Daemon, shop: Workshop) -> None:
    daemon.ctl("start")
    [path] = shop.runtime.rglob("control.sock")
    path.unlink()
    eventually(path.exists)
    assert daemon.ctl("status").returncode == 0
    daemon.says("had been removed and was made again")


def test_who_asked_for_what_is_in_the_log(daemon: Daemon) -> None:
    daemon.ctl("start")
    daemon.ctl("reload")
    daemon.says(f"INFO audit: /api/v1/reload asked for by uid {os.geteuid()} (pid ")


@pytest.mark.fault(110)
def test_a_daemon_that_is_stopped_by_a_signal(daemon: Daemon) -> None:
    daemon.ctl("start")
    pid = daemon.pid()
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: " T " in Path(f"/proc/{pid}/stat").read_text())
    run = daemon.ctl("status", "--timeout", "0.2")
    assert run.returncode == 4
    assert "running, not answering (stopped: T)" in run.stdout
    assert daemon.ctl("stop").returncode == 0
    wait_gone(pid, DEADLINE)
