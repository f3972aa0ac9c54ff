"""``ginkgoctl logs --service``: the lines that a service's own code has logged, by any logger."""

from __future__ import annotations

import json
import socket

import pytest
from tests.cli.test_watchdog import BACKENDS, command
from tests.workshop import Workshop, free_port

APP = """
    import logging
    from ginkgo import Service
    from ginkgo.async_.{backend} import StreamServer

    log = logging.getLogger("shop.orders")

    class Db(Service):
        {async_}def do_start(self):
            log.warning("from do_start")
            self.spawn(self.tick)

        {async_}def tick(self):
            log.warning("from a task")

    class App(Service):
        def __init__(self):
            self.add_service(Db())
            self.add_service(StreamServer("127.0.0.1:{port}", self.handle))

        def do_start(self):
            log.warning("from the root")
            print("up", flush=True)

        {async_}def handle(self, *connection):
            log.warning("from a handler")
            if {is_async}:
                connection[1].write(b"x")
            else:
                connection[0].sendall(b"x")
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_line_is_of_the_service_whose_code_has_logged_it(shop: Workshop, backend: str) -> None:
    port = free_port()
    is_async = backend in ("asyncio", "uvloop")
    module = "asyncio" if is_async else backend
    mark = "async " if is_async else ""
    shop.write("app.py", APP.format(backend=module, port=port, async_=mark, is_async=is_async))
    program = shop.begin(*command(backend, "app.App"))
    program.wait_for("^up$")
    program.wait_for("from a task")
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert client.recv(1) == b"x"

    def lines(path: str) -> list[str]:
        told = shop.ctl("app.App", "logs", "--service", path, "--json").stdout.splitlines()
        texts = [json.loads(line)["text"] for line in told]
        return [text.partition(" app: ")[2] for text in texts if " app: " in text]

    assert lines("App/Db") == ["from do_start", "from a task"]
    assert lines("App/StreamServer") == ["from a handler"]
    assert set(lines("App")) == {
        *("from do_start", "from a task", "from the root", "from a handler")
    }
    assert program.stops() == 0


def test_what_operators_do_is_in_the_log_whatever_its_level(shop: Workshop) -> None:
    shop.write("app.py", "from ginkgo import Service\nclass App(Service): pass\n")
    program = shop.begin(*command("gevent", "app.App", "--set", "loglevel=error"))
    program.wait_for("^Starting")
    assert shop.ctl("app.App", "wait").returncode == 0
    assert shop.ctl("app.App", "restart", "App").returncode == 0
    program.wait_for(r"audit: restart of App: done, as asked for by uid \d+ ")
    assert program.stops() == 0
    assert " Stopping." not in program.output
