"""``ginkgo TARGET`` in the foreground, as a user meets it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest
from tests.workshop import Workshop, free_port

HELLO = """
    from ginkgo import Service

    class HelloWorld(Service):
        def do_start(self):
            self.spawn(self.hello_forever)

        def do_stop(self):
            print("bye")

        def hello_forever(self):
            while True:
                print("Hello World")
                self.async_.sleep(0.05)
"""


@pytest.fixture
def hello(shop: Workshop) -> Workshop:
    shop.write("hello.py", HELLO)
    return shop


def test_lines_appear_at_once_through_a_pipe(hello: Workshop) -> None:
    program = hello.begin("ginkgo", "hello.HelloWorld")
    program.wait_for("^Starting process with hello.HelloWorld...$")
    program.wait_for("^Hello World$", count=3)
    assert program.stops() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_ends_it_in_order_with_status_0(hello: Workshop, number: int) -> None:
    program = hello.begin("ginkgo", "hello.HelloWorld")
    program.wait_for("^Hello World$")
    assert program.stops(number) == 0
    assert "Traceback" not in program.output
    assert program.lines[-2] == "bye"
    assert program.lines[-1].endswith("INFO runner: Stopping.")


@pytest.mark.fault(59)
def test_a_second_ctrl_c_ends_it_now(shop: Workshop) -> None:
    shop.write(
        "slow.py",
        """
        from ginkgo import Service

        class Slow(Service):
            def do_start(self):
                print("up")

            def do_stop(self):
                print("stopping")
                self.async_.sleep(1000)
        """,
    )
    program = shop.begin("ginkgo", "slow.Slow")
    program.wait_for("^up$")
    program.signal(signal.SIGINT)
    program.wait_for("^stopping$")
    assert program.stops(signal.SIGINT) == 130
    assert "second Ctrl+C" in program.output


@pytest.mark.fault(58)
def test_two_sigterms_are_one_stop(shop: Workshop) -> None:
    shop.write(
        "gated.py",
        """
        import os
        from ginkgo import Service

        class Gated(Service):
            def do_start(self):
                print("up")

            def do_stop(self):
                print("stopping")
                while not os.path.exists("gate"):
                    self.async_.sleep(0.02)
                print("stopped once")
        """,
    )
    program = shop.begin("ginkgo", "gated.Gated")
    program.wait_for("^up$")
    program.signal(signal.SIGTERM)
    program.wait_for("^stopping$")
    program.signal(signal.SIGTERM)
    shop.write("gate", "")
    assert program.ends() == 0
    assert program.output.count("stopped once") == 1


@pytest.mark.fault(56)
def test_sigterm_during_a_start_gives_it_up(shop: Workshop) -> None:
    shop.write(
        "slow.py",
        """
        from ginkgo import Service

        class First(Service):
            def do_stop(self):
                print("first stopped")

        class Slow(Service):
            def __init__(self):
                self.add_service(First())

            def do_start(self):
                print("starting")
                self.async_.sleep(1000)
                print("never")
        """,
    )
    program = shop.begin("ginkgo", "slow.Slow")
    program.wait_for("^starting$")
    assert program.stops(signal.SIGTERM) == 0
    assert "first stopped" in program.output
    assert "never" not in program.output


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("nosuch.Thing", 66, ["there is no module 'nosuch'"]),
        ("helo.HelloWorld", 66, ["there is no module 'helo'", "Did you mean hello?"]),
        ("hello.HelloWordl", 66, ["has no 'HelloWordl'", "Did you mean HelloWorld?"]),
        ("hello", 66, ["is not a target", "module.Class"]),
        ("hello.conf.py", 66, ["there is no file", "Did you mean hello.py?"]),
    ],
)
@pytest.mark.fault(3)
def test_a_target_that_is_not_there(
    hello: Workshop, target: str, status: int, words: list[str]
) -> None:
    result = hello.ginkgo(target)
    assert result.returncode == status, result.stderr
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.fault(3)
def test_an_import_error_inside_the_target_shows_the_users_traceback(shop: Workshop) -> None:
    shop.write("broken.py", "import json\nimport nosuchmodule\n")
    result = shop.ginkgo("broken.Thing")
    assert result.returncode == 70
    assert "importing broken (for broken.Thing) raised ModuleNotFoundError" in result.stderr
    assert 'broken.py", line 2' in result.stderr
    assert "importlib" not in result.stderr
    assert "ginkgo/" not in result.stderr


def test_python_2_is_told_line_by_line(shop: Workshop) -> None:
    shop.write(
        "old.py",
        """
        from ginkgo import Service
        from ginkgo.async.gevent import StreamServer

        class Old(Service):
            def hello(self):
                print "Hello"
                self.async.sleep(1)
        """,
    )
    result = shop.ginkgo("old.Old")
    assert result.returncode == 70
    assert "old.py:2" in result.stderr
    assert "ginkgo.async_ instead" in result.stderr
    assert "old.py:6" in result.stderr
    assert "write print(...)" in result.stderr
    assert "old.py:7" in result.stderr
    assert "write .async_ instead" in result.stderr


@pytest.mark.fault(1)
@pytest.mark.fault("O8")
def test_a_taken_port_fails_the_start_and_names_its_holder(shop: Workshop) -> None:
    shop.write(
        "server.py",
        """
        import os
        from ginkgo.async_.gevent import StreamServer

        def Server():
            return StreamServer(("127.0.0.1", int(os.environ["PORT"])), lambda s, a: None)
        """,
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = shop.ginkgo("server.Server", env={"PORT": str(port)})
    assert result.returncode == 69, result.stderr
    assert f"127.0.0.1:{port}" in result.stderr
    assert f"{os.getpid()}" in result.stderr
    assert "StreamServer" in result.stderr


@pytest.mark.fault(7)
def test_a_raising_constructor_starts_nothing(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class Child(Service):
            def __init__(self, number):
                print("made", number)
                if number == 3:
                    raise ValueError("no three")

            def do_start(self):
                print("started")

        class App(Service):
            def __init__(self):
                for number in range(1, 6):
                    self.add_service(Child(number))
        """,
    )
    result = shop.ginkgo("app.App")
    assert result.returncode == 70
    assert "started" not in result.stdout
    assert "made 4" not in result.stdout
    assert "making app.App raised ValueError: no three" in result.stderr
    assert 'app.py", line' in result.stderr


