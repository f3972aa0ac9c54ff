"""``ginkgoctl ls``: every instance of this user, whatever state it is in."""

from __future__ import annotations

import json
import os
import signal

from tests.cli.conftest import Start
from tests.workshop import Workshop


def test_every_instance_is_a_line(shop: Workshop, fake: Start) -> None:
    one, two = fake("fake.One"), fake("fake.Two")
    two.tell("trouble App/Db failed")
    run = shop.ctl("ls")
    head, *lines = run.stdout.splitlines()
    assert head.split()[:3] == ["NAME", "STATE", "PID"]
    assert lines[0].split()[:4] == ["●", "fake.One", "ready", str(one.pid)]
    assert lines[1].split()[:4] == ["▲", "fake.Two", "degraded", str(two.pid)]
    assert (run.returncode, len(lines)) == (0, 2)


def test_none_is_no_error_and_says_what_to_do(shop: Workshop) -> None:
    run = shop.ctl("ls")
    assert (run.returncode, run.stdout) == (0, "")
    assert "`ginkgoctl TARGET start`" in run.stderr


def test_one_that_crashed_is_told(shop: Workshop, fake: Start) -> None:
    one = fake("fake.App")
    os.kill(one.pid, signal.SIGKILL)
    one.program.ends()
    assert shop.ctl("ls").stdout.splitlines()[1].split()[:3] == ["✗", "fake.App", "crashed"]
    answer = json.loads(shop.ctl("ls", "--json").stdout)
    assert answer["schema"] == "ginkgo.instances/1"
    (told,) = answer["instances"]
    assert (told["name"], told["state"], told["running"]) == ("fake.App", "crashed", False)
    assert told["folder"] == str(one.folder)
    one.clear()


def test_one_that_does_not_answer_does_not_hide_the_others(shop: Workshop, fake: Start) -> None:
    one, _ = fake("fake.One"), fake("fake.Two")
    os.kill(one.pid, signal.SIGSTOP)
    lines = shop.ctl("ls", "--timeout", "0.2").stdout.splitlines()
    assert lines[1].split()[:4] == ["?", "fake.One", "no", "answer"]
    assert lines[2].split()[:3] == ["●", "fake.Two", "ready"]


def test_a_name_that_it_tells_is_a_target(shop: Workshop, fake: Start) -> None:
    fake("app-1f0c9a2b")
    assert shop.ctl("status", "app-1f0c9a2b").stdout.startswith("app-1f0c9a2b: ready\n")
