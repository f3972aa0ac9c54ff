"""How the command line of ginkgoctl is read."""

import json
import re
from pathlib import Path

import pytest

from ginkgo.cli.ctl import ACTIONS, OPTIONS, WITHOUT_TARGET, main, parse
from ginkgo.core.errors import UsageError


@pytest.mark.parametrize(
    "line",
    [
        "service.conf.py reload",
        "reload service.conf.py",
        "--json service.conf.py reload",
        "service.conf.py --json reload",
        "reload --json service.conf.py",
        "reload service.conf.py --json",
    ],
)
def test_the_target_may_stand_on_either_side(line: str) -> None:
    options = parse(line.split())
    assert (options.target, options.action) == ("service.conf.py", "reload")


@pytest.mark.parametrize(
    "line", ["-p 12 status", "status -p 12", "status --pid 12", "--pid=12 status"]
)
def test_a_pid_stands_for_a_target(line: str) -> None:
    options = parse(line.split())
    assert (options.target, options.pid, options.action) == (None, "12", "status")


def test_a_target_that_is_called_like_an_action_is_possible() -> None:
    assert parse(["log", "status"]).target == "log"


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_there_before_the_target_and_behind_it(action: str) -> None:
    target = [] if action in WITHOUT_TARGET else ["a.B"]
    follows = ["x" for name in ACTIONS[action][1].split() if not name.startswith("[")]
    for words in ([*target, action, *follows], [action, *target, *follows]):
        options = parse(words)
        assert (options.action, options.arguments) == (action, follows)
        assert options.target == (target[0] if target else None)


@pytest.mark.parametrize(
    "line", ["a.B restart App/Db", "restart a.B App/Db", "-p 1 restart App/Db"]
)
def test_a_path_may_follow(line: str) -> None:
    options = parse(line.split())
    assert (options.action, options.arguments) == ("restart", ["App/Db"])
    assert options.target == (None if "-p" in line else "a.B")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("30s", 30), ("10m", 600), ("1.5h", 5400), ("1d", 86_400)]
)
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    assert parse(["a.B", "set", "x", "1", "--for", text]).lasting == seconds


