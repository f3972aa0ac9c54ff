"""A daemon that is the first process of a container: a pid namespace of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.backends import Ground
from tests.workshop import Program, Workshop, eventually

APP = """
    import os, subprocess, sys
    from ginkgo import Service

    ORPHANS = "for each in 1 2 3 4 5; do (sh -c 'sleep 0.0'$each; exit 9) & done"

    class App(Service):
        ASYNC def do_start(self):
            self.spawn(self.work)

        def work(self):
            for number in range(20):
                subprocess.run(["sh", "-c", ORPHANS])
                status = subprocess.run(["sh", "-c", f"exit {number}"]).returncode
                assert status == number, (status, number)
            print("statuses are right, pid", os.getpid(), "parent", os.getppid())

        ASYNC def do_reload(self):
            print("reloaded")

        ASYNC def do_stop(self):
            print("bye")
"""

PLAIN = "from ginkgo import Service\nclass App(Service):\n    pass\n"


@pytest.fixture(autouse=True)
def _root_only(request: pytest.FixtureRequest) -> None:
    # A container's rights, without a container: only root may make a pid namespace.
    if request.node.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs to be run as root: it makes a pid namespace")


def container(*command: str) -> tuple[str, ...]:
    """The command line that runs a command as pid 1, and kills it with whoever waits for it."""
    return ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *command)


def first_process(program: Program) -> int:
    """The pid, seen from here, of the container's pid 1."""

    def children() -> list[str]:
        path = f"/proc/{program.pid}/task/{program.pid}/children"
        return Path(path).read_text().split()

    eventually(children)
    return int(children()[0])


def zombies_below(pid: int) -> list[str]:
    """The children of a process that have died and were not asked for."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] == "Z":
            found.append(child)
    return found


@pytest.mark.root
@pytest.mark.fault(67)
@pytest.mark.fault(26)
def test_orphans_are_reaped_and_the_statuses_of_its_own_children_are_not_stolen(
    ground: Ground,
) -> None:
    ground.write(APP)
    program = ground.shop.begin(*container("ginkgo", *ground.options, "app.App"))
    (line,) = program.wait_for("^statuses are right")
    assert line.endswith("parent 1")
    first = first_process(program)
    eventually(lambda: not zombies_below(first))
    os.kill(first, signal.SIGHUP)
    program.wait_for("^reloaded$")
    os.kill(first, signal.SIGTERM)
    assert program.ends() == 0
    assert program.lines.count("bye") == 1


@pytest.mark.root
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("raise OSError('no database')", 70),
        ("import os; os._exit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 128 + 9),
    ],
)
def test_the_container_ends_with_the_status_of_the_daemon(
    shop: Workshop, line: str, status: int
) -> None:
    text = (
        f"from ginkgo import Service\nclass App(Service):\n    def do_start(self):\n        {line}"
    )
    shop.write("app.py", text)
    assert shop.run(*container("ginkgo", "app.App")).returncode == status
    for name in ("pid", "instance.json", "control.sock"):  # of one that was killed
        for path in shop.runtime.rglob(name):
            path.unlink()


@pytest.mark.root
@pytest.mark.fault(56)
def test_a_signal_before_there_is_a_tree_ends_it(shop: Workshop) -> None:
    shop.write("app.py", "import time\nprint('imported', flush=True)\ntime.sleep(100)\n")
    program = shop.begin(*container("ginkgo", "app.App"))
    program.wait_for("^imported$")
    os.kill(first_process(program), signal.SIGTERM)
    assert program.ends() == 0


@pytest.mark.root
@pytest.mark.fault(59)
def test_one_ctrl_c_is_one(shop: Workshop) -> None:
    """The kernel gives it to both processes: what pid 1 handed on would be a second one."""
    shop.write("app.py", APP.replace("ASYNC ", ""))
    mine, theirs = os.openpty()
    try:
        at_the_terminal = f"exec setsid --ctty ginkgo app.App <{os.ttyname(theirs)}"
        program = shop.begin(*container("sh", "-c", at_the_terminal))
        program.wait_for("^statuses are right")
        os.write(mine, b"\x03")
        assert program.ends() == 0
    finally:
        os.close(mine)
        os.close(theirs)
    assert program.lines.count("bye") == 1
    assert "second Ctrl+C" not in program.output


@pytest.mark.root
@pytest.mark.parametrize("way", ["-d", "config", "set"])
def test_the_first_process_cannot_go_into_the_background(shop: Workshop, way: str) -> None:
    shop.write("app.py", PLAIN)
    shop.write("app.conf.py", 'service = "app.App"\ndaemon = True\n')
    arguments = {
        "-d": ("-d", "app.App"),
        "config": ("app.conf.py",),
        "set": ("--set", "daemon=True", "app.App"),
    }[way]
    ran = shop.run(*container("ginkgo", *arguments))
    assert ran.returncode == 2
    assert "this is pid 1, the first process of a container" in ran.stderr
    assert "Leave it in the foreground" in ran.stderr


def test_elsewhere_there_is_one_process(shop: Workshop) -> None:
    shop.write("app.py", PLAIN)
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^Starting")
    eventually(lambda: (shop.runtime / "ginkgo" / "app.App" / "pid").exists())
    pid = (shop.runtime / "ginkgo" / "app.App" / "pid").read_text()
    assert int(pid) == program.pid
    eventually(
        lambda: (
            b"ready"
            in subprocess.run(
                ["ginkgoctl", "app.App", "status"],
                env=shop.env,
                cwd=shop.folder,
                capture_output=True,
            ).stdout
        )
    )
    assert program.stops() == 0
