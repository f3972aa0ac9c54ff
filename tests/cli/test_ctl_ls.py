"""``ginkgoctl ls``: every instance of this user, whatever state it is in."""

from __future__ import annotations

import json
import os
import signal

import pytest
from tests.cli.conftest import Start
from tests.workshop import Workshop

from ginkgo.cli import listing
from ginkgo.cli.ctl import main


def test_every_instance_is_a_line(shop: Workshop, fake: Start) -> None:
    one, two = fake("fake.One"), fake("fake.Two")
    two.tell("trouble App/Db failed")
    run = shop.ctl("ls")
    head, *lines = run.stdout.splitlines()
    lines = [line for line in lines if " fake." in line]  # root sees those of others too
    assert head.split()[:3] == ["NAME", "STATE", "PID"]
    assert lines[0].split()[:4] == ["●", "fake.One", "ready", str(one.pid)]
    assert lines[1].split()[:4] == ["▲", "fake.Two", "degraded", str(two.pid)]
    assert (run.returncode, len(lines)) == (0, 2)


def test_none_is_no_error_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listing, "instances", list)
    assert main(["ls"]) == 0
    out, err = capsys.readouterr()
    assert (out, "`ginkgoctl TARGET start`" in err) == ("", True)


def test_one_that_crashed_is_told(shop: Workshop, fake: Start) -> None:
    one = fake("fake.App")
    os.kill(one.pid, signal.SIGKILL)
    one.program.ends()
    assert ["✗", "fake.App", "crashed"] in [
        line.split()[:3] for line in shop.ctl("ls").stdout.splitlines()
    ]
    answer = json.loads(shop.ctl("ls", "--json").stdout)
    assert answer["schema"] == "ginkgo.instances/1"
    (told,) = [one for one in answer["instances"] if one["name"] == "fake.App"]
    assert (told["name"], told["state"], told["running"]) == ("fake.App", "crashed", False)
    assert told["folder"] == str(one.folder)
    one.clear()


def test_one_that_does_not_answer_does_not_hide_the_others(shop: Workshop, fake: Start) -> None:
    one, _ = fake("fake.One"), fake("fake.Two")
    os.kill(one.pid, signal.SIGSTOP)
    told = [line.split() for line in shop.ctl("ls", "--timeout", "0.2").stdout.splitlines()]
    assert ["?", "fake.One", "no", "answer"] in [line[:4] for line in told]
    assert ["●", "fake.Two", "ready"] in [line[:3] for line in told]


def test_a_name_that_it_tells_is_a_target(shop: Workshop, fake: Start) -> None:
    fake("app-1f0c9a2b")
    assert shop.ctl("status", "app-1f0c9a2b").stdout.startswith("app-1f0c9a2b: ready\n")


def test_a_lame_duck_is_told(shop: Workshop, fake: Start) -> None:
    fake().tell("stopping lame duck")
    told = [line.split() for line in shop.ctl("ls").stdout.splitlines()]
    assert ["◑", "fake.App", "lame", "duck"] in [line[:4] for line in told]
