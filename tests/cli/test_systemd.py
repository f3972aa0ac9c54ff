"""A daemon under a service manager: what it says and when, and the sockets that it gets."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.backends import Ground
from tests.systemd import FakeSystemd, handed_over, listener
from tests.workshop import Workshop

APP = """
    import os, subprocess, sys, time
    from ginkgo import Service

    class Child(Service):
        ASYNC def do_start(self):
            if os.path.exists("broken"):
                raise OSError("no database")

    class App(Service):
        def __init__(self):
            self.child = self.add_service(Child())

        ASYNC def do_start(self):
            ask = "import os; print([each for each in os.environ if 'NOTIFY' in each])"
            print("given", subprocess.check_output([sys.executable, "-c", ask]).decode())

        ASYNC def do_reload(self):
            end = time.monotonic() + (1 if os.path.exists("block") else 0)
            while time.monotonic() < end:
                pass
            print("reloaded")
"""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    with FakeSystemd(tmp_path / "notify") as fake:
        yield fake


def caught_signals(pid: int) -> int:
    """The mask of the signals that a process handles (proc(5), SigCgt)."""
    found = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1], 16)


def test_the_life_of_a_daemon_in_the_words_of_sd_notify(
    ground: Ground, systemd: FakeSystemd
) -> None:
    ground.write(APP)
    program = ground.begin(env={"NOTIFY_SOCKET": systemd.address})
    assert systemd.hear() == {"STATUS": "Starting"}
    assert systemd.hear() == {"READY": "1", "STATUS": "Ready: 2 services"}
    # Type=notify-reload: without this handler systemd would not take it for started.
    assert caught_signals(program.pid) & 1 << signal.SIGHUP - 1
    program.wait_for(r"^given \[\]$")
    program.signal(signal.SIGHUP)
    assert "MONOTONIC_USEC" in systemd.wait_for("RELOADING", "1")
    assert systemd.wait_for("READY", "1")["STATUS"] == "Ready: 2 services"
    program.wait_for("^reloaded$")
    program.signal(signal.SIGTERM)
    assert systemd.wait_for("STOPPING", "1")["STATUS"] == "Stopping"
    assert program.ends() == 0
    while not systemd.says_nothing():
        assert "READY" not in systemd.heard[-1]["unexpected"]


@pytest.mark.fault(63)
def test_a_reload_that_is_refused_says_why(shop: Workshop, systemd: FakeSystemd) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    shop.write("app.conf.py", 'service = "app.App"\n')
    program = shop.begin("ginkgo", "app.conf.py", env={"NOTIFY_SOCKET": systemd.address})
    systemd.wait_for("READY")
    shop.write("app.conf.py", 'service = "app.App"\nstop_timeout = "long"\n')
    program.signal(signal.SIGHUP)
    status = systemd.wait_for("READY", "1")["STATUS"]
    assert status.startswith("Reload refused, nothing has changed: ")
    assert "stop_timeout" in status
    program.wait_for("Reload refused")
    assert json.loads(shop.ctl("-p", str(program.pid), "events", "-n1", "--json").stdout)["by"]
    assert program.stops() == 0
    assert systemd.hear()["STATUS"].startswith("Stopping")  # until then one could read why


def test_the_watchdog_hears_nothing_while_the_loop_is_blocked(
    ground: Ground, systemd: FakeSystemd
) -> None:
    ground.write(APP)
    env = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "200000"}
    program = ground.begin(env=env)
    for _ in range(3):
        systemd.wait_for("WATCHDOG", "1")
    if ground.name == "threading":  # has no loop to block: whoever blocks, blocks himself
        assert program.stops() == 0
        return
    (ground.shop.folder / "block").touch()
    program.signal(signal.SIGHUP)
    systemd.wait_for("RELOADING", "1")
    before = len(systemd.heard)
    systemd.wait_for("READY", "1")
    # In that second it was due ten times; one may have been under way at its begin.
    assert sum("WATCHDOG" in message for message in systemd.heard[before:]) <= 2
    systemd.wait_for("WATCHDOG", "1")
    assert program.stops() == 0


@pytest.mark.fault(28)
def test_a_bogus_socket_delays_nothing(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    env = {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "100000"}
    program = shop.begin("ginkgo", "app.App", env=env)
    program.wait_for("^Starting")
    assert program.stops(signal.SIGTERM) in (0, -signal.SIGTERM)


def test_a_service_that_is_down_is_in_the_status_line(shop: Workshop, systemd: FakeSystemd) -> None:
    shop.write(
        "app.py",
        """
        import os
        from ginkgo import Service

        class Child(Service):
            restart = "permanent"
            def do_start(self):
                if os.path.exists("broken"):
                    raise OSError("no database")
                self.spawn_later(0.01, self.work)
            def work(self):
                while not os.path.exists("broken"):
                    self.async_.sleep(0.01)
                raise OSError("lost the database")

        class App(Service):
            max_restarts = 100
            def __init__(self):
                self.add_service(Child())
        """,
    )
    program = shop.begin("ginkgo", "app.App", env={"NOTIFY_SOCKET": systemd.address})
    systemd.wait_for("READY")
    (shop.folder / "broken").touch()
    while not (status := systemd.wait_for("STATUS")["STATUS"]).startswith("Degraded"):
        pass
    assert status.startswith("Degraded: 1 of 2 services: App/Child")
    (shop.folder / "broken").unlink()
    systemd.wait_for("STATUS", "Ready: 2 services")
    assert program.stops() == 0


SERVER = """
    from ginkgo import Service
    from ginkgo.async_.BACKEND import StreamServer

    class App(Service):
        def __init__(self):
            self.add_service(StreamServer("ADDRESS", self.greet))

        ASYNC def greet(self, one, other):
            GREETING
