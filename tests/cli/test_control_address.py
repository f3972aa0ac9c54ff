"""The control address of a real process: opened where it is set, refused where it is not safe."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import trustme
from tests.workshop import EVERYTHING, Workshop, eventually

APP = """
    import os
    import sys
    import time

    from ginkgo import Service

    class App(Service):
        def do_start(self):
            asyncio = self.backend_in_use.name == "asyncio"
            self.spawn(self.block_soon if asyncio else self.block)

        def block(self):
            while not os.path.exists("block"):
                self.async_.sleep(0.05)
            hold()
            while sys.getswitchinterval() < 0.004:
                self.async_.sleep(0.05)
            print("as usual", flush=True)

        async def block_soon(self):
            while not os.path.exists("block"):
                await self.async_.sleep(0.05)
            hold()
            while sys.getswitchinterval() < 0.004:
                await self.async_.sleep(0.05)
            print("as usual", flush=True)

    def hold():
        print("blocks", flush=True)
        rounds = int(open("block").read())
        while os.path.exists("block"):  # lets go of the interpreter, for a moment
            time.sleep(0.01) if rounds == 0 else compute(rounds)
        print("insisted" if sys.getswitchinterval() < 0.001 else "did not insist", flush=True)

    def compute(rounds):
        for _ in range(rounds):
            pass
"""

PRIVILEGED = """
    import os
    import everything
    from ginkgo import Service

    class App(Service):
        def do_start(self):
            print("uid", os.getuid(), os.geteuid(), flush=True)
"""

TOKEN = "a-token-of-this-test-0123456789"


@pytest.fixture
def app(shop: Workshop) -> Workshop:
    shop.write("app.py", APP)
    return shop


def begin(app: Workshop, *settings: str) -> tuple[Any, str]:
    """Start the application in the foreground; return it and its control address."""
    program = app.begin("ginkgo", "app.App", *(part for one in settings for part in ("--set", one)))
    line = program.wait_for("The control address is ")[0]
    found = re.search(r"https?://\S+/", line)
    assert found is not None
    return program, found[0]


def privileged_port() -> int:
    """A free port that takes root to listen on."""
    for port in range(1023, 512, -1):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port below 1024 is free")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("backend", ["gevent", "asyncio", "threading"])
def test_a_port_that_takes_root_is_opened_before_root_is_given_up(
    shop: Workshop, backend: str
) -> None:
    shop.write("everything.py", EVERYTHING)
    shop.write("app.py", PRIVILEGED)
    for path in (shop.folder, *shop.folder.parents):
        if str(path).startswith("/tmp/"):  # where pytest keeps its folders to itself
            path.chmod(0o755)
    shop.runtime.chmod(0o711)
    port = privileged_port()
    settings = (f"control=127.0.0.1:{port}", "user=nobody", f"backend={backend}")
    program, url = begin(shop, *settings)
    program.wait_for("^uid 65534 65534$")
    assert url == f"http://127.0.0.1:{port}/"
    status, told = get(f"{url}api/v1/status")
    assert (status, told["control"]) == (200, url)
    assert program.stops() == 0
    with socket.socket() as again:  # nothing of it is left open
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def get(url: str, token: str | None = None, context: ssl.SSLContext | None = None) -> Any:
    """Return what a GET answers: its status, and its JSON."""
    request = urllib.request.Request(url)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_address_is_told_and_answers(app: Workshop) -> None:
    program, url = begin(app, "control=127.0.0.1:0")
    status, answer = get(f"{url}api/v1/status")
    assert (status, answer["control"], answer["actions"]) == (200, url, False)
    with urllib.request.urlopen(url, timeout=20) as page:
        assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert program.stops() == 0
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2].rstrip("/")))).close()


@pytest.mark.parametrize("rounds", [0, 3_000_000], ids=["waits", "computes"])
@pytest.mark.parametrize("backend", ["gevent", "asyncio", "threading"])
def test_it_answers_while_the_loop_of_the_application_is_blocked(
    app: Workshop, backend: str, rounds: int
) -> None:
    program, url = begin(app, "control=127.0.0.1:0", f"backend={backend}", "blocked_after=0")
    block(app, rounds)
    program.wait_for("^blocks$")
    answers_soon(url)
    (app.folder / "block").unlink()
    assert program.stops() == 0


@pytest.mark.parametrize("backend", ["gevent", "asyncio"])
def test_it_answers_while_a_loop_is_blocked_by_what_lets_go_for_a_moment(
    app: Workshop, backend: str
) -> None:
    program, url = begin(app, "control=127.0.0.1:0", f"backend={backend}", "blocked_after=0.2")
    block(app, 30_000)
    # The watchdog's own thread waits for the interpreter, too.
    program.wait_for("blocks the (hub|loop)", timeout=60)
    answers_soon(url)
    (app.folder / "block").unlink()
    program.wait_for("^insisted$")
    program.wait_for("^as usual$")
    assert program.stops() == 0


def block(app: Workshop, rounds: int) -> None:
    """Have the application's loop blocked: waiting, or computing in so many rounds."""
    (app.folder / "new").write_text(str(rounds))
    (app.folder / "new").rename(app.folder / "block")


