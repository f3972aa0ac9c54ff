"""ginkgoctl against instances that run, hang, fail and lie: fakes in processes of their own."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.conftest import Start
from tests.workshop import Workshop, eventually, wait_gone

from ginkgo.control import stopping
from ginkgo.control.manager import need_running
from ginkgo.core.errors import PermissionDenied
from ginkgo.core.events import KINDS
from ginkgo.logs.settings import default_logfile
from ginkgo.process.instances import Found
from ginkgo.process.pids import start_ticks

NEVER_STARTED = "fake.Never"


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


# -- status


@pytest.mark.fault("O20")
def test_status_of_what_is_ready(shop: Workshop, fake: Start) -> None:
    one = fake()
    run = shop.ctl("fake.App", "status")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.splitlines()[0] == "fake.App: ready"
    assert re.search(rf"^  pid +{one.pid}$", run.stdout, re.M)
    assert re.search(r"^  uptime +[\d.]+ s$", run.stdout, re.M)


@pytest.mark.fault("O20")
@pytest.mark.parametrize(
    ("lines", "status", "headline"),
    [
        (["state starting"], 150, "starting"),
        (["state stopping"], 150, "stopping"),
        (["trouble App/Db failed"], 151, "ready, but a service failed"),
        (["state failed"], 151, "failed"),
    ],
)
def test_status_says_what_is_not_as_it_should_be(
    shop: Workshop, fake: Start, lines: list[str], status: int, headline: str
) -> None:
    one = fake()
    for line in lines:
        one.tell(line)
    run = shop.ctl("fake.App", "status")
    assert (run.returncode, run.stdout.splitlines()[0]) == (status, f"fake.App: {headline}")


def test_status_shows_what_is_not_ready(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("state starting")
    one.tell("trouble App/Db starting")
    one.tell("trouble App/Web failed")
    out = shop.ctl("fake.App", "status").stdout
    assert "  not ready:\n    App/Db  starting  it is a test\n" in out
    assert "  failed:\n    App/Web  failed  it is a test\n" in out


@pytest.mark.fault("O20")
def test_status_of_what_does_not_run_is_3(shop: Workshop) -> None:
    run = shop.ctl(NEVER_STARTED, "status")
    assert (run.returncode, run.stdout, run.stderr) == (3, "fake.Never: not running\n", "")


def test_status_as_json_is_one_object(shop: Workshop, fake: Start) -> None:
    one = fake()
    answer = json.loads(shop.ctl("fake.App", "status", "--json").stdout)
    assert answer["schema"] == "ginkgo.status/1"
    assert (answer["state"], answer["running"], answer["pid"]) == ("ready", True, one.pid)
    answer = json.loads(shop.ctl(NEVER_STARTED, "status", "--json").stdout)
    assert (answer["state"], answer["running"], answer["pid"]) == ("stopped", False, None)


def test_status_can_be_quiet(shop: Workshop, fake: Start) -> None:
    fake()
    run = shop.ctl("-q", "fake.App", "status")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.fault(110)
def test_a_stopped_process_is_told_and_not_waited_for(shop: Workshop, fake: Start) -> None:
    one = fake()
    os.kill(one.pid, signal.SIGSTOP)
    eventually(lambda: stopped(one.pid))
    run = shop.ctl("fake.App", "status", "--timeout", "0.2")
    assert run.returncode == 4
    assert run.stdout.splitlines()[0] == "fake.App: running, not answering (stopped: T)"
    assert f"`kill -CONT {one.pid}`" in run.stdout
    answer = json.loads(shop.ctl("fake.App", "status", "--timeout", "0.2", "--json").stdout)
    assert (answer["state"], answer["process_state"]) == ("unknown", "T")


@pytest.mark.fault(103)
def test_without_its_socket_it_is_known_to_run_and_not_how(shop: Workshop, fake: Start) -> None:
    one = fake("fake.App", "no-control")
    run = shop.ctl("fake.App", "status")
    assert run.returncode == 150  # so young that it may be on its way
    assert f"{one.pid}" in run.stdout


@pytest.mark.root
@pytest.mark.fault(101)
def test_another_users_instance_is_unknown(shop: Workshop, fake: Start) -> None:
    one = fake()
    for folder in (shop.folder, *shop.folder.parents[:2], shop.runtime):
        folder.chmod(0o755)
    # The interpreter may lie where nobody else can read: all that is needed is imported before.
    code = (
        "import os, sys; from ginkgo.cli.ctl import main\n"
        "for action in ('status', 'stop', 'reload'): main(['-q', 'fake.Never', action])\n"
        "os.setgroups([]); os.setresgid(*[65534] * 3); os.setresuid(*[65534] * 3)\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    for action, status in (("status", 4), ("stop", 77), ("reload", 77)):
        run = shop.run(sys.executable, "-c", code, "-p", f"{one.pid}", action)
        assert run.returncode == status, run
        assert "not known" in run.stdout + run.stderr
    assert one.process.poll() is None


def test_a_pid_and_a_pidfile_lead_to_the_instance(shop: Workshop, fake: Start) -> None:
    one = fake()
    (shop.folder / "app.pid").write_text(f"{one.pid}\n")
    assert shop.ctl("-p", str(one.pid), "status").stdout.startswith("fake.App: ready\n")
    assert shop.ctl("-p", "app.pid", "status").stdout.startswith("fake.App: ready\n")


@pytest.mark.fault(15)
@pytest.mark.parametrize("action", ["stop", "restart"])
def test_a_pid_that_is_somebody_elses_is_left_alone(shop: Workshop, action: str) -> None:
    other = shop.begin("sleep", "1000")
    (shop.folder / "app.pid").write_text(f"{other.pid}\n")
    for name in (str(other.pid), "app.pid"):
        run = shop.ctl("-p", name, action)
        assert run.returncode == (0 if action == "stop" else 75)
    assert other.process.poll() is None


@pytest.mark.parametrize(
    "name", ["0", "1", "99999999999999999999", "nothere.pid", "/dev/zero", "."]
)
def test_what_is_no_pid_of_ours_is_not_running_or_unknown(shop: Workshop, name: str) -> None:
    run = shop.ctl("-p", name, "status")
    assert run.returncode in (3, 4)
    assert "Traceback" not in run.stderr


# -- stop


@pytest.mark.fault(84)
def test_stop_returns_when_it_is_gone(shop: Workshop, fake: Start) -> None:
    one = fake()
    run = shop.ctl("fake.App", "stop")
    assert one.process.poll() is None or one.program.ends() == 0
    assert re.fullmatch(rf"stopped fake\.App \(pid {one.pid}\) in \d\.\d s\n", run.stdout)
    assert (run.returncode, run.stderr) == (0, "")
    assert one.program.ends(1) == 0


def test_stop_of_the_root_returns_when_it_is_gone(shop: Workshop, fake: Start) -> None:
    one = fake()
    run = shop.ctl("fake.App", "stop", "App")
    assert one.process.poll() is None or one.program.ends() == 0
    assert re.fullmatch(rf"stopped fake\.App \(pid {one.pid}\) in \d\.\d s\n", run.stdout)
    assert (run.returncode, run.stderr) == (0, "")
    assert one.program.ends(1) == 0


def test_stop_of_the_root_of_what_will_not_end_escalates(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("deaf")
    run = shop.ctl("fake.App", "stop", "App", "--timeout", "0.1")
    assert (run.returncode, run.stdout.split()[0]) == (0, "killed")
    one.clear()


# -- advice


ADVICE = {
    "a path without what it begins with": (
        ("restart", "Db"),
        66,
        "There is no service Db: Nothing in the tree has this path",
        "Did you mean App/Db?",
    ),
    "a path like no other": (
        ("stop", "Nope"),
        66,
        "There is no service Nope: Nothing in the tree has this path",
        "`ginkgoctl TARGET tree` shows those that there are",
    ),
    "a service of the log": (
        ("logs", "--service", "Nope"),
        66,
        "There is no service Nope: Nothing in the tree has this path",
        "`ginkgoctl TARGET tree` shows those that there are",
    ),
    "a service of the log that goes on": (
        ("logs", "-f", "--service", "Db"),
        66,
        "There is no service Db: Nothing in the tree has this path",
        "Did you mean App/Db?",
    ),
    "a level": (
        ("logs", "--level", "lots"),
        2,
        "There is no log level 'lots': No line of the log has it",
        "There are debug, info, warning, error, critical",
    ),
    "a kind of event": (
        ("events", "--kind", "bogus"),
        2,
        "argument --kind: there is no kind of event 'bogus'",
        f"there are {', '.join(KINDS)}",
    ),
    "a kind of event that goes on": (
        ("events", "-f", "--kind", "reloads"),
        2,
        "argument --kind: there is no kind of event 'reloads'",
        f"did you mean reload? There are {', '.join(KINDS)}",
    ),
    "a service of the events that go on": (
        ("events", "-f", "--service", "App/Dc"),
        66,
        "There is no service App/Dc: Nothing in the tree has this path",
        "Did you mean App/Db?",
    ),
}


@pytest.mark.parametrize(("words", "status", "what", "do"), ADVICE.values(), ids=ADVICE)
@pytest.mark.parametrize("by", ["target", "pid"])
def test_what_is_misspelt_is_told_with_the_next_command(
    shop: Workshop, fake: Start, by: str, words: tuple[str, ...], status: int, what: str, do: str
) -> None:
    one = fake()
    named = ["fake.App"] if by == "target" else ["-p", str(one.pid)]
    run = shop.ctl(*named, *words)
    assert run.returncode == status
    told = do.replace("TARGET", " ".join(named))
    assert run.stderr.splitlines() == [f"ginkgoctl: {what}", told]


def test_advice_can_be_pasted(shop: Workshop) -> None:
    target = str(shop.folder / "an app.conf.py")
    run = shop.ctl(target, "tree")
    assert run.returncode == 7
    assert run.stderr.splitlines()[1] == f"`ginkgoctl '{target}' start` starts it"
    told = json.loads(shop.ctl(target, "tree", "--json").stderr)
    assert told["error"]["do"] == f"`ginkgoctl '{target}' start` starts it"


def test_who_names_an_instance_that_is_over_is_told_what_starts_it(shop: Workshop) -> None:
    run = shop.ctl("app-8976eab1", "tree")
    assert (run.returncode, run.stderr.splitlines()) == (
        7,
        [
            "ginkgoctl: app-8976eab1 is not running",
            "`ginkgo -d TARGET` starts it, where TARGET is its configuration file",
        ],
    )


def test_of_one_that_crashed_its_configuration_file_is_known(shop: Workshop, fake: Start) -> None:
    one = fake("app-8976eab1")
    os.kill(one.pid, signal.SIGKILL)
    one.program.ends()
    path = one.folder / "instance.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"target": "an app.conf.py", "cwd": "/srv/app"}))
    run = shop.ctl("app-8976eab1", "tree")
    assert run.returncode == 7
    assert run.stderr.splitlines()[1] == "`ginkgoctl '/srv/app/an app.conf.py' start` starts it"
    one.clear()


@pytest.mark.fault(84)
def test_stop_of_what_does_not_run_is_done(shop: Workshop) -> None:
    run = shop.ctl("stop", NEVER_STARTED)
    assert (run.returncode, run.stdout) == (0, "fake.Never is not running\n")


@pytest.mark.fault(103)
def test_stop_falls_back_to_a_signal_and_says_so(shop: Workshop, fake: Start) -> None:
    one = fake("fake.App", "no-control")
    run = shop.ctl("fake.App", "stop")
    assert run.returncode == 0
    assert run.stderr.endswith("; sending SIGTERM instead\n")
    assert one.program.ends() == 0


@pytest.mark.fault(69)
def test_stop_of_a_stopped_process_wakes_it(shop: Workshop, fake: Start) -> None:
    one = fake()
    os.kill(one.pid, signal.SIGSTOP)
    eventually(lambda: stopped(one.pid))
    run = shop.ctl("fake.App", "stop", "--json")
    answer = json.loads(run.stdout)
    assert answer["outcome"] == "stopped"
    assert answer["signals"] == ["SIGTERM", "SIGCONT"]
    assert one.program.ends() == 0


@pytest.mark.fault(84)
@pytest.mark.parametrize("how", [["--timeout", "0.1"], ["--force", "--timeout", "0.1"]])
def test_stop_of_what_will_not_end_escalates_and_tells_what_is_left(
    shop: Workshop, fake: Start, how: list[str]
) -> None:
    one = fake()
    one.tell("deaf")
    one.tell("child")
    code = "import ginkgo.control.stopping as s, sys; s.GRACE = 0.2; "
    code += "from ginkgo.cli.ctl import main; sys.exit(main())"
    run = shop.run(sys.executable, "-c", code, "fake.App", "stop", "--json", *how)
    answer = json.loads(run.stdout)
    assert (run.returncode, answer["outcome"]) == (0, "killed")
    assert answer["signals"] == ["SIGTERM", "SIGCONT", "SIGKILL"]
    assert [child["name"] for child in answer["left"]] == ["sleep"]
    for child in answer["left"]:  # first: it has the output that the other's end is waited for by
        os.kill(child["pid"], signal.SIGKILL)
        wait_gone(child["pid"])
    one.clear()


# -- reload


def test_reload_tells_what_changed(shop: Workshop, fake: Start) -> None:
    one = fake()
    changed = {"name": "rate", "old": "60", "new": "180", "origin": "app.conf.py:3"}
    later = {"name": "port", "old": "1", "new": "2", "origin": None}
    covered = {"name": "size", "old": "3", "new": "4", "origin": "app.conf.py:4"}
    report = {"outcome": "done", "changed": [changed], "needs_restart": [later]}
    report["covered"] = [covered]
    one.tell("report " + json.dumps(report))
    run = shop.ctl("fake.App", "reload")
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        "reloaded fake.App",
        "  changed: rate: 60 -> 180 (app.conf.py:3)",
        "  needs a restart: port: 1 -> 2",
        "  when its `ginkgoctl set` ends: size: 3 -> 4 (app.conf.py:4)",
    ]
    answer = json.loads(shop.ctl("fake.App", "reload", "--json").stdout)
    assert (answer["schema"], answer["changed"]) == ("ginkgo.reload/1", [changed])


@pytest.mark.parametrize(
    ("report", "status", "words"),
    [
        ({"outcome": "refused", "refused": ["app.conf.py:3: no"]}, 78, "app.conf.py:3: no"),
        (
            {"outcome": "failed", "failed": [{"path": "App/Db", "state": "ready", "why": "Oh"}]},
            70,
            "App/Db  ready  Oh",
        ),
        ({"outcome": "busy", "refused": ["App is stopping"]}, 75, "App is stopping"),
    ],
)
def test_reload_tells_why_not(
    shop: Workshop, fake: Start, report: dict[str, object], status: int, words: str
) -> None:
    one = fake()
    one.tell("report " + json.dumps(report))
    run = shop.ctl("fake.App", "reload")
    assert run.returncode == status
    assert words in run.stderr
    run = shop.ctl("fake.App", "reload", "--json")
    assert json.loads(run.stdout)["outcome"] == report["outcome"]
    assert json.loads(run.stderr)["status"] == status


def test_reload_of_what_does_not_run_is_7(shop: Workshop) -> None:
    run = shop.ctl(NEVER_STARTED, "reload")
    assert (run.returncode, run.stdout) == (7, "")
    assert run.stderr.startswith("ginkgoctl: fake.Never is not running\n")


@pytest.mark.fault(103)
def test_reload_falls_back_to_a_signal_and_says_so(shop: Workshop, fake: Start) -> None:
    one = fake("fake.App", "no-control")
    run = shop.ctl("fake.App", "reload")
    assert run.returncode == 0
    assert "sent SIGHUP instead" in run.stderr
    one.program.wait_for("^hangup$")


@pytest.mark.fault(103)
def test_a_reload_during_a_start_is_told_as_that(shop: Workshop, fake: Start) -> None:
    one = fake("fake.App", "no-control", "no-record")
    run = shop.ctl("fake.App", "reload")
    assert run.returncode == 0
    assert f"pid {one.pid} is starting" in run.stderr
    assert "it reloads when it is ready" in run.stderr
    one.program.wait_for("^hangup$")


@pytest.mark.parametrize("action", ["reload", "stop", "wait"])
def test_a_pid_that_means_no_instance_is_told_once(shop: Workshop, action: str) -> None:
    other = shop.begin("sleep", "1000")
    shop.write("garbage.pid", "no number\n")
    nobodys = f"pid {other.pid} (sleep) is not known to be an instance"
    for given, told in ((str(other.pid), nobodys), ("garbage.pid", "garbage.pid holds no pid")):
        run = shop.ctl("-p", given, action)
        said = run.stdout + run.stderr
        assert run.returncode == (0 if action == "stop" else 7)
        assert said.count(told) == 1
        assert "is not running" not in said
        assert "ginkgoctl start" not in said
    assert other.process.poll() is None


def test_root_is_not_told_to_ask_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = Found("unknown", reason="pid 1 (init) is not known to be an instance")
    for uid, asked in ((0, False), (1000, True)):
        monkeypatch.setattr(os, "geteuid", lambda uid=uid: uid)
        with pytest.raises(PermissionDenied) as caught:
            need_running(unseen, "pid 1")
        assert ("as root" in str(caught.value.hint)) is asked


@pytest.mark.fault(110)
def test_reload_of_a_stopped_process_is_not_even_tried(shop: Workshop, fake: Start) -> None:
    one = fake()
    os.kill(one.pid, signal.SIGSTOP)
    eventually(lambda: stopped(one.pid))
    run = shop.ctl("fake.App", "reload", "--timeout", "0.2")
    assert run.returncode == 75
    assert "not answering" in run.stderr
    assert "kill -CONT" in run.stderr


def test_a_reload_that_is_not_done_in_time_is_told_as_that(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("report")
    run = shop.ctl("fake.App", "reload", "--timeout", "0.2")
    assert run.returncode == 75
    assert "is asked for, and not done after 0.2 s" in run.stderr


@pytest.mark.fault(108)
def test_a_reload_goes_on_when_its_client_is_killed(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("report")
    client = shop.begin("ginkgoctl", "fake.App", "reload")
    one.program.wait_for("^reload asked$")
    client.process.kill()
    client.ends()
    assert shop.ctl("fake.App", "status").returncode == 0


# -- wait


def test_wait_returns_when_it_is_ready(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("state starting")
    waiting = shop.begin("ginkgoctl", "fake.App", "wait")
    one.program.wait_for("^wait begun$")
    assert waiting.process.poll() is None
    one.tell("state ready")
    assert waiting.ends() == 0
    assert waiting.lines == [f"fake.App is ready (pid {one.pid})"]


@pytest.mark.parametrize("state", ["failed", "stopping"])
def test_wait_does_not_wait_for_what_will_not_come(shop: Workshop, fake: Start, state: str) -> None:
    one = fake()
    one.tell(f"state {state}")
    run = shop.ctl("fake.App", "wait")
    assert run.returncode == 70
    assert f"fake.App is {state}" in run.stderr


def test_wait_tells_what_it_waited_for_in_vain(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("state starting")
    one.tell("trouble App/Db starting")
    run = shop.ctl("fake.App", "wait", "--timeout", "0.1")
    assert run.returncode == 75
    assert "not ready after 0.1 s: App/Db" in run.stderr


def test_wait_notices_the_end_of_what_it_waits_for(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("state starting")
    waiting = shop.begin("ginkgoctl", "fake.App", "wait")
    one.program.wait_for("^wait begun$")
    one.process.kill()
    assert waiting.ends() == 7
    assert "ended before it was ready" in waiting.output
    one.clear()


@pytest.mark.parametrize("state", ["ready", "starting", "degraded"])
def test_a_lame_duck_is_not_ready(shop: Workshop, fake: Start, state: str) -> None:
    one = fake()
    one.tell("stopping lame duck")
    one.tell(f"state {state}")
    run = shop.ctl("fake.App", "wait", "--for", "ready")
    assert run.returncode == 70
    assert run.stderr.splitlines() == [
        f"ginkgoctl: fake.App is {state}, and about to stop (lame duck): it takes no new work",
        "`ginkgoctl fake.App wait --for stopped` waits for its end",
    ]
    run = shop.ctl("fake.App", "start")
    assert (run.returncode, "about to stop (lame duck)" in run.stderr) == (75, True)


@pytest.mark.fault(79)
@pytest.mark.parametrize("state", ["ready", "degraded"])
def test_the_tree_of_a_lame_duck_and_top_tell_it(shop: Workshop, fake: Start, state: str) -> None:
    one = fake()
    one.tell(f"state {state}")
    one.tell("stopping lame duck")
    root, *below = shop.ctl("fake.App", "tree").stdout.splitlines()
    assert root == f"◑ App  {state}, and about to stop (lame duck)"
    assert [line for line in below if "about to stop" in line] == []
    assert root in shop.ctl("fake.App", "status").stdout.splitlines()
    told = json.loads(shop.ctl("fake.App", "tree", "--json").stdout)
    assert (told["state"], told["stopping"]) == (state, "lame duck")
    head, *_, row, child = shop.ctl("fake.App", "top").stdout.splitlines()
    assert head.startswith(f"fake.App: {state}, and about to stop (lame duck)  pid ")
    assert row.split()[:4] == ["◑", "App", "lame", "duck"]
    assert child.split()[:3] == ["●" if state == "ready" else "▲", "Db", state]
    assert json.loads(shop.ctl("fake.App", "top", "--json").stdout)["stopping"] == "lame duck"
    one.tell("stopping stopping")
    one.tell("state stopping")
    assert shop.ctl("fake.App", "tree").stdout.startswith("◑ App  stopping\n")


def test_wait_for_what_does_not_run_is_7(shop: Workshop) -> None:
    assert shop.ctl(NEVER_STARTED, "wait").returncode == 7


def test_wait_for_stopped(shop: Workshop, fake: Start) -> None:
    one = fake()
    run = shop.ctl("fake.App", "wait", "--for", "stopped", "--timeout", "0.1")
    assert run.returncode == 75
    waiting = shop.begin("ginkgoctl", "fake.App", "wait", "--for", "stopped")
    shop.ctl("fake.App", "stop")
    assert waiting.ends() == 0
    assert waiting.lines == ["fake.App is not running"]
    assert one.program.ends() == 0


# -- log


def test_log_prints_all_of_it(shop: Workshop, fake: Start) -> None:
    path = shop.write("app.log", "one\ntwo\n")
    one = fake(FAKE_LOGFILE=str(path))
    assert shop.ctl("fake.App", "log").stdout == "one\ntwo\n"
    assert shop.ctl("-p", str(one.pid), "log").stdout == "one\ntwo\n"
    lines = shop.ctl("fake.App", "log", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one", "two"]


def test_a_last_line_without_its_end_is_in_the_json_too(shop: Workshop, fake: Start) -> None:
    path = shop.write("app.log", "one\ntwo")
    path.write_text("one\ntwo")
    fake(FAKE_LOGFILE=str(path))
    lines = shop.ctl("fake.App", "log", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one", "two"]
    tail = shop.begin("ginkgoctl", "fake.App", "logtail", "--json")
    tail.wait_for("one")
    assert tail.stops(signal.SIGINT) == 130
    assert [json.loads(line)["text"] for line in tail.lines] == ["one", "two"]


def test_a_log_that_is_only_a_guess_is_told_as_that(shop: Workshop) -> None:
    name = f"Guess{os.getpid()}"
    usual = Path(default_logfile(name))
    usual.write_text("of somebody\n")
    try:
        run = shop.ctl(f"fake.{name}", "log")
        quiet = shop.ctl(f"fake.{name}", "log", "-q")
    finally:
        usual.unlink()
    assert (run.returncode, run.stdout) == (0, "of somebody\n")
    assert f"this is {usual}, which is only the default" in run.stderr
    assert (quiet.stdout, quiet.stderr) == ("of somebody\n", "")


@pytest.mark.fault(143)
def test_a_log_drives_no_terminal_unless_it_is_wanted(shop: Workshop, fake: Start) -> None:
    path = shop.write("app.log", "\x1b]52;c;evil\x07\n")
    fake(FAKE_LOGFILE=str(path))
    assert "\x1b" not in shop.ctl("fake.App", "log").stdout
    assert "\x1b" in shop.ctl("fake.App", "log", "--raw").stdout


@pytest.mark.fault("O19")
def test_logtail_follows(shop: Workshop, fake: Start) -> None:
    path = shop.write("app.log", "one\ntwo\nthree\n")
    fake(FAKE_LOGFILE=str(path))
    tail = shop.begin("ginkgoctl", "fake.App", "logtail", "-n", "2")
    tail.wait_for("^three$")
    with path.open("a") as file:
        file.write("four\n")
    tail.wait_for("^four$")
    assert tail.stops(signal.SIGINT) == 130
    assert tail.lines == ["two", "three", "four"]


def test_log_of_a_foreground_instance_is_where_it_was_started(shop: Workshop, fake: Start) -> None:
    fake()
    run = shop.ctl("fake.App", "log")
    assert run.returncode == 66
    assert "has no log file" in run.stderr


def test_log_of_what_left_no_note_is_not_known(shop: Workshop) -> None:
    run = shop.ctl("app.conf.py", "log")
    assert run.returncode == 66
    assert "not known where it logged" in run.stderr


@pytest.mark.parametrize("digits", ["99999999999999999999", "9" * 5000])
def test_a_number_that_is_no_pid_is_told_as_it_was_given(shop: Workshop, digits: str) -> None:
    run = shop.ctl("-p", digits, "status")
    assert run.returncode == 3
    assert f"why       {digits[:4000]} is not the number of a process" in run.stdout


@pytest.mark.fault(49)
def test_a_reader_that_has_seen_enough_is_no_fault(shop: Workshop, fake: Start) -> None:
    path = shop.write("app.log", "line\n" * 200_000)
    fake(FAKE_LOGFILE=str(path))
    run = shop.run(
        "sh", "-c", "ginkgoctl fake.App log | head -1; ginkgoctl fake.App status | head -1"
    )
    assert (run.stdout, run.stderr) == ("line\nfake.App: ready\n", "")


# -- the environment


@pytest.mark.fault("O21")
def test_the_application_is_not_needed(shop: Workshop, fake: Start) -> None:
    shop.write("app.conf.py", "raise SystemExit('it was imported')")
    name = shop.run(
        sys.executable,
        "-c",
        "from ginkgo.process.places import instance_name; print(instance_name('app.conf.py'))",
    ).stdout.strip()
    fake(name)
    for action, status in (("status", 0), ("reload", 0), ("wait", 0), ("log", 66)):
        run = shop.ctl("app.conf.py", action)
        assert run.returncode == status
        assert "imported" not in run.stderr
    (shop.folder / "app.conf.py").unlink()
    assert shop.ctl("app.conf.py", "status").returncode == 0
    assert shop.ctl("app.conf.py", "stop").returncode == 0


@pytest.mark.fault(150)
def test_nothing_is_imported_from_the_current_folder(shop: Workshop, fake: Start) -> None:
    fake()
    for name in ("logging", "json", "socket", "fake", "h11", "ginkgo", "signal"):
        shop.write(f"{name}.py", f"raise SystemExit('{name} came from the current folder')")
    for action in ("status", "reload", "wait", "stop"):
        run = shop.ctl("fake.App", action)
        assert (run.returncode, run.stderr) == (0, ""), action


def test_status_imports_little(shop: Workshop, fake: Start) -> None:
    fake()
    code = (
        "import sys; from ginkgo.cli.ctl import main; main(['fake.App', 'status']); "
        "print(*sys.modules)"
    )
    loaded = set(shop.run(sys.executable, "-c", code).stdout.split())
    heavy = {
        "gevent",
        "asyncio",
        "h11",
        "msgspec",
        "subprocess",
        "ssl",
        "email",
        "ctypes",
        "psutil",
    }
    assert not heavy & loaded


def test_a_locale_that_lacks_a_character_is_no_fault(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("trouble App/Größe failed")
    env = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    run = shop.ctl("fake.App", "status", env=env)
    assert run.returncode == 151
    assert "App/Gr" in run.stdout
    assert "Traceback" not in run.stderr


def test_ctrl_c_is_quiet(shop: Workshop, fake: Start) -> None:
    one = fake()
    one.tell("state starting")
    waiting = shop.begin("ginkgoctl", "fake.App", "wait")
    one.program.wait_for("^wait begun$")
    assert waiting.stops(signal.SIGINT) == 130
    assert waiting.lines == []


def test_on_a_terminal_the_state_has_a_colour(shop: Workshop, fake: Start) -> None:
    fake()
    for env, escapes in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
        assert (b"\x1b[32mready" in on_terminal(shop, env, "fake.App", "status")) is escapes


def on_terminal(shop: Workshop, env: dict[str, str], *args: str) -> bytes:
    """Run ginkgoctl on a terminal and return what it shows."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        ["ginkgoctl", *args],
        env={**shop.env, "TERM": "xterm", **env},
        stdout=slave,
        stderr=slave,
        stdin=slave,
    )
    os.close(slave)
    shown = b""
    deadline = time.monotonic() + 20
    while select.select([master], [], [], max(0, deadline - time.monotonic()))[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:  # EIO: the other end is closed
            break
    process.wait(20)
    os.close(master)
    return shown


@pytest.mark.parametrize(("asked", "outcome"), [(True, "stopped"), (False, "not running")])
def test_who_ends_before_it_is_held_has_stopped(
    shop: Workshop, fake: Start, asked: bool, outcome: str
) -> None:
    one = fake()
    found = Found("running", one.pid, start_ticks(one.pid), folder=str(one.folder))
    shop.ctl("fake.App", "stop")
    one.program.ends()
    report = stopping.stop(found, "fake.App", 5.0, print, asked=asked)
    assert report["outcome"] == outcome
