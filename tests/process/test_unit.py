"""Unit files and Dockerfiles, against what they looked like when somebody last read them.

``GINKGO_GOLDEN=write`` writes them anew: read the difference before it is committed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ginkgo.core.errors import UsageError
from ginkgo.process.deployment import Deployment, Listens
from ginkgo.process.dockerfile import dockerfile, unreachable
from ginkgo.process.unit import Wish, service_unit, socket_unit
from ginkgo.servers.addresses import Address

GOLDEN = Path(__file__).parent / "units"

PLAIN = Deployment(
    name="app",
    target="/srv/app/app.conf.py",
    folder="/srv/app",
    program=("/opt/app/bin/ginkgo",),
)
WEB = Listens("App/Web", Address("127.0.0.1", 8000))
FULL = replace(
    PLAIN,
    arguments=("--set", 'greeting=50% of $5 "or" so', "--backend", "asyncio"),
    user="www-data",
    group="web",
    start_timeout=45.0,
    shutdown_timeout=59.5,
    umask="0077",
    listens=(
        Listens("App/Web", Address(port=80)),
        Listens("App/Log", Address("127.0.0.1", 514), datagram=True),
        Listens("App/Admin", Address(path="/srv/app/run/admin.sock")),
    ),
    writes=("/srv/app/run",),
)
NAMED = replace(PLAIN, listens=(Listens("App/Web", Address(name="web")), WEB))

FILES = {
    "plain.service": lambda: service_unit(PLAIN, Wish()),
    "full.service": lambda: service_unit(FULL, Wish()),
    "user.service": lambda: service_unit(replace(PLAIN, target="app.App"), Wish(user=True)),
    "before-253.service": lambda: service_unit(PLAIN, Wish(systemd=252)),
    "web.socket": lambda: socket_unit(replace(PLAIN, listens=(WEB,)), Wish()),
    "full.socket": lambda: socket_unit(FULL, Wish()),
    "named.socket": lambda: socket_unit(NAMED, Wish(), ("web", Address(port=8080))),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_as_it_was_read(name: str) -> None:
    text = FILES[name]()
    if os.environ.get("GINKGO_GOLDEN") == "write":
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("name", FILES)
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    said = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True).stdout
    version = int(said.split()[1])
    text = FILES[name]()
    if name.endswith(".service"):
        text = service_unit(
            replace(FULL if name.startswith("full") else PLAIN, program=("/bin/true",)),
            Wish(user=name.startswith("user"), systemd=version),
        )
    text = text.replace("www-data", "root").replace("Group=web", "Group=root")
    path = tmp_path / name.replace("named", "app-web")
    path.write_text(text)
    (tmp_path / "app.service").write_text("[Service]\nExecStart=/bin/true\n")
    if name.endswith(".socket"):
        (tmp_path / path.name.replace(".socket", ".service")).write_text(
            "[Service]\nExecStart=/bin/true\n"
        )
    env = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        capture_output=True,
        text=True,
        env=env,
    )
    mine = [line for line in ran.stderr.splitlines() if path.name in line]
    assert mine == []


def test_a_unit_that_listens_nowhere_needs_no_socket() -> None:
    with pytest.raises(UsageError, match="has no server"):
        socket_unit(PLAIN, Wish())


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (Address("127.0.0.1", 0), "has no port"),
        (Address("db.example.org", 5432), "wants an IP address"),
    ],
)
def test_what_systemd_cannot_bind_is_told(address: Address, message: str) -> None:
    what = replace(PLAIN, listens=(Listens("App/Web", address),))
    with pytest.raises(UsageError, match=f"App/Web .*{message}"):
        socket_unit(what, Wish())


def test_where_a_named_socket_listens_has_to_be_said() -> None:
    with pytest.raises(UsageError, match="not known where fd:web listens") as caught:
        socket_unit(NAMED, Wish())
    assert "--listen web=8000" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no server has the address fd:webb"):
        socket_unit(NAMED, Wish(), ("webb", Address(port=1)))


def test_a_newline_gets_into_no_unit() -> None:
    what = replace(PLAIN, arguments=("--set", "a=b\nExecStart=/bin/evil"))
    with pytest.raises(UsageError, match="newline"):
        service_unit(what, Wish())


def test_what_lies_at_home_can_be_read() -> None:
    assert "ProtectHome=read-only" in service_unit(replace(PLAIN, folder="/home/me/a"), Wish())


def test_a_dockerfile_is_as_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").touch()
    what = replace(
        PLAIN,
        folder=str(tmp_path),
        target=str(tmp_path / "conf" / "app.conf.py"),
        listens=(Listens("App/Web", Address(port=8000)), FULL.listens[1]),
    )
    text = "\n".join(
        "FROM python:3-slim" if line.startswith("FROM") else line
        for line in dockerfile(what, "1.0.0").splitlines()
    )
    if os.environ.get("GINKGO_GOLDEN") == "write":
        (GOLDEN / "Dockerfile").write_text(text + "\n")
    assert text + "\n" == (GOLDEN / "Dockerfile").read_text()
    (warning,) = unreachable(what)
    assert warning.startswith("App/Log listens on 127.0.0.1:514: nobody outside")


def test_a_control_address_that_ends_in_the_container_is_told() -> None:
    (warning,) = unreachable(replace(PLAIN, control="127.0.0.1:9100"))
    assert warning.startswith("control is 127.0.0.1:9100: nobody outside the container reaches")
    assert 'Set control = "0.0.0.0:9100" and a control_token' in warning
    open_one = replace(PLAIN, control="0.0.0.0:9100")
    assert unreachable(open_one) == []
    assert "EXPOSE 9100/tcp" in dockerfile(open_one, "1.0.0").splitlines()
