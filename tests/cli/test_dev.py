"""``ginkgo dev``: real processes that are run anew when their files change."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import stat
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.cli.backends import Ground
from tests.workshop import Program, Workshop, eventually, free_port

MODULES = {"gevent": "gevent", "asyncio": "asyncio", "uvloop": "asyncio", "threading": "threading"}

APP = """
    import helper
    from ginkgo import Service
    from ginkgo.async_.{module} import WSGIServer

    class App(Service):
        def __init__(self):
            self.add_service(WSGIServer({address!r}, self.answer))

        def answer(self, environ, start_response):
            start_response("200 OK", [])
            return [helper.TEXT]
"""


def get(port: int) -> bytes:
    """What is answered, or b"" by a server that hangs up."""
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client.makefile("rb").read().rpartition(b"\r\n\r\n")[2]


def write_app(shop: Workshop, address: str, module: str = "gevent") -> None:
    shop.write("app.py", APP.format(address=address, module=module))
    shop.write("helper.py", "TEXT = b'one'\n")


def begin(shop: Workshop, *options: str, target: str = "app.App") -> Program:
    program = shop.begin("ginkgo", "dev", *options, target)
    program.wait_for("^ginkgo dev: ready in ")
    return program


@contextmanager
def visitors(port: int) -> Iterator[list[list[bytes | Exception]]]:
    """Two clients that ask again and again; yields what each of them was answered."""
    answers: list[list[bytes | Exception]] = [[], []]
    over = threading.Event()

    def visit(mine: list[bytes | Exception]) -> None:
        while not over.is_set():
            try:
                mine.append(get(port))
            except Exception as error:
                mine.append(error)

    threads = [threading.Thread(target=visit, args=(each,)) for each in answers]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_nobody_is_refused_while_it_is_run_anew(ground: Ground) -> None:
    port = free_port()
    write_app(ground.shop, f"127.0.0.1:{port}", MODULES[ground.name])
    program = begin(ground.shop, *ground.options)
    with visitors(port) as answers:
        eventually(lambda: all(b"one" in each for each in answers))
        ground.shop.write("helper.py", "TEXT = b'two'\n")
        eventually(lambda: all(b"two" in each for each in answers))
    for mine in answers:
        assert not [each for each in mine if isinstance(each, Exception)]
        assert mine == sorted(mine)  # first the old code answers, and then the new one
    assert program.stops() == 0
    assert "killed" not in program.output
    assert "ginkgo dev: helper.py changed" in program.lines


@pytest.mark.parametrize("target", ["nope.Nope", "apq.App", "app"])
def test_what_can_never_appear_is_not_waited_for(shop: Workshop, target: str) -> None:
    write_app(shop, "127.0.0.1:0")
    run = shop.ginkgo("dev", target)
    plain = shop.ginkgo(target)
    assert run.returncode == plain.returncode == 66
    assert run.stderr.splitlines()[1:] == plain.stderr.splitlines()
    assert "Waiting" not in run.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("class App:\n  if:\n", "invalid syntax"),
        ("import nope\n", "No module named 'nope'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("class Apq: pass\n", "Did you mean Apq"),
    ],
    ids=["a syntax error", "an import", "an exception", "another name"],
)
def test_what_can_be_mended_is_waited_for(shop: Workshop, text: str, told: str) -> None:
    shop.write("app.py", text)
    program = shop.begin("ginkgo", "dev", "app.App")
    program.wait_for("Waiting for a change")
    assert told in program.output
    write_app(shop, f"127.0.0.1:{free_port()}")
    program.wait_for("^ginkgo dev: ready in ")
    assert program.stops() == 0


def test_a_syntax_error_is_shown_and_the_tree_before_it_serves_on(shop: Workshop) -> None:
    port = free_port()
    write_app(shop, f"127.0.0.1:{port}")
    program = begin(shop)
    shop.write("helper.py", "TEXT = b'two'\nif:\n")
    program.wait_for("Waiting for a change")
    assert re.search(r"helper\.py:2:3: invalid syntax\n +if:\n +\^", program.output)
    assert "The one before goes on serving." in program.output
    assert "Traceback" not in program.output
    assert get(port) == b"one"
    shop.write("helper.py", "TEXT = b'two'\n")
    program.wait_for("^ginkgo dev: ready in ", 2)
    assert get(port) == b"two"
    assert program.stops() == 0


def test_what_is_broken_from_the_beginning_is_waited_for(shop: Workshop) -> None:
    port = free_port()
    write_app(shop, f"127.0.0.1:{port}")
    os.unlink(shop.folder / "helper.py")
    program = shop.begin("ginkgo", "dev", "app.App")
    program.wait_for("Waiting for a change")
    assert "No module named 'helper'" in program.output
    shop.write("helper.py", "TEXT = b'mended'\n")
    program.wait_for("^ginkgo dev: ready in ")
    assert get(port) == b"mended"
    shop.write("unused.py", "")
    shop.write("helper.py", "TEXT = b'two'\n")
    program.wait_for("^ginkgo dev: ready in ", 2)
    assert "unused.py" not in program.output
    assert program.stops() == 0


def test_who_connects_while_it_cannot_start_waits_until_it_is_mended(shop: Workshop) -> None:
    port = free_port()
    write_app(shop, f"127.0.0.1:{port}")
    program = begin(shop)
    app = (shop.folder / "app.py").read_text()
    (shop.folder / "app.py").write_text(app + "\n    def do_start(self):\n        1 / 0\n")
    program.wait_for("Waiting for a change")
    assert "ZeroDivisionError" in program.output
    with visitors(port) as answers:
        (shop.folder / "app.py").write_text(app)
        eventually(lambda: all(answers))
    assert {each for mine in answers for each in mine} == {b"one"}
    assert program.stops() == 0


def test_only_what_was_imported_counts(shop: Workshop) -> None:
    write_app(shop, "127.0.0.1:0")
    shop.write("other.py", "1\n")
    program = begin(shop)
    shop.write("other.py", "2\n")
    shop.write("helper.py", "TEXT = b'two'\n")
    program.wait_for("^ginkgo dev: ready in ", 2)
    assert [line for line in program.lines if line.endswith("changed")] == [
        "ginkgo dev: helper.py changed"
    ]
    assert program.stops() == 0


def test_what_is_imported_late_counts_too(shop: Workshop) -> None:
    port = free_port()
    app = APP.replace("return [helper.TEXT]", "import late; return [late.TEXT]")
    shop.write("app.py", app.format(address=f"127.0.0.1:{port}", module="threading"))
    shop.write("helper.py", "")
    shop.write("late.py", "TEXT = b'one'\n")
    program = begin(shop, "--backend", "threading")
    assert get(port) == b"one"
    shop.write("late.py", "TEXT = b'two'\n")
    program.wait_for("^ginkgo dev: ready in ", 2)
    assert get(port) == b"two"
    assert program.stops() == 0


def test_the_config_file_counts_and_what_it_says_of_daemons_does_not(shop: Workshop) -> None:
    shop.write("app.py", SAYS)
    config = "service = 'app.App'\nword = {word!r}\n"
    shop.write("app.conf.py", "daemon = True\n" + config.format(word="one"))
    program = begin(shop, target="app.conf.py")
    program.wait_for("^says one$")
    shop.write("app.conf.py", config.format(word="two"))
    program.wait_for("^says two$")
    assert program.stops() == 0


SAYS = """
    from ginkgo import Service, Setting

    class App(Service):
        word = Setting("word", default="nothing")

        def do_start(self):
            print("says", self.word)
