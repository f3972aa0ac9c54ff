"""``ginkgoctl dump`` and SIGQUIT: what everything does, and for which service."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.test_watchdog import ASLEEP, BACKENDS, command, source
from tests.workshop import Program, Workshop, free_port

BLOCKING_STYLE = """
    from ginkgo import Service
    from ginkgo.async_.{backend} import StreamServer
    import asyncio

    class Db(Service):
        def do_start(self):
            self.spawn(self.listen, "canary-of-the-arguments")
            self.spawn(self.ask)

        def listen(self, password):
            local = "canary-of-the-locals"
            self.async_.event().wait()

        async def ask(self):
            await asyncio.sleep(1000)

    class App(Service):
        def __init__(self):
            self.add_service(Db())
            self.add_service(StreamServer("127.0.0.1:{port}", self.handle))

        def do_start(self):
            print("up", flush=True)

        def handle(self, socket, address):
            socket.sendall(b"hello")
            socket.recv(1)
"""
ASYNC_STYLE = """
    import asyncio
    from ginkgo import Service
    from ginkgo.async_.asyncio import StreamServer

    class Db(Service):
        async def do_start(self):
            self.spawn(self.listen, "canary-of-the-arguments")
            self.spawn(self.ask)

        async def listen(self, password):
            local = "canary-of-the-locals"
            await self.async_.event().wait()

        def ask(self):
            import time
            while not self.async_.stopping:
                time.sleep(0.01)

    class App(Service):
        def __init__(self):
            self.add_service(Db())
            self.add_service(StreamServer("127.0.0.1:{port}", self.handle))

        def do_start(self):
            print("up", flush=True)

        async def handle(self, reader, writer):
            writer.write(b"hello")
            await reader.read(1)
"""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def served(shop: Workshop, backend: str) -> Iterator[Program]:
    """A tree that runs, with a client that its server talks to."""
    port = free_port()
    style = BLOCKING_STYLE if backend in ("gevent", "threading") else ASYNC_STYLE
    shop.write("app.py", style.format(backend=backend, port=port))
    program = shop.begin(*command(backend, "app.App"))
    program.wait_for("^up$")
    with socket.create_connection(("127.0.0.1", port)) as client:
        assert client.recv(5) == b"hello"
        yield program
    assert program.stops() == 0


def dumped(shop: Workshop, *words: str) -> list[dict[str, Any]]:
    answer = shop.ctl("dump", *words, "--json")
    assert answer.returncode == 0, answer.stderr
    content = json.loads(answer.stdout)
    assert content["schema"] == "ginkgo.dump/1"
    return content["stacks"]


def functions(stack: dict[str, Any]) -> list[str]:
    return [frame["function"] for frame in stack["frames"]]


def in_function(stacks: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The stacks that are in a function."""
    return [one for one in stacks if name in functions(one)]


KIND = {"gevent": "greenlet", "asyncio": "task", "uvloop": "task", "threading": "thread"}


def test_each_stack_has_the_path_of_its_service(
    shop: Workshop, served: Program, backend: str
) -> None:
    stacks = dumped(shop, "app.App")
    [task] = in_function(stacks, "Db.listen")
    assert task["kind"] == KIND[backend]
    assert task["service"] == "App/Db"
    assert task["doing"].removeprefix("task ") == "Db.listen"

    [connection] = in_function(stacks, "App.handle")
    assert connection["kind"] == KIND[backend]
    assert connection["service"] == "App/StreamServer"
    assert connection["doing"].startswith("connection of 127.0.0.1:")

    [other] = in_function(stacks, "Db.ask")  # on the bridge, or in a worker thread
    assert other["kind"] == ("task" if backend in ("gevent", "threading") else "thread")
    assert other["service"] == "App/Db"
    assert "Db.ask" in other["doing"]

    named = {one["name"] for one in stacks if one["kind"] == "thread"}
    assert {"MainThread", "ginkgo-control", "ginkgo-watchdog"} <= named


def test_nobody_reads_the_values_of_variables_in_it(shop: Workshop, served: Program) -> None:
    told = shop.ctl("app.App", "dump").stdout
    assert "Db.listen" in told
    assert "canary-of" not in told.replace('local = "canary-of-the-locals"', "")
    assert "canary-of-the-arguments" not in shop.ctl("app.App", "dump", "--json").stdout


def test_people_read_their_own_code_and_where_it_is(shop: Workshop, served: Program) -> None:
    told = shop.ctl("-p", str(served.pid), "dump")
    assert told.returncode == 0
    lines = told.stdout.splitlines()
    assert lines[0].startswith(f"app.App (pid {served.pid}): ")
    at = next(number for number, line in enumerate(lines) if line.startswith("App/Db: "))
    assert lines[at + 1].startswith(f"  File {shop.folder / 'app.py'}:")
    assert "thread ginkgo-control" in told.stdout.partition("and nothing of the application's")[2]


@pytest.mark.fault(60)
@pytest.mark.fault(41)
def test_sigquit_names_what_blocks_and_its_service(shop: Workshop, backend: str) -> None:
    shop.write("how.py", ASLEEP)
    shop.write("app.py", source(backend))
    program = shop.begin(*command(backend, "app.App", "--set", "blocked_after=0"))
    program.wait_for("^blocked$")
    assert program.stops(signal.SIGQUIT) == 75
    program.wait_for("SIGQUIT: what everything is doing")
    program.wait_for(" in busy$")
    if backend != "threading":
        program.wait_for(r"App/Worker: task Worker.hang \(thread MainThread\)")


def test_a_greenlet_that_a_task_has_spawned_goes_with_the_task(shop: Workshop) -> None:
    shop.write(
        "app.py",
        """
        import gevent
        from ginkgo import Service

        class App(Service):
            def do_start(self):
                self.spawn(self.work)

            def work(self):
                gevent.spawn(self.child)
                self.async_.sleep(1000)

            def child(self):
                print("up", flush=True)
                self.async_.sleep(1000)
        """,
    )
    program = shop.begin(*command("gevent", "app.App"))
    program.wait_for("^up$")
    [child] = in_function(dumped(shop, "app.App"), "App.child")
    assert (child["service"], child["doing"]) == ("App", "spawned by task App.work")
    assert program.stops() == 0


def test_what_does_not_run_has_no_dump(shop: Workshop) -> None:
    answer = shop.ctl("app.App", "dump")
    assert answer.returncode == 7
    assert "app.App is not running" in answer.stderr


def test_a_thread_of_the_hubs_pool_is_there_only_while_it_works(shop: Workshop) -> None:
    shop.write("how.py", ASLEEP)
    shop.write(
        "app.py",
        """
        from ginkgo import Service
        from how import busy

        class App(Service):
            def do_start(self):
                self.spawn(self.work)

            def work(self):
                self.async_.to_thread(self.compute)
                print("idle", flush=True)

            def compute(self):
                busy()
        """,
    )
    program = shop.begin(*command("gevent", "app.App"))
    program.wait_for("^blocked$")
    [thread] = in_function(dumped(shop, "app.App"), "App.compute")
    assert (thread["kind"], thread["service"]) == ("thread", "App")
    shop.write("gate", "")
    program.wait_for("^idle$")
    assert not [one for one in dumped(shop, "app.App") if one["name"].startswith("gevent-pool")]
    assert "blocks the hub" not in program.output
    assert program.stops() == 0
