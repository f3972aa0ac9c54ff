"""A secret is shown nowhere: not by any route, in no line of the log, in no file of the process."""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.backends import GROUNDS, Ground
from tests.control.harness import Client
from tests.process.steered import Steered
from tests.workshop import Workshop, eventually, free_port

APP = """
    import logging
    import os
    from ginkgo import Service, Setting

    log = logging.getLogger("app.db")

    class Refused(Exception):
        def __init__(self, text, password):
            super().__init__(text, password)
            self.password = password

    class Db(Service):
        host: str = Setting("db.host", default="h")
        password: str = Setting("db.password", "CANARY-default", secret=True, monitored=True)
        key: str = Setting("db.key", default=None, secret=True)
        login: dict = Setting("db.login", default={"as": "CANARY-nested"}, secret=True)
        token: str = Setting("token", default="CANARY-token-default", secret=True)

        ASYNC def do_start(self):
            self.spawn(self.connect, "CANARY-argument")
            self.spawn(self.complain, on_error="log")

        ASYNC def complain(self):
            local = "CANARY-local"
            log.error("cannot log in with %s", self.password)
            raise Refused(f"with {self.key} in {self.login}", os.environ["BACKUP_SECRET"])

        ASYNC def connect(self, argument):
            local = "CANARY-local"
            while not os.path.exists("fail"):
                AWAIT self.async_.sleep(0.01)
            secret = str(self.password)
            try:
                int(secret)
            except ValueError:
                raise Refused(f"{self.host}: no login as app:{secret}", secret)

        ASYNC def do_reload(self):
            raise Refused("reloaded with", str(self.token))

    class App(Service):
        def __init__(self):
            self.add_service(Db(), restart="temporary")

        ASYNC def do_start(self):
            print("up", flush=True)
"""

CONFIG = """
    service = "app.App"
    token = "CANARY-file"
    class db:
        host = "localhost"
"""

CANARY = re.compile(rb"canary-[\w-]*", re.IGNORECASE)


@pytest.fixture(params=GROUNDS)
def ground(request: pytest.FixtureRequest, shop: Workshop) -> Ground:
    return Ground(request.param, shop)


@pytest.fixture
def app(ground: Ground) -> Iterator[Steered]:
    shop = ground.shop
    shop.write("app.conf.py", CONFIG)
    key = shop.write("key", "CANARY-of-the-file-of-the-key\n")
    secrets = {
        "GINKGO_DB__PASSWORD": "CANARY-environment",
        "GINKGO_DB__KEY_FILE": str(key),
        "BACKUP_SECRET": "CANARY-backup",
        "GINKGO_CONTROL_TOKEN": "CANARY-control-token-of-32-letters",
    }
    port = free_port()
    control = f"control=127.0.0.1:{port}"
    app = Steered(ground, APP, "--set", control, target="app.conf.py", **secrets)
    app.port = port
    yield app
    if app.program.process.poll() is None:
        app.ends()


def raw(app: Steered, line: str) -> bytes:
    """Everything that comes back, of a stream what comes within a moment."""
    with Client(str(app.socket)) as client:
        client.sock.settimeout(0.3 if "stream=1" in line else 20.0)
        client.ask(line, Connection="close")
        data = b""
        with contextlib.suppress(TimeoutError):
            while part := client.sock.recv(1 << 16):
                data += part
    return data


def over_tcp(app: Steered, path: str, **headers: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return str(answer.getheaders()).encode() + answer.read()
    finally:
        connection.close()


@pytest.mark.fault(117)
@pytest.mark.fault(147)
def test_canary(app: Steered, ground: Ground) -> None:
    ground.shop.write("fail", "")
    app.becomes("App/Db", "failed")
    assert app.post("set", name="db.password", value="CANARY-sent")[0] == 409
    assert app.post("set", name="token", value="CANARY-sent-too")[0] == 409
    app.post("reload")
    ground.shop.write("app.conf.py", CONFIG + '    db.password = "CANARY-broken\n')
    assert app.post("reload")[0] == 409

    told = app.told("")["routes"]
    routes = [route.partition(" ")[2] for route in told if route.startswith("GET ")]
    assert len(routes) > 10
    answers: dict[str, bytes] = {}
    for route in routes:
        for service in app.told("tree")["children"]:
            path = route.replace("{path...}", service["path"]).replace("{name}", "db.password")
            query = "?timeout=0" if path.endswith("/wait") else ""
            answers[path] = raw(app, f"GET {path}{query}")
    for path, most in (("log", "lines"), ("events", "limit")):
        answers[f"{path} as a stream"] = raw(app, f"GET /api/v1/{path}?stream=1")
        answers[f"all of {path}"] = raw(app, f"GET /api/v1/{path}?{most}=1000")
    for path in ("/", "/metrics", "/livez", "/readyz", "/readyz?verbose", "/api/v1/status"):
        answers[f"{path} by TCP"] = over_tcp(app, path)
    assert b"****" in answers["/api/v1/settings"]
    assert b"no login as app:****" in answers["/api/v1/services/App/Db"]
    assert b"**** in " in answers["all of log"]
    found = {path: CANARY.findall(answer) for path, answer in answers.items()}
    assert not {path: canaries for path, canaries in found.items() if canaries}

    files = [path for path in Path(ground.shop.runtime).rglob("*") if path.is_file()]
    assert files
    for file in files:
        assert not CANARY.search(file.read_bytes()), file
    app.ends()
    assert not CANARY.findall(app.program.output.encode())
    assert "****" in app.program.output


@pytest.mark.fault(117)
def test_the_log_file_of_a_daemon_has_no_canary(shop: Workshop) -> None:
    text = APP.replace("ASYNC ", "").replace("AWAIT ", "")
    shop.write("app.py", text.replace('print("up", flush=True)', "print(self.children)"))
    shop.write("fail", "")
    log = shop.folder / "app.log"
    env = {"GINKGO_DB__PASSWORD": "CANARY-environment", "BACKUP_SECRET": "CANARY-backup"}
    started = shop.ginkgo("-d", "--set", f"logfile={log}", "app.App", env=env)
    assert started.returncode == 0, started.stderr
    eventually(lambda: "no login as" in log.read_text())
    with Client(str(shop.runtime / "ginkgo" / "app.App" / "control.sock")) as client:
        status, told = client.json("GET /api/v1/log?lines=1000")
    assert (status, told["logfile"]) == (200, str(log))
    assert shop.ctl("app.App", "stop").returncode == 0
    assert not CANARY.findall(log.read_bytes())
    assert not CANARY.findall(str(told).encode())
    assert "no login as app:****" in log.read_text()