"""


def write(ground: Ground, text: str) -> None:
    """Write the application, with what a server and its handler are called on that backend."""
    module = "asyncio" if ground.awaits else ground.name
    says = "other.write" if ground.awaits else "one.sendall"
    text = text.replace("GREETING", f'{says}(b"hello\\n")')
    ground.write(text.replace("BACKEND", module))


def server(ground: Ground, address: str) -> None:
    write(ground, SERVER.replace("ADDRESS", address))


def greeting(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        return client.makefile("rb").readline()


@pytest.mark.parametrize("by", ["name", "address"])
def test_a_server_listens_on_the_socket_that_systemd_has_bound(ground: Ground, by: str) -> None:
    with listener() as made:
        port = made.getsockname()[1]
        server(ground, "fd:web" if by == "name" else f"127.0.0.1:{port}")
        argv, env, more = handed_over(
            "ginkgo", *ground.options, "app.App", sockets=[made], names="web"
        )
        with socket.create_connection(
            ("127.0.0.1", port), timeout=15
        ) as early:  # before anybody is there
            program = ground.shop.begin(*argv, env=env, **more)
            assert early.recv(6) == b"hello\n"
        assert greeting(port) == b"hello\n"
        assert program.stops() == 0
        # It is systemd's socket: it goes on listening for the next one.
        socket.create_connection(("127.0.0.1", port)).close()
    assert "WARNING" not in program.output


def test_a_server_that_is_restarted_listens_on_the_same_socket(ground: Ground) -> None:
    with listener() as made:
        port = made.getsockname()[1]
        server(ground, "fd:web")
        argv, env, more = handed_over(
            "ginkgo", *ground.options, "app.App", sockets=[made], names="web"
        )
        program = ground.shop.begin(*argv, env=env, **more)
        assert greeting(port) == b"hello\n"
        for _ in range(2):
            ran = ground.shop.ctl("app.App", "restart", "App/StreamServer")
            assert ran.returncode == 0, ran.stderr
            assert greeting(port) == b"hello\n"
        assert program.stops() == 0


@pytest.mark.fault(27)
def test_a_socket_that_nobody_takes_is_warned_of(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    with listener() as made:
        argv, env, more = handed_over("ginkgo", "app.App", sockets=[made], names="web")
        program = shop.begin(*argv, env=env, **more)
        program.wait_for(r'WARNING .*fd 3 \("web", 127\.0\.0\.1:\d+\) .* no server has taken it')
        assert program.stops() == 0


@pytest.mark.fault(27)
def test_a_descriptor_that_is_no_socket_ends_the_start(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    with open(os.devnull) as file:
        argv, env, more = handed_over("ginkgo", "app.App", sockets=[file], names="web")  # type: ignore[list-item]
        program = shop.begin(*argv, env=env, **more)
        assert program.ends() == 78
    assert 'fd 3 ("web") of LISTEN_FDS is no socket' in program.output
    assert "Traceback" not in program.output


@pytest.mark.fault(27)
def test_the_sockets_of_another_process_are_left_alone(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    with listener() as made:
        argv, env, more = handed_over("ginkgo", "app.App", sockets=[made], whose="another")
        program = shop.begin(*argv, env=env | {"LISTEN_PID": "1"}, **more)
        program.wait_for("^Starting")
        assert program.stops() in (0, -signal.SIGINT)
    assert "WARNING" not in program.output


@pytest.mark.fault(27)
def test_a_name_that_was_not_handed_over_ends_the_start(ground: Ground) -> None:
    server(ground, "fd:web")
    program = ground.begin()
    assert program.ends() == 78
    assert "App/StreamServer cannot listen on fd:web: no socket of that name" in program.output


LAME = """
    from ginkgo import Service
    from ginkgo.async_.BACKEND import StreamServer

    class App(Service):
        def __init__(self):
            self.server = self.add_service(StreamServer(("127.0.0.1", 0), self.greet))

        ASYNC def do_start(self):
            print("port", self.server.port)

        ASYNC def greet(self, one, other):
            GREETING
