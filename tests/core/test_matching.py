"""A tree runs on the backend that its services are written for, where nobody has said another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from ginkgo import Service
from ginkgo.async_.asyncio import StreamServer, _threads
from ginkgo.core.context import context
from ginkgo.core.errors import ConfigError


@pytest.fixture(autouse=True)
def _nobody_has_said(_nothing_left_behind: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(context, "backend", None)
    yield
    if hasattr(_threads, "own"):
        _threads.own.backend.close()  # the loop of this thread, which goes on


class Asynchronous(Service):
    started = False

    async def do_start(self) -> None:
        await asyncio.sleep(0)
        self.started = True


class Plain(Service):
    def do_start(self) -> None:
        self.task = self.spawn(asyncio.sleep, 0)


def test_a_coroutine_hook_anywhere_makes_it_asyncio() -> None:
    root = Service()
    child = root.add_service(Asynchronous())
    with root:
        assert root.backend_in_use.name == "asyncio"
        assert child.started


def test_so_does_a_server_for_asyncio() -> None:
    root = Service()
    root.add_service(StreamServer(("127.0.0.1", 0), print))
    with root:
        assert root.backend_in_use.name == "asyncio"


def test_so_does_a_loop_that_runs() -> None:
    async def main() -> None:
        async with Plain() as plain:
            await plain.task
            assert plain.backend_in_use.name == "asyncio"

    asyncio.run(main())


@pytest.mark.parametrize("backend", ["gevent", "threading"])
def test_a_coroutine_hook_is_refused_where_another_was_chosen(backend: str) -> None:
    root = Asynchronous()
    root.backend = backend
    with pytest.raises(ConfigError, match=f"do_start is a coroutine .* runs on {backend}"):
        root.start()
    assert root.state == "failed"


def test_without_a_sign_it_is_gevent() -> None:
    with Service() as root:
        assert root.backend_in_use.name == "gevent"
