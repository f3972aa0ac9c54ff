"""What a shell is told at every TAB."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest
from tests.cli.conftest import Start
from tests.workshop import Workshop

from ginkgo.cli import candidates
from ginkgo.cli.ctl import ACTIONS
from ginkgo.core import events


def complete(shop: Workshop, *words: str, shell: str = "bash") -> list[str]:
    run = shop.ctl("__complete", shell, *words)
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout.splitlines()


def test_actions_and_instances_come_first(shop: Workshop, fake: Start) -> None:
    fake("fake.App")
    shop.write("service.conf.py", "")
    found = complete(shop, "")  # to root also the instances of others
    assert found[: len(ACTIONS)] == [*ACTIONS]
    assert {"fake.App", "service.conf.py"} <= set(found[len(ACTIONS) :])
    assert complete(shop, "sta") == ["start", "status"]
    assert complete(shop, "fa") == ["fake.App"]


def test_the_other_follows_in_both_orders(shop: Workshop, fake: Start) -> None:
    fake("fake.App")
    assert complete(shop, "status", "fa") == ["fake.App"]
    assert complete(shop, "fake.App", "") == list(ACTIONS)
    assert complete(shop, "--json", "fake.App", "w") == ["wait"]
    assert complete(shop, "-p", "12", "w") == ["wait"]
    assert complete(shop, "ls", "") == []


def test_configuration_files_are_found_in_other_folders(shop: Workshop) -> None:
    shop.write("etc/app.conf.py", "")
    shop.write("etc/other.py", "")
    assert complete(shop, "start", "etc/") == ["etc/app.conf.py"]
    assert complete(shop, "start", "nothere/") == []


def test_services_come_from_the_control_socket(shop: Workshop, fake: Start) -> None:
    fake("fake.App")
    for words in (["restart", "fake.App", ""], ["fake.App", "stop", "A"]):
        assert complete(shop, *words) == ["App", "App/Db"]
    assert complete(shop, "fake.App", "events", "--service", "App/") == ["App/Db"]
    assert complete(shop, "fake.App", "status", "") == []


def test_what_does_not_answer_is_not_waited_for(shop: Workshop, fake: Start) -> None:
    one = fake("fake.App")
    os.kill(one.pid, signal.SIGSTOP)
    assert complete(shop, "restart", "fake.App", "") == []
    assert complete(shop, "restart", "fake.Never", "") == []


def test_options_and_their_values(shop: Workshop) -> None:
    assert "--service" in complete(shop, "app", "logs", "--")
    assert complete(shop, "app", "logs", "--level", "W") == ["WARNING"]
    assert complete(shop, "app", "wait", "--for", "st") == ["stopped"]
    assert complete(shop, "app", "log-level", "app.db", "D") == ["DEBUG"]
    assert complete(shop, "completion", "") == ["bash", "zsh", "fish"]


def test_loggers_are_those_that_have_logged_and_those_above_them(
    shop: Workshop, fake: Start
) -> None:
    one = fake("fake.App")
    assert complete(shop, "log-level", "fake.App", "") == ["root"]
    for logger in ("app.db.pool", "lib", "lib", "root"):
        one.tell(f"log {logger}")
    for words in (["log-level", "fake.App"], ["fake.App", "log-level"]):
        assert complete(shop, *words, "") == ["root", "app", "app.db", "app.db.pool", "lib"]
    assert complete(shop, "fake.App", "log-level", "app.d") == ["app.db", "app.db.pool"]


def test_levels_are_offered_as_they_are_typed_and_also_for_a_pid(shop: Workshop) -> None:
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
    for words in (["app", "log-level"], ["log-level", "app"], ["-p", "12", "log-level"]):
        assert complete(shop, *words, "app.db", "") == levels
        assert complete(shop, *words, "app.db", "w") == ["warning"]
        assert complete(shop, *words, "app.db", "debug", "") == []
        assert complete(shop, *words, "app.db", "debug", "--f") == ["--for"]
    assert complete(shop, "app", "logs", "--level", "e") == ["error"]


def test_for_takes_a_state_or_a_time(shop: Workshop) -> None:
    assert complete(shop, "app", "wait", "--for", "") == ["ready", "stopped"]
    assert complete(shop, "app", "log-level", "app.db", "debug", "--for", "") == ["10m", "1h"]
    assert complete(shop, "app", "set", "rate", "10", "--for", "") == ["10m", "1h"]


def test_only_those_options_are_offered_that_the_action_takes(shop: Workshop) -> None:
    found = complete(shop, "stop", "app", "--")
    assert {"--force", "--timeout", "--json"} <= set(found)
    assert not {"--service", "--follow", "--once"} & set(found)
    assert "--service" in complete(shop, "--")


def test_zsh_and_fish_are_told_what_it_is(shop: Workshop) -> None:
    (fish,) = complete(shop, "dum", shell="fish")
    (zsh,) = complete(shop, "dum", shell="zsh")
    assert fish == f"dump\t{ACTIONS['dump'][2]}"
    assert zsh == f"dump:{ACTIONS['dump'][2]}"


@pytest.mark.fault(143)
def test_nothing_is_offered_that_a_shell_would_carry_out(shop: Workshop) -> None:
    shop.write("$(touch evil).conf.py", "")
    shop.write("a b.conf.py", "")
    shop.write("good.conf.py", "")
    found = complete(shop, "start", "")
    assert "good.conf.py" in found
    assert not [word for word in found if "evil" in word or " " in word]


def test_the_script_works_in_bash(shop: Workshop, fake: Start) -> None:
    fake("fake.App")
    script = (
        "source <(ginkgoctl completion bash)\n"
        "COMP_WORDS=(ginkgoctl restart fake.App App/); COMP_CWORD=3; _ginkgoctl\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
        "complete -p ginkgoctl\n"
    )
    run = shop.run("bash", "-c", script)
    assert run.stdout.splitlines() == ["App/Db", "complete -o default -F _ginkgoctl ginkgoctl"]
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_of_its_shell(shop: Workshop, shell: str) -> None:
    run = shop.ctl("completion", shell)
    assert f"ginkgoctl __complete {shell}" in run.stdout
    program = shutil.which(shell)
    if program is not None:  # it reads it without complaint
        subprocess.run([program, "-n"], input=run.stdout, text=True, check=True)


def test_another_shell_is_told_which_there_are(shop: Workshop) -> None:
    run = shop.ctl("completion", "tcsh")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "ginkgoctl: there is no completion for 'tcsh'\none of bash, zsh, fish\n"


def test_the_kinds_of_events_are_those_that_there_are() -> None:
    assert candidates.KINDS == events.KINDS
