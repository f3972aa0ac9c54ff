"""Daemons: how they start, what they hear, and what they leave behind."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.workshop import EVERYTHING, Workshop, eventually, free_port, wait_gone

SERVICE = """
    import logging
    import sys
    from ginkgo import Service, Setting

    logger = logging.getLogger(__name__)

    class App(Service):
        message = Setting("message", default="hello", help="What it says")
        port = Setting("port", default=1, help="Where", restart_required=True)

        def do_start(self):
            print("printed")
            print("complained", file=sys.stderr)
            logger.info("said %s", self.message)

        def do_stop(self):
            logger.info("goodbye")

        def do_reload(self):
            logger.info("now %s", self.message)
"""


@pytest.fixture
def app(shop: Workshop) -> Workshop:
    shop.write("app.py", SERVICE)
    shop.write(
        "app.conf.py",
        f"""
        service = "app.App"
        logfile = "{shop.folder}/app.log"
        message = "hello"
        """,
    )
    return shop


def log_of(shop: Workshop) -> str:
    return (shop.folder / "app.log").read_text()


def pid_of(shop: Workshop) -> int:
    (path,) = shop.runtime.rglob("pid")
    return int(path.read_text())


def test_it_returns_when_the_tree_is_ready(app: Workshop) -> None:
    started = app.ginkgo("-d", "app.conf.py")
    assert started.returncode == 0, started.stderr
    assert "said hello" in log_of(app)
    pid = pid_of(app)
    assert f"pid {pid}" in started.stdout
    assert app.ctl("app.conf.py", "status").returncode == 0
    stopped = app.ctl("app.conf.py", "stop")
    assert stopped.returncode == 0
    assert not os.path.exists(f"/proc/{pid}") or not Path(f"/proc/{pid}/cmdline").read_bytes()
    assert log_of(app).splitlines()[-1].endswith("runner: Stopping.")


def test_what_a_daemon_prints_ends_in_its_log(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    assert "printed\n" in log_of(app)
    assert "complained\n" in log_of(app)
    assert app.ctl("app.conf.py", "stop").returncode == 0


def test_the_setting_daemon_daemonizes(app: Workshop) -> None:
    with (app.folder / "app.conf.py").open("a") as file:
        file.write("import os\ndaemon = bool(os.environ.get('DAEMONIZE', False))\n")
    assert app.ginkgo("app.conf.py", env={"DAEMONIZE": "yes"}).returncode == 0
    assert app.ctl("app.conf.py", "status").returncode == 0
    assert app.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(12)
def test_a_second_start_is_refused_with_the_pid_of_the_first(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    pid = pid_of(app)
    for arguments in (("-d", "app.conf.py"), ("app.conf.py",)):
        second = app.ginkgo(*arguments)
        assert second.returncode == 75
        assert f"already running: pid {pid}" in second.stderr
    assert app.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault("O1")
@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("raise ValueError('no luck')", 70, ["ValueError: no luck", 'broken.py", line 5']),
        ("import os; os._exit(3)", 70, ["ended with status 3"]),
        ("import os; os.kill(os.getpid(), 11)", 70, ["SIGSEGV"]),
        ("self.async_.sleep(1000)", 75, ["do_start did not return within 0.2 s", "Broken"]),
        ("return self.NOT_READY", 75, ["not ready within 0.2 s", "Broken"]),
    ],
)
def test_a_start_that_fails_says_why(
    shop: Workshop, code: str, status: int, words: list[str]
) -> None:
    shop.write(
        "broken.py",
        f"""
        from ginkgo import Service

        class Broken(Service):
            def do_start(self):
                {code}
        """,
    )
    result = shop.ginkgo(
        "-d",
        *("--set", "start_timeout=0.2", "--set", f"logfile={shop.folder}/app.log"),
        "broken.Broken",
    )
    assert result.returncode == status, result.stderr
    for word in words:
        assert word in result.stderr
    assert shop.ctl("broken.Broken", "status").returncode == 3
    for name in ("pid", "instance.json", "control.sock"):  # left by a crash; known to be stale
        for path in shop.runtime.rglob(name):
            assert "_exit" in code or "kill" in code
            path.unlink()


@pytest.mark.fault(63)
@pytest.mark.fault("O4")
@pytest.mark.fault("O11")
def test_sighup_reloads_and_a_broken_config_changes_nothing(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    pid = pid_of(app)
    config = app.folder / "app.conf.py"
    good = config.read_text()
    config.write_text(good.replace('"hello"', '"changed"'))
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: "now changed" in log_of(app))
    config.write_text(good + "this is not python\n")
    os.kill(pid, signal.SIGHUP)
    eventually(lambda: "Reload refused, nothing has changed" in log_of(app))
    assert "app.conf.py:4" in log_of(app)
    status = app.ctl("app.conf.py", "status")
    assert status.returncode == 0
    assert "refused" in status.stdout
    config.write_text(good.replace('message = "hello"\n', ""))
    assert app.ctl("app.conf.py", "reload").returncode == 0
    assert "now hello" in log_of(app)  # its default again
    assert app.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(116)
def test_a_reload_tells_what_changed_and_what_needs_a_restart(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    with (app.folder / "app.conf.py").open("a") as file:
        file.write('message = "other"\nport = 2\n')
    result = app.ctl("app.conf.py", "reload")
    assert result.returncode == 0
    assert "changed: message: 'hello' -> 'other'" in result.stdout
    assert "needs a restart: port: 1 -> 2" in result.stdout
    assert app.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(112)
@pytest.mark.fault("O13")
def test_a_raising_do_reload_is_reported_and_starves_nobody(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import logging
        from ginkgo import Service

        class Child(Service):
            def __init__(self, name):
                self.name = name

            def do_reload(self):
                if self.name == "second":
                    raise ValueError("cannot take it")
                logging.info("reloaded %s", self.name)

        class App(Service):
            def __init__(self):
                for name in ("first", "second", "third"):
                    self.add_service(Child(name))
        """,
    )
    log = ("--set", f"logfile={shop.folder}/app.log")
    assert shop.ginkgo("-d", *log, "app.App").returncode == 0
    result = shop.ctl("app.App", "reload")
    assert result.returncode == 70
    assert "App/second" in result.stderr + result.stdout
    assert "cannot take it" in result.stderr + result.stdout
    assert "reloaded first" in log_of(shop)
    assert "reloaded third" in log_of(shop)
    assert shop.ctl("app.App", "status").returncode == 151
    assert shop.ctl("app.App", "stop").returncode == 0


