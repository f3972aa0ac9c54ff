"""The files of a new project, for `ginkgo new`."""

from __future__ import annotations

from string import Template

SERVICE = '''\
"""$Name: says hello to whoever asks by HTTP."""

from ginkgo import Service, Setting
from ginkgo.async_.gevent import WSGIServer


class $Name(Service):
    """The root of the tree: what `ginkgo` starts."""

    address: str = Setting("address", default="127.0.0.1:8000", help="Where to listen")
    greeting: str = Setting("greeting", default="Hello", help="What to say")

    def __init__(self):
        self.server = self.add_service(WSGIServer(self.address, self.answer))

    def answer(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{self.greeting}, World!\\n".encode()]
'''

CONFIG = """\
# All settings are shown by `ginkgo $name.conf.py -h`.
service = "$name.$Name"
greeting = "Hello"
address = "127.0.0.1:8000"

# Its page for a browser, /metrics and the probes; without this line there are none.
control = "127.0.0.1:8001"
"""

TEST = '''\
"""Starts the service, asks it, and stops it."""

import gevent.socket
import pytest
from ginkgo import settings

from $name import $Name


@pytest.fixture
def service():
    with settings.context():
        settings.set("address", "127.0.0.1:0", force=True)  # any port that is free
        settings.set("greeting", "Good day", force=True)
        with $Name() as service:
            yield service


def test_it_greets(service):
    client = gevent.socket.create_connection(("127.0.0.1", service.server.port))
    client.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    answer = client.makefile("rb").read()
    client.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\\r\\n")
    assert answer.endswith(b"Good day, World!\\n")
'''

PROJECT = """\
[build-system]
requires = ["hatchling>=1.25"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "Says hello to whoever asks by HTTP."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["ginkgo"]

[dependency-groups]
dev = ["ginkgo[dev]", "pytest>=8"]

[tool.hatch.build.targets.wheel]
include = ["$name.py"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""

README = """\
# $Name

Says hello to whoever asks by HTTP.

    ginkgo dev                        run it, and anew when a file of it changes
    curl http://127.0.0.1:8000
    xdg-open http://127.0.0.1:8001    see how it is
    python3 -m pytest                 test it

    ginkgo $name.conf.py -h           its settings
    ginkgo -d $name.conf.py           run it as a daemon
    ginkgoctl $name.conf.py status    how it is; also reload, logtail, stop

For systemd, put it into /opt/$name, with a virtual environment in /opt/$name/.venv, and

    cp $name.service /etc/systemd/system/
    systemctl enable --now $name

Somewhere else, `ginkgo unit $name.conf.py` prints the unit for that place.
"""

FILES = {
    "{name}.py": Template(SERVICE),
    "{name}.conf.py": Template(CONFIG),
    "test_{name}.py": Template(TEST),
    "pyproject.toml": Template(PROJECT),
    "README.md": Template(README),
}
"""The name of each file, and what is in it."""
