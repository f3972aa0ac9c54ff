"""``ginkgoctl shell``: a prompt inside a process that wants one, on every backend."""

from __future__ import annotations

import json
import os
import pty
import signal
import stat
import subprocess

import pytest
from tests.workshop import Program, Workshop

APP = """
    import os
    import time
    from ginkgo import Service

    class Db(Service):
        host = "db.example.com"

    class App(Service):
        def __init__(self):
            self.add_service(Db())

        def do_start(self):
            self.spawn(self.block)
            print("up", flush=True)

        {async_}def block(self):
            while not os.path.exists("block"):
                {await_}self.async_.sleep(0.02)
            print("blocked", flush=True)
            while os.path.exists("block"):
                pass
            print("free", flush=True)
"""
BACKENDS = ["gevent", "asyncio", "threading"]


def begin(shop: Workshop, backend: str, *words: str) -> Program:
    marks = ("async ", "await ") if backend == "asyncio" else ("", "")
    shop.write("app.py", APP.replace("{async_}", marks[0]).replace("{await_}", marks[1]))
    program = shop.begin("ginkgo", "--backend", backend, *words, "app.App")
    program.wait_for("^up$")
    return program


def shell(shop: Workshop, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ginkgoctl", "app.App", "shell", *words],
        cwd=shop.folder,
        env=shop.env,
        input=text,
        capture_output=True,
        text=True,
        timeout=20,
    )


def test_it_is_closed_unless_the_setting_says_otherwise(shop: Workshop) -> None:
    program = begin(shop, "gevent")
    run = shell(shop, "1 + 1\n")
    assert (run.returncode, run.stdout) == (69, "")
    assert run.stderr.splitlines() == [
        f"ginkgoctl: app.App (pid {program.pid}) has no backdoor",
        "`backdoor = True` in its configuration opens one, from its next start on",
    ]
    assert not (shop.runtime / "ginkgo/app.App/backdoor.sock").exists()
    assert program.stops() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_typed_is_carried_out_inside(shop: Workshop, backend: str) -> None:
    program = begin(shop, backend, "--set", "backdoor=True")
    program.wait_for("A backdoor is open")
    socket = shop.runtime / "ginkgo/app.App/backdoor.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    run = shell(
        shop,
        'db = find("App/Db")\ndb.host\nfor n in range(2):\n    print(n, db.path)\n\n'
        "import os; os.getpid()\n1 / 0\nx +\ndb.state.current\n",
    )
    assert (run.returncode, run.stderr) == (0, "")
    lines = run.stdout.splitlines()
    assert lines[:4] == ["'db.example.com'", "0 App/Db", "1 App/Db", str(program.pid)]
    assert 'File "<shell>", line 1, in <module>' in lines[5]
    assert lines[6] == "ZeroDivisionError: division by zero"
    assert [line for line in lines if line.startswith("SyntaxError")]
    assert lines[-1] == "'ready'"
    program.wait_for(r"shell: uid \d+ \(pid \d+, ginkgoctl\) has come in")
    program.wait_for("has left")
    assert program.stops() == 0
    assert not socket.exists()


@pytest.mark.parametrize("word", ["exit()", "quit()", "exit(3)", "import sys; sys.exit(3)"])
def test_who_leaves_leaves_the_process_alone(shop: Workshop, word: str) -> None:
    program = begin(shop, "threading", "--set", "backdoor=True")
    run = shell(shop, f"'here'\n{word}\n'still here'\n")
    assert (run.returncode, run.stdout, run.stderr) == (0, "'here'\n", "")
    assert shell(shop, "import sys; sys.stdin.closed\nexit\n").stdout.splitlines() == [
        "False",
        "exit() or Ctrl+D leaves the shell; the process goes on",
    ]
    assert program.stops() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_answers_while_the_loop_is_blocked(shop: Workshop, backend: str) -> None:
    program = begin(shop, backend, "--set", "backdoor=True")
    shop.write("block", "")
    program.wait_for("^blocked$")
    run = shell(shop, 'root.path\nimport os; os.unlink("block")\n')
    assert run.stdout == "'App'\n"
    program.wait_for("^free$")
    assert program.stops() == 0