"""


def lame_duck(ground: Ground, systemd: FakeSystemd, seconds: str) -> tuple[object, int]:
    write(ground, LAME)
    argv = ("ginkgo", *ground.options, "--set", f"lameduck={seconds}", "app.App")
    program = ground.shop.begin(*argv, env={"NOTIFY_SOCKET": systemd.address})
    (line,) = program.wait_for("^port ")
    systemd.wait_for("READY")
    program.signal(signal.SIGTERM)
    assert systemd.wait_for("STOPPING")["STATUS"].startswith("Lame duck")
    return program, int(line.split()[1])


def ready_probe(shop: Workshop) -> bytes:
    """What ``/readyz`` says."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(shop.runtime / "ginkgo" / "app.App" / "control.sock"))
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.fault(79)
def test_a_lame_duck_serves_on_and_then_stops(ground: Ground, systemd: FakeSystemd) -> None:
    program, port = lame_duck(ground, systemd, "1")
    assert greeting(port) == b"hello\n"
    answer = ready_probe(ground.shop)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"lame duck" in answer
    status = ground.shop.ctl("app.App", "status", "--json")
    assert '"stopping": "lame duck"' in status.stdout
    assert program.ends() == 0  # type: ignore[attr-defined]
    systemd.wait_for("STATUS", "Stopping")


@pytest.mark.fault(79)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_lame_duck(
    ground: Ground, systemd: FakeSystemd, number: int
) -> None:
    program, port = lame_duck(ground, systemd, "20")
    assert greeting(port) == b"hello\n"
    tree = ground.shop.ctl("app.App", "tree").stdout
    assert tree.splitlines()[0].endswith("ready, and about to stop (lame duck)")
    assert program.stops(number, timeout=15.0) == 0  # type: ignore[attr-defined]


def test_a_lame_duck_that_leaves_no_time_to_stop_is_refused(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    ran = shop.ginkgo("--set", "lameduck=30", "app.App")
    assert ran.returncode == 78
    assert "leaves nothing of shutdown_timeout (25)" in ran.stderr


def test_under_kubernetes_five_seconds_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from ginkgo.process.settings import ProcessSettings

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert ProcessSettings().lame_duck_seconds == 0.0
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert ProcessSettings().lame_duck_seconds == 5.0
