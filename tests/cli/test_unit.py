"""``ginkgo unit`` and ``ginkgo dockerfile``: what is printed for a real target."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.workshop import Workshop

APP = """
    from ginkgo import Service, Setting
    from ginkgo.async_.gevent import StreamServer

    class App(Service):
        address = Setting("address", default="127.0.0.1:8000", help="Where to listen")
        password = Setting("password", default="", help="What nobody shall see", secret=True)

        def __init__(self):
            self.add_service(StreamServer(self.address, print))

        def do_start(self):
            raise AssertionError("nothing is started")
"""


@pytest.fixture
def app(shop: Workshop) -> Workshop:
    shop.write("app.py", APP)
    shop.write("app.conf.py", 'service = "app.App"\nshutdown_timeout = 40\ndaemon = True\n')
    return shop


def test_a_unit_has_the_settings_of_the_target(app: Workshop) -> None:
    ran = app.ginkgo("unit", "--systemd", "255", "--set", "address=:80", "app.conf.py")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    program = Path(sys.executable).parent / "ginkgo"
    command = f"{program} --set address=:80 --set daemon=False {app.folder}/app.conf.py"
    for line in (
        "Type=notify-reload",
        f"ExecStart={command}",
        "TimeoutStopSec=45s",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        f"WorkingDirectory={app.folder}",
    ):
        assert line in lines


def test_the_socket_unit_has_the_addresses_of_the_servers(app: Workshop) -> None:
    ran = app.ginkgo("unit", "--socket", "app.App")
    assert "ListenStream=127.0.0.1:8000" in ran.stdout.splitlines()
    named = app.ginkgo(
        "unit", "--socket", "--set", "address=fd:web", "--listen", "web=[::1]:81", "app.App"
    )
    lines = named.stdout.splitlines()
    assert {"ListenStream=[::1]:81", "FileDescriptorName=web", "Service=app.service"} < {*lines}


@pytest.mark.fault(147)
def test_a_secret_does_not_get_into_a_file_that_everybody_reads(app: Workshop) -> None:
    for command in ("unit", "dockerfile"):
        ran = app.ginkgo(command, "--set", "password=canary", "app.App")
        assert ran.returncode == 2
        assert "GINKGO_PASSWORD" in ran.stderr
        assert "canary" not in ran.stdout + ran.stderr


def test_a_name_that_is_none_is_refused(app: Workshop) -> None:
    assert app.ginkgo("unit", "--name", "a b", "app.App").returncode == 2
    assert app.ginkgo("unit", "--listen", "web=80", "app.App").returncode == 2
    assert "/b.service" in app.ginkgo("unit", "--name", "b", "app.App").stdout


def test_a_dockerfile_runs_the_target_and_warns_of_the_loopback(app: Workshop) -> None:
    ran = app.ginkgo("dockerfile", "app.App")
    assert 'ENTRYPOINT ["ginkgo", "app.App"]' in ran.stdout.splitlines()
    assert "EXPOSE 8000/tcp" in ran.stdout.splitlines()
    assert "nobody outside the container reaches it" in ran.stderr
    assert app.ginkgo("dockerfile", "--set", "address=:8000", "app.App").stderr == ""