@pytest.mark.fault(61)
def test_a_hundred_sighups_are_few_reloads(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    pid = pid_of(app)
    config = app.folder / "app.conf.py"
    for number in range(100):
        if number == 99:
            config.write_text(config.read_text().replace('"hello"', '"last"'))
        os.kill(pid, signal.SIGHUP)
    eventually(lambda: "now last" in log_of(app))
    assert app.ctl("app.conf.py", "stop").returncode == 0
    assert log_of(app).count("now ") < 100


@pytest.mark.fault(62)
def test_a_sighup_during_a_start_is_done_when_it_is_ready(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import os
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                print("starting")
                while not os.path.exists("gate"):
                    self.async_.sleep(0.02)
                print("started")

            def do_reload(self):
                print("reloaded")
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^starting$")
    program.signal(signal.SIGHUP)
    assert "reloaded" not in program.output
    shop.write("gate", "")
    program.wait_for("^reloaded$")
    assert program.lines.index("started") < program.lines.index("reloaded")
    assert program.stops() == 0


@pytest.mark.fault(65)
@pytest.mark.fault(45)
def test_sigusr1_reopens_the_log(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    log = app.folder / "app.log"
    log.rename(app.folder / "app.log.1")
    os.kill(pid_of(app), signal.SIGUSR1)
    eventually(log.exists)
    assert app.ctl("app.conf.py", "stop").returncode == 0
    assert "goodbye" in log_of(app)
    assert "goodbye" not in (app.folder / "app.log.1").read_text()


@pytest.mark.fault(64)
def test_a_closed_terminal_stops_a_foreground_process(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                open("up", "w").close()

            def do_stop(self):
                open("stopped", "w").close()
        """,
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(shop.folder)
        os.execvpe("ginkgo", ["ginkgo", "app.App"], shop.env)
    eventually((shop.folder / "up").exists)
    os.close(terminal)
    wait_gone(pid)
    os.waitpid(pid, 0)
    assert (shop.folder / "stopped").exists()


@pytest.mark.fault("O21")
def test_it_is_managed_with_the_application_gone(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    (app.folder / "app.py").unlink()
    (app.folder / "app.conf.py").unlink()
    assert app.ctl("app.conf.py", "status").returncode == 0
    assert app.ctl("app.conf.py", "stop").returncode == 0
    assert app.ctl("app.conf.py", "status").returncode == 3


@pytest.mark.fault("O3")
def test_restart_is_a_stop_and_then_a_start(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    pid = pid_of(app)
    assert app.ctl("app.conf.py", "restart").returncode == 0
    assert pid_of(app) != pid
    text = log_of(app)
    assert text.index("goodbye") < text.rindex("said hello")
    assert app.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(15)
def test_a_reused_pid_is_never_signalled(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    pid = pid_of(app)
    (path,) = app.runtime.rglob("pid")
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
    foreign = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path.write_text(f"{foreign.pid}\n")
    assert app.ctl("app.conf.py", "stop").returncode == 0
    assert app.ctl("-p", str(path), "stop").returncode == 0
    assert foreign.poll() is None
    foreign.communicate(b"\n")
    assert app.ginkgo("-d", "app.conf.py").returncode == 0
    assert app.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(117)
def test_a_secret_is_shown_nowhere(shop: Workshop) -> None:
    canary = "xyzzy-canary-4711"
    shop.write(
        "app.py",
        """
        from ginkgo import Service, Setting

        class App(Service):
            password = Setting("db.password", default="", help="Secret", secret=True)

            def do_start(self):
                assert self.password
        """,
    )
    shop.write(
        "app.conf.py",
        f"""
        service = "app.App"
        logfile = "{shop.folder}/app.log"

        class db:
            password = "{canary}"
        """,
    )
    config = shop.folder / "app.conf.py"
    said = []
    said.append(shop.ginkgo("app.conf.py", "-h"))
    said.append(shop.ginkgo("-d", "app.conf.py"))
    config.write_text(config.read_text().replace(canary, f"{canary}-2"))
    said.append(shop.ctl("app.conf.py", "reload"))
    config.write_text(config.read_text().replace(f'"{canary}-2"', f'["{canary}"]'))
    said.append(shop.ctl("app.conf.py", "reload"))
    said.append(shop.ginkgo("check", "app.conf.py"))
    said.append(shop.ctl("app.conf.py", "status", "--json"))
    said.append(shop.ctl("app.conf.py", "stop"))
    assert [each.returncode for each in said] == [0, 0, 0, 78, 78, 0, 0]
    for each in said:
        assert canary not in each.stdout + each.stderr
    assert canary not in log_of(shop)
    assert "****" in said[0].stdout


def test_the_environment_and_set_win_over_the_file(app: Workshop) -> None:
    result = app.ginkgo("app.conf.py", "-h", env={"GINKGO_MESSAGE": "from outside"})
    assert "'from outside', from environment GINKGO_MESSAGE" in result.stdout
    result = app.ginkgo("--set", "message=Hi", "app.conf.py", "-h")
    assert "'Hi', from --set" in result.stdout


@pytest.mark.fault(113)
@pytest.mark.fault(114)
def test_check_tells_all_that_is_wrong_and_starts_nothing(app: Workshop) -> None:
    app.write(
        "app.conf.py",
        """
        service = "app.App"
        port = "eighty"
        loglevel = 3.5
        mesage = "typo"
        """,
    )
    result = app.ginkgo("check", "app.conf.py")
    assert result.returncode == 78
    assert "app.conf.py:2" in result.stderr
    assert "app.conf.py:3" in result.stderr
    strict = app.ginkgo("check", "--strict", "app.conf.py")
    assert "app.conf.py:4" in strict.stderr
    assert "did you mean message?" in strict.stderr
    assert not list(app.runtime.iterdir())
    assert not (app.folder / "app.log").exists()


@pytest.mark.root
@pytest.mark.fault(137)
@pytest.mark.fault(138)
@pytest.mark.fault("O14")
@pytest.mark.fault("O15")
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_root_becomes_another_user_for_good(shop: Workshop) -> None:
    port = free_port()
    shop.write("everything.py", EVERYTHING)
    shop.write(
        "app.py",
        f"""
        import os
        import everything
        from ginkgo import Service
        from ginkgo.async_.gevent import StreamServer

        class App(Service):
            def __init__(self):
                self.add_service(StreamServer(("127.0.0.1", {port}), self.handle))

            def do_start(self):
                print("uid", os.getuid(), os.geteuid(), "groups", os.getgroups())

            def handle(self, socket, address):
                socket.sendall(b"hello")

            def do_reload(self):
                print("reloaded")
        """,
    )
    shop.write(
        "app.conf.py",
        f"""
        service = "app.App"
        user = "nobody"
        logfile = "{shop.folder}/log/app.log"
        pidfile = "{shop.runtime}/app.pid"
        """,
    )
    (shop.folder / "log").mkdir()
    for path in (shop.folder, *shop.folder.parents):
        if str(path).startswith("/tmp/"):  # where pytest keeps its folders to itself
            path.chmod(0o755)
    shop.runtime.chmod(0o711)
    assert shop.ginkgo("-d", "app.conf.py").returncode == 0
    log = shop.folder / "log" / "app.log"
    assert "uid 65534 65534 groups [65534]" in log.read_text()
    assert log.stat().st_uid == 65534
    pid = int((shop.runtime / "app.pid").read_text())
    status = Path(f"/proc/{pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "NoNewPrivs:\t1" in status
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert client.recv(5) == b"hello"
    assert shop.ctl("app.conf.py", "reload").returncode == 0
    log.rename(shop.folder / "log" / "app.log.1")
    assert shop.ctl("app.conf.py", "status").returncode == 0
    assert shop.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(19)
def test_a_user_that_does_not_exist_is_told_before_anything_happens(app: Workshop) -> None:
    result = app.ginkgo("--set", "user=nosuchuser", "app.conf.py")
    assert result.returncode == 67
    assert "nosuchuser" in result.stderr
    assert not (app.folder / "app.log").exists()


@pytest.mark.fault(135)
def test_a_planted_log_file_is_refused(app: Workshop) -> None:
    canary = app.write("canary", "untouched\n")
    (app.folder / "app.log").symlink_to(canary)
    result = app.ginkgo("-d", "app.conf.py")
    assert result.returncode in (73, 77)
    assert "symbolic link" in result.stderr
    assert canary.read_text() == "untouched\n"


@pytest.mark.fault(150)
def test_a_module_in_the_current_folder_shadows_nothing_of_pythons(app: Workshop) -> None:
    app.write("json.py", "raise SystemExit('shadowed')\n")
    app.write("logging.py", "raise SystemExit('shadowed')\n")
    assert app.ginkgo("-d", "app.conf.py").returncode == 0
    assert app.ctl("app.conf.py", "status").returncode == 0
    assert app.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(110)
def test_a_stopped_daemon_is_told_apart(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    pid = pid_of(app)
    os.kill(pid, signal.SIGSTOP)
    status = app.ctl("app.conf.py", "status", "--timeout", "0.5")
    assert status.returncode == 4
    assert "T" in status.stdout + status.stderr
    stop = app.ctl("app.conf.py", "stop", "--timeout", "0.5")
    assert stop.returncode == 0, stop.stderr
    wait_gone(pid)


def test_many_clients_at_once_find_it_ready(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(app.ctl("app.conf.py", "status").returncode))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 6
    assert app.ctl("app.conf.py", "stop").returncode == 0


def test_the_log_can_be_read_after_the_end(app: Workshop) -> None:
    app.ginkgo("-d", "app.conf.py")
    assert app.ctl("app.conf.py", "stop").returncode == 0
    result = app.ctl("app.conf.py", "log")
    assert result.returncode == 0, result.stderr
    assert "said hello" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("runner: Stopping.")


def test_two_targets_with_classes_of_one_name_have_a_log_each(shop: Workshop) -> None:
    name = f"Twin{os.getpid()}"
    usual, other = Path(f"/tmp/{name}.log"), Path(f"/tmp/two.{name}.log")
    for module in ("one", "two"):
        shop.write(f"{module}.py", SERVICE.replace("class App", f"class {name}"))
    try:
        for _ in range(2):  # in the second round it is known where each of them has logged
            for module, log in (("one", usual), ("two", other)):
                started = shop.ginkgo("-d", f"{module}.{name}", "--set", f"message={module}")
                assert started.returncode == 0, started.stderr
                assert f"[{log}]" in shop.ginkgo(f"{module}.{name}", "-h").stdout
            for module in ("one", "two"):
                assert shop.ctl(f"{module}.{name}", "stop").returncode == 0
        assert "said two" not in usual.read_text()
        assert "said one" not in other.read_text()
        assert usual.read_text().count("said one") == other.read_text().count("said two") == 2
    finally:
        usual.unlink(missing_ok=True)
        other.unlink(missing_ok=True)


def test_lines_that_may_be_of_another_program_are_not_shown_as_its_own(shop: Workshop) -> None:
    name = f"Shared{os.getpid()}"
    usual = Path(f"/tmp/{name}.log")
    theirs = "2025-01-01 10:00:00,000      INFO other: of another project"
    usual.write_text(f"{theirs}\n")
    usual.chmod(0o640)
    shop.write("one.py", SERVICE.replace("class App", f"class {name}"))

    def shown() -> str:
        started = shop.ginkgo("-d", f"one.{name}", "--set", "message=again")
        assert started.returncode == 0, started.stderr
        told = shop.ctl(f"one.{name}", "logs", "-n", "1000").stdout
        told += shop.ctl(f"one.{name}", "status").stdout
        assert shop.ctl(f"one.{name}", "stop").returncode == 0
        return told

    try:
        first = shown()
        assert "of another project" not in first and "said again" in first
        assert theirs in shop.ctl(f"one.{name}", "log").stdout  # it is in the file all the same
        assert "runner: Stopping." in shown()  # of the run before, which is known to have been here
    finally:
        usual.unlink(missing_ok=True)