"""


def test_more_files_can_be_named(shop: Workshop) -> None:
    shop.write("app.py", SAYS)
    shop.write("templates/page.html", "one")
    program = begin(shop, "--watch", "templates")
    shop.write("templates/page.html", "two")
    program.wait_for("^ginkgo dev: ready in ", 2)
    assert "ginkgo dev: templates/page.html changed" in program.lines
    assert program.stops() == 0


def test_a_change_within_the_same_second_is_no_stale_bytecode(shop: Workshop) -> None:
    port = free_port()
    write_app(shop, f"127.0.0.1:{port}")
    program = shop.begin("ginkgo", "dev", "app.App", env={"PYTHONDONTWRITEBYTECODE": ""})
    for number, word in enumerate(("one", "two", "six", "ten"), 1):
        shop.write("helper.py", f"TEXT = b'{word}'\n")
        os.utime(shop.folder / "helper.py", (1_000_000_000, 1_000_000_000 + number / 1000))
        program.wait_for("^ginkgo dev: ready in ", number)
        assert get(port) == word.encode()
    assert program.stops() == 0


def test_datagrams_that_come_meanwhile_are_not_lost(shop: Workshop) -> None:
    port = free_port()
    app = """
        from ginkgo import Service
        from ginkgo.async_.gevent import DatagramServer

        class App(Service):
            def __init__(self):
                self.add_service(DatagramServer("127.0.0.1:{port}", self.handle))

            def handle(self, data, address):
                print("{word}", data.decode())
        """
    shop.write("app.py", app.format(port=port, word="one"))
    program = begin(shop)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"hears this", ("127.0.0.1", port))
        program.wait_for("^one hears this$")
        broken = app.replace("DatagramServer(", "DatagramServer(1 / 0, ")
        shop.write("app.py", broken.format(port=port, word="no"))
        program.wait_for("Waiting for a change")
        client.sendto(b"hears that", ("127.0.0.1", port))
        shop.write("app.py", app.format(port=port, word="two"))
        program.wait_for("^two hears that$")
    assert program.stops() == 0


def test_the_address_of_the_page_is_told(shop: Workshop) -> None:
    port = free_port()
    write_app(shop, "127.0.0.1:0")
    program = begin(shop, "--set", f"control=127.0.0.1:{port}")
    shop.write("helper.py", "TEXT = b'two'\n")
    for line in program.wait_for("^ginkgo dev: ready in ", 2):
        assert line.endswith(f" s; its page is http://127.0.0.1:{port}/")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as page:
        assert b"<html" in page.read()
    assert program.stops() == 0


def test_a_port_that_the_kernel_chose_stays(shop: Workshop) -> None:
    app = APP + '\n        def do_start(self):\n            print("port", self.children[0].port)\n'
    shop.write("app.py", app.format(address="127.0.0.1:0", module="gevent"))
    shop.write("helper.py", "TEXT = b'one'\n")
    program = begin(shop)
    shop.write("helper.py", "TEXT = b'two'\n")
    one, two = program.wait_for("^port ", 2)
    assert one == two
    assert program.stops() == 0


def test_a_server_moves_to_an_address_that_the_kept_socket_is_in_the_way_of(
    shop: Workshop,
) -> None:
    port = free_port()
    write_app(shop, f"127.0.0.1:{port}")
    program = begin(shop)
    write_app(shop, f":{port}")
    program.wait_for("^ginkgo dev: ready in ", 2)
    with socket.create_connection(("127.0.0.2", port), 5):
        pass
    write_app(shop, f"127.0.0.1:{free_port()}")
    program.wait_for("^ginkgo dev: ready in ", 3)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    assert program.stops() == 0


def test_a_unix_socket_stays_over_the_restart_and_goes_at_the_end(shop: Workshop) -> None:
    path = shop.folder / "s"
    write_app(shop, f"unix:{path}")
    program = begin(shop)
    born = path.stat().st_ino
    shop.write("helper.py", "TEXT = b'two'\n")
    program.wait_for("^ginkgo dev: ready in ", 2)
    assert path.stat().st_ino == born
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"two")
    assert program.stops() == 0
    assert not path.exists()


def test_two_servers_at_one_address_are_an_error_here_too(shop: Workshop) -> None:
    port = free_port()
    write_app(shop, f"127.0.0.1:{port}")
    app = (shop.folder / "app.py").read_text()
    line = re.search(r".*add_service.*\n", app)
    assert line is not None
    program = begin(shop)
    (shop.folder / "app.py").write_text(app.replace(line.group(), line.group() * 2))
    program.wait_for("Waiting for a change")
    assert "the address is in use" in program.output
    assert program.stops() == 0


def test_ctrl_c_in_a_terminal_ends_everything_at_once(shop: Workshop) -> None:
    write_app(shop, "127.0.0.1:0")
    pid, terminal = os.forkpty()
    if pid == 0:
        os.chdir(shop.folder)
        os.execvpe("ginkgo", ["ginkgo", "dev", "app.App"], shop.env)
    try:
        shown = b""
        while b"ready in" not in shown:
            assert select.select([terminal], [], [], 20)[0], shown
            shown += os.read(terminal, 4096)
        os.write(terminal, b"\x03")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(terminal)
    assert shop.marked() == []


def test_the_tree_does_not_outlive_its_parent(shop: Workshop) -> None:
    write_app(shop, "127.0.0.1:0")
    program = begin(shop)
    program.process.kill()
    program.ends()
    eventually(lambda: not shop.marked())


def test_a_tree_that_does_not_stop_is_killed(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import time
        from ginkgo import Service

        class App(Service):
            backend = "threading"

            def do_stop(self):
                print("stopping")
                time.sleep(1000)
        """,
    )
    program = begin(shop)
    program.signal(signal.SIGTERM)
    assert program.ends() == 0
    assert "ginkgo dev: it did not stop within 5 s: killed" in program.lines
    clear(shop)


