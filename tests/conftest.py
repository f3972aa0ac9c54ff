"""What every test gets: a world for each backend, and the proof that it leaves nothing behind."""

from __future__ import annotations

import gc
import inspect
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.dialects import WORLDS, World
from tests.leaks import nothing_left_behind
from tests.workshop import Workshop, become_subreaper, workshop

from ginkgo.core.context import context

# CI and everybody else run the same examples; HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("search", deadline=None, max_examples=2_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


# A shell that starts this in the background ignores SIGINT and SIGQUIT, nohup(1) ignores SIGHUP,
# and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """What is there before the first test is looked at by no search for leaks: it cannot be one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, _nothing_left_behind: None) -> Iterator[World]:
    """A backend; the test runs once on each."""
    world = WORLDS[request.param]()
    before, context.backend = context.backend, world.name
    yield world
    context.backend = before
    world.close()
    world.leave()


@pytest.fixture
def no_logging() -> Iterator[None]:
    """Nothing is logged: thousands of records would be kept, to be shown should the test fail."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)  # not by setting it back: loggers remember what it was


@pytest.fixture
def shop(tmp_path: Path, _nothing_left_behind: None) -> Iterator[Workshop]:
    """A folder in which the real commands are run; afterwards nothing of them may be left."""
    become_subreaper()
    with workshop(tmp_path) as place:
        yield place


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function in its world."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    pyfuncitem.funcargs["world"].run(pyfuncitem.obj(**arguments))
    return True
