"""``ginkgo new``: the project that it makes is tested, checked and run."""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.workshop import Workshop, free_port

from ginkgo.cli.new import checked, contents


def test_a_new_project_passes_its_test_and_runs(shop: Workshop) -> None:
    made = shop.ginkgo("new", "hello_world")
    assert made.returncode == 0
    assert made.stdout.startswith("hello_world/ is made. Next:\n  cd hello_world\n  ginkgo dev ")
    shop.folder = shop.folder / "hello_world"
    tested = shop.run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", timeout=60)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "1 passed" in tested.stdout
    checked = shop.ginkgo("check", "--strict", "hello_world.conf.py")
    assert checked.returncode == 0, checked.stderr
    port = free_port()
    page = free_port()
    changes = [f"address=127.0.0.1:{port}", f"control=127.0.0.1:{page}"]
    program = shop.begin("ginkgo", "dev", *(word for one in changes for word in ("--set", one)))
    program.wait_for(f"^ginkgo dev: ready in .*; its page is http://127.0.0.1:{page}/")
    with urllib.request.urlopen(f"http://127.0.0.1:{page}", timeout=20) as answer:
        assert b"<title>" in answer.read()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=20) as answer:
        assert answer.read() == b"Hello, World!\n"
    shop.folder.joinpath("hello_world.conf.py").write_text(
        shop.folder.joinpath("hello_world.conf.py").read_text().replace('"Hello"', '"Good day"')
    )
    program.wait_for("^ginkgo dev: ready in ", 2)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=20) as answer:
        assert answer.read() == b"Good day, World!\n"
    assert program.stops() == 0


def test_its_python_compiles_and_its_lines_are_short(shop: Workshop) -> None:
    for name, text in contents("hello").items():
        shop.write(name, text)
    for file in ("hello.py", "hello.conf.py", "test_hello.py"):
        compile((shop.folder / file).read_text(), file, "exec")
        assert (shop.folder / file).read_text().isascii()
        assert max(map(len, (shop.folder / file).read_text().splitlines())) <= 88


def test_no_placeholder_is_left() -> None:
    for name, text in contents("a_b").items():
        assert not re.search(r"\$\w|\{name\}", name + text)


@pytest.mark.parametrize(
    "name", ["Hello", "hello-world", "a.b", "a/b", "1a", "_a", "", "é", "../x"]
)
def test_a_name_that_no_module_can_have_is_refused(shop: Workshop, name: str) -> None:
    ran = shop.ginkgo("new", name)
    assert ran.returncode == 2
    assert "is no name for a module" in ran.stderr
    assert os.listdir(shop.folder) == []


@pytest.mark.parametrize("name", ["json", "class", "ginkgo", "test"])
def test_a_name_that_something_else_has_is_refused(name: str) -> None:
    with pytest.raises(Exception, match="the name of something else in Python"):
        checked(name)


def test_a_better_name_is_proposed(shop: Workshop) -> None:
    ran = shop.ginkgo("new", "Hello-World")
    assert ran.stderr.splitlines()[1] == "what about hello_world?"


def test_what_is_there_already_is_left_alone(shop: Workshop) -> None:
    shop.write("hello/mine.txt", "mine")
    ran = shop.ginkgo("new", "hello")
    assert ran.returncode == os.EX_CANTCREAT
    assert "there is a folder hello already, and it is not empty" in ran.stderr
    assert os.listdir(shop.folder / "hello") == ["mine.txt"]
    shop.write("other", "a file")
    assert shop.ginkgo("new", "other").returncode == os.EX_CANTCREAT
    Path(shop.folder / "empty").mkdir()
    assert shop.ginkgo("new", "empty").returncode == 0


def test_dev_needs_a_target_where_there_is_not_just_one_config_file(shop: Workshop) -> None:
    ran = shop.ginkgo("dev")
    assert ran.returncode == 2
    assert "there is no config file here" in ran.stderr
    shop.write("a.conf.py", "")
    shop.write("b.conf.py", "")
    assert "there are a.conf.py, b.conf.py" in shop.ginkgo("dev").stderr


def test_its_unit_is_one_for_opt(shop: Workshop) -> None:
    unit = contents("hello")["hello.service"]
    assert "ExecStart=/opt/hello/.venv/bin/ginkgo /opt/hello/hello.conf.py\n" in unit
    assert "WorkingDirectory=/opt/hello\n" in unit
    assert "Type=notify" in unit