def test_a_second_ctrl_c_does_not_wait(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import time
        from ginkgo import Service

        class App(Service):
            backend = "threading"

            def do_stop(self):
                print("stopping", flush=True)
                time.sleep(1000)
        """,
    )
    program = begin(shop)
    program.signal(signal.SIGINT)
    program.wait_for("^stopping")
    program.signal(signal.SIGINT)
    assert program.ends(2.5) == 130
    clear(shop)


def clear(shop: Workshop) -> None:
    """Remove what a process that was killed has left."""
    for path in map(Path, [str(shop.runtime / each) for each in shop.left_files()]):
        path.unlink()


def test_an_end_in_order_ends_it(shop: Workshop) -> None:
    write_app(shop, "127.0.0.1:0")
    program = begin(shop)
    assert shop.ctl("app.App", "stop").returncode == 0
    assert program.ends() == 0


def test_a_crash_is_told_and_waited_for(shop: Workshop) -> None:
    write_app(shop, "127.0.0.1:0")
    program = begin(shop)
    (pid,) = [each for each in shop.marked() if each != program.pid]
    os.kill(pid, signal.SIGKILL)
    program.wait_for("^ginkgo dev: it ended with signal 9. Waiting for a change.$")
    shop.write("helper.py", "TEXT = b'two'\n")
    program.wait_for("^ginkgo dev: ready in ", 2)
    assert program.stops() == 0


def test_without_watchfiles_it_says_what_to_install(shop: Workshop) -> None:
    shop.write("missing/watchfiles.py", "raise ImportError")
    write_app(shop, "127.0.0.1:0")
    ran = shop.ginkgo("dev", "app.App", env={"PYTHONPATH": str(shop.folder / "missing")})
    assert ran.returncode == os.EX_UNAVAILABLE
    assert ran.stderr.splitlines() == [
        "ginkgo: ginkgo dev needs watchfiles, which is not installed",
        'pip install "ginkgo[dev]"',
    ]


def test_a_config_file_that_is_not_there_is_no_reason_to_wait(shop: Workshop) -> None:
    ran = shop.ginkgo("dev", "missing.conf.py")
    assert ran.returncode == os.EX_NOINPUT
    assert "there is no file 'missing.conf.py'" in ran.stderr