def test_a_service_is_restarted_from_there_and_calls_go_to_the_loop(shop: Workshop) -> None:
    program = begin(shop, "gevent", "--set", "backdoor=True")
    run = shell(shop, 'find("App/Db").restart()\ncall(print, "called in the loop")\n')
    assert (run.returncode, run.stdout) == (0, "")
    program.wait_for("^called in the loop$")  # and not into the shell
    told = shop.ctl("app.App", "events", "--service", "App/Db", "-n1", "--json").stdout
    assert json.loads(told)["state"] == "ready"
    assert program.stops() == 0


def test_json_is_a_line_for_each_statement(shop: Workshop) -> None:
    program = begin(shop, "gevent", "--set", "backdoor=True")
    run = shell(shop, "1 + 1\nx = 5\n", "--json")
    assert [json.loads(line) for line in run.stdout.splitlines()] == [
        {"schema": "ginkgo.shell/1", "source": "1 + 1\n", "output": "2\n"},
        {"schema": "ginkgo.shell/1", "source": "x = 5\n", "output": ""},
    ]
    assert program.stops() == 0


@pytest.mark.parametrize("end", ["Ctrl+D", "the process's"])
def test_on_a_terminal_it_has_prompts_and_hears_of_the_end(shop: Workshop, end: str) -> None:
    program = begin(shop, "gevent", "--set", "backdoor=True")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["ginkgoctl", "app.App", "shell"],
        cwd=shop.folder,
        env=shop.env | {"TERM": "dumb"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""

    def wait_for(text: bytes) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(master, 4096)
        seen = seen.partition(text)[2]

    wait_for(b"This is inside app.App")
    wait_for(b"\n  root, settings  ")
    wait_for(b"\n  find(path)  ")
    wait_for(b"\n  call(function)  ")
    wait_for(b">>> ")
    os.write(master, b"if root:\n")
    wait_for(b"... ")
    os.write(master, b"    6 * 7\n\n")
    wait_for(b"42")
    wait_for(b">>> ")
    if end == "Ctrl+D":
        os.write(master, b"\4")
        assert process.wait(20) == 0
        os.close(master)
        assert program.stops() == 0
        return
    assert program.stops() == 0
    os.write(master, b"1\n")
    wait_for(b"app.App has ended")
    assert process.wait(20) == 0
    os.close(master)


def test_many_may_come_in_and_none_sees_the_output_of_another(shop: Workshop) -> None:
    program = begin(shop, "gevent", "--set", "backdoor=True")
    slow = shop.piped("ginkgoctl", "app.App", "shell")
    assert slow.stdin is not None and slow.stdout is not None
    wait = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\n\n"
    slow.stdin.write(f"print('slow')\n{wait}print('over')\n")
    slow.stdin.flush()
    assert slow.stdout.readline() == "slow\n"
    assert shell(shop, "print('quick')\n").stdout == "quick\n"
    shop.write("go", "")
    assert slow.stdout.readline() == "over\n"
    slow.stdin.close()
    assert slow.wait(20) == 0
    slow.stdout.close()
    assert program.stops() == 0


def test_a_process_that_is_stopped_is_told_before_anything_is_typed(shop: Workshop) -> None:
    program = begin(shop, "gevent", "--set", "backdoor=True")
    program.wait_for("A backdoor is open")
    program.signal(signal.SIGSTOP)
    try:
        run = shell(shop, "1 + 1\n", "--timeout", "0.2")
    finally:
        program.signal(signal.SIGCONT)
    assert (run.returncode, run.stdout) == (75, "")
    assert run.stderr.splitlines() == [
        f"ginkgoctl: pid {program.pid} is running, but not answering for 0.2 s "
        "(stopped by a signal: T)",
        f"`kill -CONT {program.pid}` lets it go on",
    ]
    assert program.stops() == 0


def test_a_statement_that_is_too_long_is_not_sent(shop: Workshop) -> None:
    program = begin(shop, "gevent", "--set", "backdoor=True")
    program.wait_for("A backdoor is open")
    run = shell(shop, f"x = {'a' * 2_000_000!r}\n6 * 7\n")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == (
        "ginkgoctl: a statement of more than 1 MiB was not sent\n"
        "put it into a file, and open that there\n"
    )
    assert program.stops() == 0