@pytest.mark.fault(8)
def test_a_raising_do_start_is_undone_and_told(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class Child(Service):
            def __init__(self, number):
                self.name = f"child{number}"

            def do_start(self):
                print("start", self.name)
                if self.name == "child3":
                    raise ValueError("no three")

            def do_stop(self):
                print("stop", self.name)

        class App(Service):
            def __init__(self):
                for number in range(1, 6):
                    self.add_service(Child(number))
        """,
    )
    result = shop.ginkgo("app.App")
    assert result.returncode == 70
    assert result.stdout.splitlines()[1:] == [
        "start child1",
        "start child2",
        "start child3",
        "stop child3",
        "stop child2",
        "stop child1",
    ]
    assert "App/child3" in result.stderr
    assert "ValueError: no three" in result.stderr
    assert 'app.py", line 10' in result.stderr


def test_a_failed_task_ends_the_process_with_70_and_the_users_traceback(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class Worker(Service):
            def do_start(self):
                self.spawn(self.work)

            def work(self):
                self.async_.sleep(0.01)
                return 1 / 0

        class App(Service):
            def __init__(self):
                self.add_service(Worker())

            def do_stop(self):
                print("in order")
        """,
    )
    result = shop.ginkgo("app.App")
    assert result.returncode == 70
    assert "in order" in result.stdout
    assert result.stderr.count("Traceback") == 1
    assert "ZeroDivisionError" in result.stderr
    assert "App/Worker: task Worker.work failed" in result.stderr
    assert "ginkgo/async_" not in result.stderr


@pytest.mark.fault(30)
@pytest.mark.parametrize(("code", "status"), [("3", 3), ("", 0), ("'a word'", 1)])
def test_sys_exit_in_a_task_ends_the_process_in_order(
    shop: Workshop, code: str, status: int
) -> None:
    shop.write(
        "app.py",
        f"""
        import sys
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.spawn(self.work)

            def do_stop(self):
                print("in order")

            def work(self):
                sys.exit({code})
        """,
    )
    result = shop.ginkgo("app.App")
    assert result.returncode == status
    assert "in order" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.fault(73)
