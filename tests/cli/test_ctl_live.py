"""ginkgoctl looks at a real tree and acts on a part of it: what a person sees, and what happens."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.workshop import Program, Workshop, eventually, free_port

from ginkgo.cli.output import span

APP = """
    import logging
    import os
    from ginkgo import Service, Setting
    from ginkgo.async_.gevent import StreamServer

    logger = logging.getLogger("app.db")

    class Worker(Service):
        pass

    class Db(Service):
        rate: int = Setting("rate", default=10, help="Requests a minute")
        password: str = Setting("password", default="canary", secret=True)

        def do_start(self):
            self.spawn(self.watch)
            logger.warning("App/Db: a warning")
            if os.path.exists("talk"):
                logger.warning("%s\\n\\t%s", "\u6f22" * 60, "x " * 60)
                raise OSError("no route to host " * 20)
            if os.path.exists("broken"):
                raise OSError("no route to host")

        def do_reload(self):
            logger.info("App/Db: reloaded, the rate is %d", self.rate)

        def watch(self):
            while not os.path.exists("fail"):
                self.async_.sleep(0.02)
            os.unlink("fail")
            raise OSError("no route to host")

    class App(Service):
        def __init__(self):
            self.add_service(Db(), restart="permanent")
            for _ in range(1000):
                self.add_service(Worker())
            self.add_service(StreamServer("127.0.0.1:{port}", self.handle))

        def do_start(self):
            print("up", flush=True)

        def handle(self, socket, address):
            socket.sendall(b"hello")