def answers_soon(url: str) -> None:
    """Require that the control plane answers in 100 ms, now and then later on a busy machine."""
    times = []
    for _ in range(9):
        began = time.monotonic()
        assert get(f"{url}api/v1/status")[0] == 200
        times.append(time.monotonic() - began)
    assert sorted(times)[4] < 0.1, times
    assert max(times) < 2, times


def test_a_real_instance_answers_as_the_document_says(app: Workshop) -> None:
    program, url = begin(app, "control=127.0.0.1:0")
    document = get(f"{url}api/v1/openapi.json")[1]
    seen = []
    for path, item in document["paths"].items():
        shape = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" not in shape:
            continue
        schema = shape["application/json"]["schema"] | {"components": document["components"]}
        status, answer = get(url.rstrip("/") + path.replace("{path}", "App"))
        assert status == 200, path
        jsonschema_rs.validator_for(schema).validate(answer)
        seen.append(answer.get("schema"))
    assert {"ginkgo.status/1", "ginkgo.service/1", "ginkgo.events/1", "ginkgo.log/1"} <= set(seen)
    assert program.stops() == 0


def test_a_port_in_use_fails_the_start_and_is_told(app: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = app.ginkgo("app.App", "--set", f"control=127.0.0.1:{port}")
        assert result.returncode == 69
        assert f"(setting `control`) cannot listen on 127.0.0.1:{port}" in result.stderr
        assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.fault(139)
@pytest.mark.parametrize("address", ["0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:9100", "9100"])
@pytest.mark.parametrize("command", [["check"], []], ids=["check", "start"])
def test_beyond_this_machine_there_is_no_address_without_a_token(
    app: Workshop, address: str, command: list[str]
) -> None:
    result = app.ginkgo(*command, "app.App", env={"GINKGO_CONTROL": address})
    assert result.returncode == 78
    assert "can be reached from other machines, and there is no control_token" in result.stderr
    assert "Set control_token" in result.stderr


@pytest.mark.fault(139)
def test_beyond_this_machine_without_tls_is_warned_of(app: Workshop) -> None:
    program, url = begin(app, "control=0.0.0.0:0", f"control_token={TOKEN}")
    program.wait_for("WARNING .*without TLS: whoever is on the way reads the token")
    assert get(f"{url}api/v1/status")[0] == 401
    assert get(f"{url}api/v1/status", TOKEN)[0] == 200
    assert program.stops() == 0
    assert TOKEN not in program.output
    result = app.ginkgo(
        "check", "app.App", env={"GINKGO_CONTROL": "0.0.0.0:0", "GINKGO_CONTROL_TOKEN": TOKEN}
    )
    assert (result.returncode, TOKEN in result.stderr) == (0, False)
    assert "ginkgo: warning: control = '0.0.0.0:0' is without TLS" in result.stderr


def test_tls_needs_no_more_than_a_certificate(app: Workshop, tmp_path: Path) -> None:
    authority = trustme.CA()
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(chain))
    issued.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    program, url = begin(
        app, "control=127.0.0.1:0", f"control_certfile={chain}", f"control_keyfile={key}"
    )
    assert url.startswith("https://")
    assert get(f"{url}api/v1/status", context=context)[0] == 200
    assert program.stops() == 0


def test_a_reload_takes_a_new_certificate_or_keeps_the_old(app: Workshop, tmp_path: Path) -> None:
    authority, chain = trustme.CA(), tmp_path / "chain.pem"

    def issue() -> str:
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(str(chain))
        chain.chmod(0o600)
        return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()).hex()

    first = issue()
    program, url = begin(app, "control=127.0.0.1:0", f"control_certfile={chain}")
    port = int(url.rstrip("/").rpartition(":")[2])

    def shown() -> str:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port))).hex()

    assert shown() == first
    second = issue()
    program.signal(signal.SIGHUP)
    program.wait_for("Reloaded: ")
    eventually(lambda: shown() == second)
    chain.write_text("no certificate")
    program.signal(signal.SIGHUP)
    program.wait_for("WARNING .*keeps its old certificate: .*chain.pem")
    assert shown() == second
    assert program.stops() == 0


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("control", "localhost", "'localhost' is not an address: it has no port"),
        ("control", "unix:/run/x", "has to be an address of TCP"),
        ("control_token", "short", "control_token has 5 characters, and has to have 16 or more"),
        ("control_token", "a token with blanks", "control_token may have ASCII letters"),
        ("control_hosts", '["http://ops.example.com/"]', "has to have names, without http://"),
        ("control_certfile", "/nope.pem", "control_certfile: /nope.pem cannot be read: No such"),
        ("control_keyfile", "/nope.pem", "control_keyfile /nope.pem needs a control_certfile"),
    ],
)
def test_what_cannot_be_right_is_told_before_a_start(
    app: Workshop, name: str, value: str, told: str
) -> None:
    variable = f"GINKGO_{name.upper()}"
    result = app.ginkgo("check", "app.App", env={variable: value})
    assert result.returncode == 78, result.stdout
    assert f"environment {variable}: " in result.stderr
    assert told in result.stderr
    assert value not in result.stderr or name != "control_token"


def test_actions_for_every_user_of_the_machine_are_warned_of(app: Workshop) -> None:
    result = app.ginkgo(
        "check",
        "app.App",
        env={"GINKGO_CONTROL": "127.0.0.1:9100", "GINKGO_CONTROL_ACTIONS": "true"},
    )
    assert result.returncode == 0
    assert "lets every user of this machine act" in result.stderr