def test_the_words_behind_set_are_no_actions() -> None:
    options = parse(["a.B", "set", "stop", "status"])
    assert (options.action, options.arguments) == ("set", ["stop", "status"])
    assert parse(["set", "a.B", "x", "-5"]).arguments == ["x", "-5"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "an action is missing"),
        ("a.B", "an action is missing: what about a.B?"),
        ("conf/app", "an action is missing: what about conf/app?"),
        ("frobnicate", "'frobnicate' is no action"),
        ("a.B stop status", "stop and status are more than one action"),
        ("stop a.B status", "stop and status are more than one action"),
        ("a.B frobnicate", "'frobnicate' is no action"),
        ("status", "status needs a target"),
        ("a.B c.D status", "'a.B c.D' is more than one target"),
        ("a.B status c.D", "is more than one target"),
        ("-p 1 a.B status", "two ways to name one thing"),
        ("--timeout soon a.B wait", "argument --timeout: 'soon' is not a number of seconds"),
        ("--timeout nan a.B wait", "argument --timeout: 'nan' is not a number of seconds"),
        ("-n many a.B logtail", "'many' is not a number of lines"),
        ("-n -1 a.B logtail", "-n"),
        ("--timeout -1 a.B wait", "--timeout"),
        ("--for happiness a.B wait", "happiness"),
        ("--nosuch a.B wait", "--nosuch"),
        ("a.B set x 1 --for soon", "argument --for: 'soon' is no time"),
        ("a.B set x 1 --for -1s", "--for"),
        ("a.B set x", "set needs VALUE"),
        ("a.B log-level", "log-level needs LOGGER and LEVEL"),
        ("a.B set x 1 2", "set takes NAME VALUE, and not 'x 1 2'"),
        ("a.B restart App/Db App/Web", "restart takes [PATH]"),
        ("ls a.B", "ls takes no target, and not 'a.B'"),
        ("a.B ls", "a.B"),
        ("completion", "completion needs SHELL"),
    ],
)
def test_what_makes_no_sense_is_told(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(line.split())
    assert message in str(caught.value)
    assert caught.value.hint


VALUES = {
    "--for": "10m",
    "--lines": "0",
    "--service": "App/Db",
    "--level": "error",
    "--grep": "x",
    "--kind": "set",
    "--every": "0",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_an_action_does_not_take_is_refused(option: str) -> None:
    for action, (_, follows, _) in ACTIONS.items():
        words = [action] if action in WITHOUT_TARGET else ["a.B", action]
        words += ["x" for name in follows.split() if not name.startswith("[")]
        words += [option, *([VALUES[option]] if option in VALUES else [])]
        if action == "wait" and option == "--for":
            words[-1] = "stopped"
        if action in OPTIONS[option]:
            assert parse(words).action == action
            continue
        with pytest.raises(UsageError, match=f"^{action} takes no {option}$") as caught:
            parse(words)
        assert caught.value.hint


def test_the_page_has_which_option_is_for_which_action() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text()
    table = page.partition("## ginkgoctl")[2].partition("Its options:")[2]
    told: dict[str, set[str]] = {}
    for options, actions, _ in re.findall(r"^\| (`-.*?) \| (`.*?) \| (.*) \|$", table, re.M):
        for option in re.findall(r"`(-[-\w]+)", options):
            name = {"-n": "--lines", "-f": "--follow"}.get(option, option)
            told.setdefault(name, set()).update(re.findall(r"`(.*?)`", actions))
    assert told == {name: set(actions) for name, actions in OPTIONS.items()}


@pytest.mark.parametrize("action", ["stop", "restart", "reload"])
@pytest.mark.parametrize("named", ["a.B", "-p 12"])
def test_a_service_to_act_on_is_no_option(action: str, named: str) -> None:
    with pytest.raises(UsageError, match=f"^{action} takes no --service$") as caught:
        parse([*named.split(), action, "--service", "App/Db"])
    assert f"`ginkgoctl {named} {action} App/Db`" in str(caught.value.hint)


@pytest.mark.parametrize("action", ["stop", "restart"])
def test_one_service_is_not_stopped_by_force(action: str) -> None:
    with pytest.raises(UsageError, match=f"^{action} takes no --force with the path"):
        parse(["a.B", action, "App/Db", "--force"])


@pytest.mark.parametrize("line", ["-p 1 ls", "-p 1 completion bash"])
def test_what_takes_no_target_takes_no_pid(line: str) -> None:
    with pytest.raises(UsageError, match="takes no target"):
        parse(line.split())


def test_what_is_not_given_has_its_usual_value() -> None:
    assert (parse(["a.B", "logs"]).lines, parse(["a.B", "top"]).every) == (20, 2.0)


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a.B"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", "ginkgoctl: an action is missing: what about a.B?")


def test_errors_are_json_too_where_json_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a.B", "--json"]) == 2
    answer = json.loads(capsys.readouterr().err)
    assert answer["schema"] == "ginkgo.error/1"
    assert (answer["error"]["what"], answer["status"]) == (
        "an action is missing: what about a.B?",
        2,
    )


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_the_version_is_told(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert capsys.readouterr().out.startswith("ginkgoctl ")


def test_help_begins_as_the_manual_says(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["-h"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: ginkgoctl [-h] [-v] [-p PID]")
    assert "{start,stop,restart,reload,status," in out
    assert "pid or pidfile to use instead of target" in out


@pytest.mark.parametrize(
    "given",
    [
        "app.App set db.host -x",
        "set app.App db.host -x",
        "app.App set --for 10m db.host --xy",
    ],
)
def test_a_value_that_begins_with_a_dash_is_told_its_place(given: str) -> None:
    *rest, value = given.split()
    with pytest.raises(UsageError) as wrong:
        parse(given.split())
    command = f"ginkgoctl {' '.join(rest)} -- {value}"
    assert wrong.value.hint == f"a value that begins with a dash stands behind --: {command}"
    options = parse([*rest, "--", value])
    assert (options.action, options.arguments) == ("set", ["db.host", value])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["", "status"], "the target of status is empty"),
        (["status", ""], "the target of status is empty"),
        (["-p", "", "stop"], "-p is empty"),
        (["a.B", "stop", ""], "the PATH of stop is empty"),
        (["a.B", "set", "", "5"], "the NAME of set is empty"),
        (["a.B", "log-level", "", "DEBUG"], "the LOGGER of log-level is empty"),
        (["a.B", "log-level", "app", ""], "the LEVEL of log-level is empty"),
        (["completion", ""], "the SHELL of completion is empty"),
        (["a.B", "logs", "--service", ""], "--service is empty"),
        (["a.B", "wait", "--for", ""], "--for is empty"),
    ],
)
def test_what_is_empty_names_nothing(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert str(caught.value) == message
    assert caught.value.hint == "a shell variable that is not set may be why"


def test_an_empty_value_is_one() -> None:
    assert parse(["a.B", "set", "message", ""]).arguments == ["message", ""]


def test_more_lines_than_an_instance_keeps_are_refused_by_the_options_name() -> None:
    for action in ("logs", "events"):
        with pytest.raises(UsageError, match=r"^argument -n/--lines: 1001 is more than the 1000 "):
            parse(["a.B", action, "-n", "1001"])
        assert parse(["a.B", action, "-n", "1000"]).lines == 1000
    assert parse(["a.B", "logtail", "-n", "1001"]).lines == 1001