"""


@pytest.fixture
def app(shop: Workshop) -> Iterator[Program]:
    """An instance that runs in the foreground: so its log is nowhere but in its memory."""
    shop.write("app.py", APP.replace("{port}", str(free_port())))
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^up$")
    assert shop.ctl("app.App", "wait").returncode == 0
    yield program
    if program.process.poll() is None:
        program.stops()


def lines(run: subprocess.CompletedProcess[str]) -> list[str]:
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def objects(run: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in lines(run)]


def fail(shop: Workshop) -> None:
    """Have the Db fail and be restarted."""
    shop.write("fail", "")
    eventually(lambda: not (shop.folder / "fail").exists())


def test_status_is_the_head_the_tree_and_the_log(shop: Workshop, app: Program) -> None:
    told = lines(shop.ctl("app.App", "status"))
    assert told[0] == "app.App: ready"
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in told[1:] if line[:2] == "  "}
    assert rows["pid"] == str(app.pid)
    assert (rows["backend"], rows["services"]) == ("gevent", "1003")
    assert re.fullmatch(r"[\d.]+ MiB", rows["memory"]) and re.fullmatch(r"[\d.]+ %", rows["cpu"])
    at = told.index("● App  ready")
    assert told[at - 1] == ""
    assert told[at + 1 : at + 4] == [
        "├─ ● Db  ready, 1 task",
        "├─ ● Worker … Worker-1000  ready (1000 alike)",
        "└─ ● StreamServer  ready",
    ]
    assert told[at + 4] == ""
    assert any(line.endswith("WARNING app: App/Db: a warning") for line in told[at + 5 :])


def test_status_says_what_is_wrong_and_why(shop: Workshop, app: Program) -> None:
    shop.write("broken", "")
    run = shop.ctl("app.App", "restart", "App/Db")
    assert run.returncode == 70
    assert "ginkgoctl: the restart of App/Db in app.App failed: OSError: no route" in run.stderr
    assert run.stderr.splitlines()[-1] == "see `ginkgoctl app.App logs --service App/Db`"
    run = shop.ctl("app.App", "status")
    assert run.returncode == 151
    told = run.stdout.splitlines()
    assert told[0].startswith("app.App: ")
    assert told[0] != "app.App: ready"
    (why,) = [line for line in told if line.startswith("    App/Db")]
    assert "OSError: no route to host" in why
    assert any(re.match("├─ ✗ Db  failed", line) for line in told)


def test_one_service_is_restarted_and_the_others_do_not_notice(
    shop: Workshop, app: Program
) -> None:
    (told,) = lines(shop.ctl("app.App", "restart", "App/Db"))
    assert re.fullmatch(r"restarted App/Db of app\.App in [\d.]+ s", told)
    paths = {event["path"] for event in objects(shop.ctl("app.App", "events", "-n4", "--json"))}
    assert paths == {"App/Db"}
    (told,) = lines(shop.ctl("stop", "app.App", "App/Worker-7"))
    assert told.startswith("stopped App/Worker-7 of app.App")
    drawn = lines(shop.ctl("tree", "app.App"))
    assert "├─ ○ Worker-7  stopped" in drawn
    assert "├─ ● Worker-8 … Worker-1000  ready (993 alike)" in drawn
    (told,) = lines(shop.ctl("app.App", "reload", "App/Db"))
    assert told.startswith("reloaded App/Db of app.App")
    app.wait_for("App/Db: reloaded, the rate is 10$")


def test_a_service_that_there_is_not_is_told_with_the_nearest(shop: Workshop, app: Program) -> None:
    run = shop.ctl("app.App", "restart", "App/Bd")
    assert (run.returncode, run.stdout) == (66, "")
    first, second = run.stderr.splitlines()
    assert first.startswith("ginkgoctl: There is no service App/Bd")
    assert second == "Did you mean App/Db?"


def test_a_setting_is_set_for_a_time(shop: Workshop, app: Program) -> None:
    (told,) = lines(shop.ctl("app.App", "set", "rate", "12", "--for", "10m"))
    clock = r"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d"
    first = re.fullmatch(f"rate: 10 -> 12, for 10 min 00 s; back to 10 at ({clock})", told)
    assert first is not None
    (told,) = lines(shop.ctl("app.App", "set", "rate", "11", "--for", "1m"))
    back = f"back to 12 at {clock}, until {first[1]}"
    assert re.fullmatch(f"rate: 12 -> 11, for 1 min 00 s; {back}", told)
    (told,) = lines(shop.ctl("app.App", "set", "rate", "12", "--for", "1h"))
    assert re.fullmatch(f"rate: 11 -> 12, for 1 h 00 min; back to 10 at {clock}", told)
    lines(shop.ctl("app.App", "reload", "App/Db"))
    app.wait_for("App/Db: reloaded, the rate is 12$")
    listed = lines(shop.ctl("app.App", "settings"))
    covers = r"rate +12 +ginkgoctl set until 20\S+Z, covers 10 from default$"
    assert any(re.match(covers, line) for line in listed)
    assert any(re.match(r"password +\*{4} ", line) for line in listed)
    assert "canary" not in "".join(listed)
    assert any(re.match("  for now +set rate", x) for x in lines(shop.ctl("app.App", "status")))
    lines(shop.ctl("app.App", "set", "rate", "13", "--for", "0.1s"))
    app.wait_for("rate is put back, its time is over")
    assert lines(shop.ctl("app.App", "set", "rate", "14")) == ["rate: 12 -> 14, until it ends"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("set rate many", "rate must be a whole number, not 'many'"),
        ("set rat 1", "did you mean rate?"),
        ("set password guess", "password is secret"),
        ("set backend asyncio", "takes effect only at a restart"),
        ("log-level ap.db DEBUG", "there is no logger 'ap.db'"),
        ("log-level app.db LOUD", "LOUD"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_reason(
    shop: Workshop, app: Program, words: str, why: str
) -> None:
    run = shop.ctl("app.App", *words.split())
    assert (run.returncode, run.stdout) == (78, "")
    assert why in run.stderr
    assert "Traceback" not in run.stderr and "guess" not in run.stderr


def test_a_logger_has_another_level_for_a_time(shop: Workshop, app: Program) -> None:
    (told,) = lines(shop.ctl("app.App", "log-level", "app.db", "error", "--for", "1h"))
    level = "the level of app.db: DEBUG -> ERROR, for 1 h 00 min; back to DEBUG at .*:"
    assert re.match(level, told)
    before = len(app.lines)
    lines(shop.ctl("app.App", "restart", "App/Db"))
    assert not [line for line in app.lines[before:] if "a warning" in line]


def test_events_tell_what_happened_and_go_on(shop: Workshop, app: Program) -> None:
    fail(shop)
    follower = shop.begin("ginkgoctl", "app.App", "events", "-f", "--service", "App/Db")
    day = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
    follower.wait_for(day + r"App/Db  failure: task .*OSError: no route to host$")
    follower.wait_for(day + r"App/Db  restart")
    seen = len(follower.lines)
    fail(shop)
    follower.wait_for(day + r"App/Db  restart", count=2)
    assert len(follower.lines) > seen
    assert not [line for line in follower.lines if "Worker" in line]
    (told,) = objects(shop.ctl("app.App", "events", "--json", "--kind", "restart", "-n1"))
    assert (told["schema"], told["kind"], told["path"]) == ("ginkgo.event/1", "restart", "App/Db")
    app.stops()
    assert follower.ends() == 0
    assert follower.lines[-1] == "app.App has ended"


def test_logs_are_filtered_also_in_the_foreground(shop: Workshop, app: Program) -> None:
    (told,) = lines(shop.ctl("app.App", "logs", "--grep", "a warning"))
    assert told.endswith("WARNING app: App/Db: a warning")
    (line,) = objects(shop.ctl("app.App", "logs", "--level", "warning", "--json"))
    assert (line["schema"], line["level"], line["logger"], line["service"]) == (
        "ginkgo.line/1",
        "WARNING",
        "app.db",
        "App/Db",
    )
    follower = shop.begin("ginkgoctl", "app.App", "logs", "-f", "--service", "App/Db", "-n0")
    eventually(lambda: _restarted(shop) and len(follower.lines) > 0)
    assert all("App/Db" in line for line in follower.lines)
    app.stops()
    assert follower.ends() == 0


def _restarted(shop: Workshop) -> bool:
    return shop.ctl("app.App", "restart", "App/Db").returncode == 0


def test_who_reads_no_more_ends_a_follower_that_is_quiet(shop: Workshop, app: Program) -> None:
    command = "ginkgoctl app.App events -f | head -1; echo ${PIPESTATUS[0]}"
    run = shop.run("bash", "-c", command)
    assert run.stderr == ""
    assert len(run.stdout.splitlines()) == 2


def test_top_is_one_picture_where_it_is_no_terminal(shop: Workshop, app: Program) -> None:
    told = lines(shop.ctl("app.App", "top"))
    assert re.match(r"app\.App: ready  pid \d+  up [\d.]+ s  \d\d:\d\d:\d\d$", told[0])
    assert re.match(r"cpu [\d.]+ %  memory [\d.]+ MiB  threads \d+", told[1])
    assert told[3].split() == [
        "SERVICE",
        "STATE",
        "TASKS",
        "CONN",
        "REQ",
        "REQ/S",
        "ERRORS",
        "RESTARTS",
    ]
    assert told[5].split()[:4] == ["●", "Db", "ready", "1"]
    assert len(told) == 8  # a thousand workers are one line
    (frame,) = objects(shop.ctl("app.App", "top", "--json"))
    server = frame["services"][-1]
    assert (frame["schema"], server["path"]) == ("ginkgo.top/1", "App/StreamServer")
    assert (server["connections"], server["requests"]) == (0, 0)


def in_terminal(shop: Workshop, *words: str, until: bytes, size: tuple[int, int]) -> bytes:
    """What a command prints on a terminal of that size, which is closed once `until` was seen."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", size[0], size[1], 0, 0))
    process = subprocess.Popen(
        ["ginkgoctl", *words],
        cwd=shop.folder,
        env=shop.env | {"TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    while until not in seen:
        seen += os.read(master, 4096)
    process.send_signal(2)
    try:
        while data := os.read(master, 4096):
            seen += data
    except OSError:  # EIO: the other end is closed
        pass
    os.close(master)
    assert process.wait(20) == 0
    return seen


def test_top_on_a_terminal_is_drawn_again_and_the_terminal_given_back(
    shop: Workshop, app: Program
) -> None:
    words = ("app.App", "top", "--every", "0.1")
    seen = in_terminal(shop, *words, until=b"0.0", size=(7, 80))
    assert seen.startswith(b"\x1b[?1049h\x1b[?25l\x1b[H")
    assert seen.rstrip().endswith(b"\x1b[?25h\x1b[?1049l") or b"\x1b[?25h\x1b[?1049l" in seen
    frames = re.sub(rb"\x1b\[[?\d;]*[a-zA-Z]", b"", seen.split(b"\x1b[H")[1])
    shown = frames.decode().splitlines()
    assert len(shown) <= 7
    assert max(map(len, shown)) <= 80
    assert shown[-1].strip() == "and 2 more"


def test_at_80_columns_no_line_is_longer(shop: Workshop, app: Program) -> None:
    fail(shop)
    for action in ("tree", "top", "events", "ls"):
        words = [action] if action == "ls" else ["app.App", action]
        run = shop.ctl(*words, env={"COLUMNS": "80"})
        assert [line for line in lines(run) if len(line) > 80] == [], action


def test_a_status_is_as_wide_as_the_terminal(shop: Workshop, app: Program) -> None:
    shop.write("talk", "")
    assert shop.ctl("app.App", "restart", "App/Db").returncode == 70
    for words in (["status"], ["log-level", "app.db", "WARNING", "--for", "1h"], ["status"]):
        run = shop.ctl("app.App", *words, env={"COLUMNS": "80"})
        told = run.stdout.splitlines()
        assert [line for line in told if span(line) > 80 or "\t" in line] == []
    trouble = next(at for at, line in enumerate(told) if line.startswith("    App/Db  "))
    assert re.match("      (no|to) (route|host) ", told[trouble + 1])
    assert "for now" in "".join(told)
    whole = shop.ctl("app.App", "status").stdout  # in a pipe: as it is
    assert f"OSError: {'no route to host ' * 20}".rstrip() in whole
    assert "\u6f22" * 60 in whole and "x " * 59 in whole
    logged = shop.ctl("app.App", "logs", env={"COLUMNS": "80"}).stdout
    assert "\u6f22" * 60 in logged and "x " * 59 in logged


def test_none_of_it_is_coloured_where_that_is_not_wanted(shop: Workshop, app: Program) -> None:
    def seen(*words: str) -> bytes:
        master, slave = pty.openpty()
        env = shop.env | {"TERM": "xterm"}
        subprocess.run(
            ["ginkgoctl", *words], cwd=shop.folder, env=env, stdout=slave, check=True, timeout=20
        )
        os.close(slave)
        told = b""
        try:
            while data := os.read(master, 4096):
                told += data
        except OSError:
            pass
        os.close(master)
        return told

    assert b"\x1b" in seen("app.App", "tree")
    assert b"\x1b" not in seen("app.App", "tree", "--no-color")


def test_what_is_not_running_is_told_with_what_to_do(shop: Workshop) -> None:
    for words in ("tree", "top", "events", "settings", "set rate 1", "log-level a INFO", "logs"):
        run = shop.ctl("app.App", *words.split())
        assert (run.returncode, run.stdout) == (7, "")
        assert run.stderr.startswith("ginkgoctl: app.App is not running")
        assert "`ginkgoctl" in run.stderr.splitlines()[1]
    for words in ("restart App/Db", "stop App/Db", "reload App/Db"):
        assert shop.ctl("app.App", *words.split()).returncode == 7


HEAVY = {"gevent", "greenlet", "asyncio", "h11", "msgspec", "psutil", "logging", "threading"}


@pytest.mark.parametrize("action", ["status", "tree", "ls", "top", "events", "logs", "settings"])
def test_none_of_it_imports_what_is_heavy(shop: Workshop, app: Program, action: str) -> None:
    code = (
        "import sys\nfrom ginkgo.cli.ctl import main\n"
        f"main({[action] if action == 'ls' else ['app.App', action]!r})\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    import sys

    run = shop.run(sys.executable, "-P", "-c", code)
    assert run.returncode == 0
    assert not HEAVY & set(run.stderr.split())
    assert Path(shop.folder, "app.py").exists() and "app" not in run.stderr.split()