@pytest.mark.fault("O2")
def test_a_raising_do_stop_stops_the_rest_and_ends_with_70(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        from ginkgo import Service

        class Child(Service):
            def do_stop(self):
                print("child stops")
                raise ValueError("cannot stop")

        class App(Service):
            def __init__(self):
                self.add_service(Child())
                self.add_service(Child())

            def do_start(self):
                print("up")
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^up$")
    assert program.stops() == 70
    assert program.output.count("child stops") == 2
    assert "App/Child-2" in program.output


@pytest.mark.fault(71)
@pytest.mark.fault(74)
def test_the_shutdown_timeout_ends_what_does_not_end(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import time
        from gevent import monkey
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                print("up")

            def do_stop(self):
                print("blocking")
                monkey.get_original("time", "sleep")(1000)  # the whole loop
        """,
    )
    program = shop.begin("ginkgo", "--set", "shutdown_timeout=0.5", "app.App")
    program.wait_for("^up$")
    assert program.stops(signal.SIGTERM) == 75
    assert "had not ended after 0.5 s" in program.output


@pytest.mark.fault(49)
def test_a_closed_pipe_on_stdout_ends_it_cleanly(hello: Workshop) -> None:
    process = subprocess.Popen(
        ["sh", "-c", "ginkgo hello.HelloWorld | head -2"],
        cwd=hello.folder,
        env=hello.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=20)
    assert len(out.splitlines()) == 2
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.fault(24)
def test_closed_standard_descriptors_are_opened_on_dev_null(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import os
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                with open("fds", "w") as file:
                    for number in (0, 1, 2):
                        file.write(os.readlink(f"/proc/self/fd/{number}") + "\\n")
                self.spawn(self.end)

            def end(self):
                raise SystemExit(0)
        """,
    )
    result = shop.run("sh", "-c", "ginkgo app.App 0<&- 1>&- 2>&-")
    assert result.returncode == 0
    assert (shop.folder / "fds").read_text() == "/dev/null\n" * 3


@pytest.mark.fault(66)
def test_signals_without_a_meaning_change_nothing(hello: Workshop) -> None:
    program = hello.begin("ginkgo", "hello.HelloWorld")
    program.wait_for("^Hello World$")
    for number in (signal.SIGUSR2, signal.SIGALRM, signal.SIGPIPE, signal.SIGRTMIN + 3):
        program.signal(number)
    program.wait_for("^Hello World$", count=program.output.count("Hello World") + 3)
    assert program.stops() == 0


@pytest.mark.fault(60)
def test_sigquit_logs_what_everything_does_and_ends(hello: Workshop) -> None:
    program = hello.begin("ginkgo", "hello.HelloWorld")
    program.wait_for("^Hello World$")
    assert program.stops(signal.SIGQUIT) == 0
    assert any(line.lstrip().endswith("in hello_forever") for line in program.lines)


@pytest.mark.fault(54)
def test_a_forked_childs_sigterm_is_not_the_parents(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import os, signal, time
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.spawn(self.work)

            def work(self):
                child = os.fork()
                if child == 0:
                    from gevent import monkey
                    monkey.get_original("time", "sleep")(1000)
                os.kill(child, signal.SIGTERM)
                pid, status = os.waitpid(child, 0)
                print("child ended by", os.WTERMSIG(status))
                for number in range(5):
                    self.async_.sleep(0.02)
                print("parent lives")
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("child ended by 15")
    program.wait_for("parent lives")
    assert program.stops() == 0


def test_the_standard_library_cooperates_unless_told_not_to(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import threading
        from gevent import monkey
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                print("patched", monkey.is_module_patched("socket"))
                self.spawn(self.end)

            def end(self):
                raise SystemExit
        """,
    )
    shop.write("plain.conf.py", 'service = "app.App"\nmonkey_patch = False\n')
    assert "patched True" in shop.ginkgo("app.App").stdout
    assert "patched False" in shop.ginkgo("plain.conf.py").stdout


def test_it_serves_tcp_and_forgets_the_port_at_the_end(shop: Workshop) -> None:
    port = free_port()
    shop.write(
        "server.py",
        f"""
        from ginkgo import Service
        from ginkgo.async_.gevent import StreamServer

        class Server(Service):
            def __init__(self):
                self.add_service(StreamServer(("127.0.0.1", {port}), self.handle))

            def do_start(self):
                print("up")

            def handle(self, socket, address):
                socket.sendall(b"Hello\\n")
        """,
    )
    program = shop.begin("ginkgo", "server.Server")
    program.wait_for("^up$")
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert client.makefile().readline() == "Hello\n"
    assert program.stops() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_usage_and_version(shop: Workshop) -> None:
    assert shop.ginkgo("--version").stdout == "ginkgo 1.0.0.dev0\n"
    result = shop.ginkgo()
    assert result.returncode == 2
    assert "No target was given" in result.stderr
    assert "usage: ginkgo" in shop.ginkgo("-h").stdout
    assert shop.ginkgo("--nosuch").returncode == 2


@pytest.mark.fault(72)
@pytest.mark.fault(85)
@pytest.mark.parametrize(
    "stubborn",
    [
        "threading.Thread(target=time.sleep, args=(1000,)).start()",
        "atexit.register(time.sleep, 1000)",
        "concurrent.futures.ThreadPoolExecutor().submit(time.sleep, 1000)",
    ],
)
def test_what_does_not_end_cannot_keep_the_process(shop: Workshop, stubborn: str) -> None:
    shop.write(
        "app.py",
        f"""
        import atexit, concurrent.futures, threading, time
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                {stubborn}
                print("up")
        """,
    )
    program = shop.begin("ginkgo", "--set", "monkey_patch=false", "app.App")
    program.wait_for("^up$")
    assert program.stops() == 0
    assert program.lines[-1].endswith("Python did not end within 2 s")


@pytest.mark.fault(85)
def test_a_raising_exit_function_changes_nothing(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import atexit
        from ginkgo import Service

        def first():
            print("the other one ran")

        def second():
            raise ValueError("at exit")

        class App(Service):
            def do_start(self):
                atexit.register(first)
                atexit.register(second)
                print("up")
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^up$")
    assert program.stops() == 0
    assert "the other one ran" in program.output
    assert "ValueError: at exit" in program.output


@pytest.mark.fault(67)
def test_the_applications_children_give_it_their_status(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import subprocess, sys
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                for number in range(5):
                    self.spawn(self.run, number)

            def run(self, number):
                code = f"raise SystemExit({number})"
                print("child", number, subprocess.run([sys.executable, "-c", code]).returncode)
        """,
    )
    program = shop.begin("ginkgo", "app.App")
    program.wait_for("^child", count=5)
    assert sorted(line for line in program.lines if line.startswith("child")) == [
        f"child {number} {number}" for number in range(5)
    ]
    assert program.stops() == 0


@pytest.mark.fault(68)
def test_job_control_signals_have_no_other_meaning(hello: Workshop) -> None:
    program = hello.begin("ginkgo", "hello.HelloWorld")
    program.wait_for("^Hello World$")
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        program.signal(number)  # the kernel stops the process, unless its group is orphaned
        program.signal(signal.SIGCONT)
    program.wait_for("^Hello World$", count=program.output.count("Hello World") + 2)
    assert len(hello.marked()) == 1
    assert program.stops() == 0


@pytest.mark.fault(28)
def test_a_notify_socket_that_nobody_reads_harms_nothing(hello: Workshop) -> None:
    for path in (str(hello.folder / "nosuch.sock"), "@ginkgo-nobody-listens", "vsock:2:1"):
        program = hello.begin("ginkgo", "hello.HelloWorld", env={"NOTIFY_SOCKET": path})
        program.wait_for("^Hello World$")
        assert program.stops() == 0


@pytest.mark.fault(72)
@pytest.mark.parametrize("failure", ["raise ValueError('no')", "self.spawn(lambda: 1 / 0)"])
def test_a_failure_ends_the_process_too_whatever_threads_it_has(
    shop: Workshop, failure: str
) -> None:
    shop.write(
        "app.py",
        f"""
        import threading, time
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                threading.Thread(target=time.sleep, args=(1000,)).start()
                {failure}
        """,
    )
    assert shop.ginkgo("--set", "monkey_patch=false", "app.App").returncode == 70
