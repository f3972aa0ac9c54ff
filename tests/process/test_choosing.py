"""Which backend a target runs on, from its source alone: nothing of it is imported."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from ginkgo import Service
from ginkgo.core.errors import ConfigError
from ginkgo.process.choosing import Choice, check, choose
from ginkgo.process.options import Options


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GINKGO_BACKEND", raising=False)

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise SystemExit('imported')\n" + textwrap.dedent(text))

    return write


def backend_of(target: str, known: dict[str, object] | None = None, **options: object) -> str:
    return choose(Options(target, **options), known or {}).backend  # type: ignore[arg-type]


ASYNC = "class App(Service):\n    async def do_start(self): ...\n"
PLAIN = "class App(Service):\n    def do_start(self): ...\n"


def test_without_a_word_it_is_gevent(write):
    write("app.py", PLAIN)
    assert choose(Options("app.App"), {}) == Choice("gevent")
    assert backend_of("nothing.there") == "gevent", "what is wrong is told when it is imported"


def test_a_coroutine_hook_makes_it_asyncio_and_is_named(write):
    write("app.py", ASYNC)
    choice = choose(Options("app.App"), {})
    assert choice.backend == "asyncio"
    assert choice.because == "App.do_start is a coroutine function"
    assert not choice.outside


def test_what_is_said_comes_before_what_is_seen(write, monkeypatch: pytest.MonkeyPatch):
    write("app.py", ASYNC)
    assert backend_of("app.App", backend="gevent") == "gevent"
    assert backend_of("app.App", assignments=("backend=threading",)) == "threading"
    assert backend_of("app.App", {"backend": "gevent"}) == "gevent"
    monkeypatch.setenv("GINKGO_BACKEND", "threading")
    assert backend_of("app.App") == "threading"


def test_the_class_may_say_it(write):
    write("app.py", "class App(Service):\n    backend = 'ginkgo.async_.threading'\n")
    assert choose(Options("app.App"), {}) == Choice("threading")


def test_a_backend_of_a_class_that_there_is_not_is_told_with_its_place(write, tmp_path: Path):
    write("app.py", "class App(Service):\n    backend = 'tornado'\n")
    with pytest.raises(ConfigError) as caught:
        choose(Options("app.App"), {})
    assert str(caught.value) == (
        f"{tmp_path}/app.py:3: App.backend must be one of gevent, asyncio, threading, not 'tornado'"
    )


@pytest.mark.parametrize(
    "text",
    [
        "class App(Service):\n    def __init__(self): self.add_service(Child())\n",
        "def App(): return Child()\n",
        "class App(Child): pass\n",
        "App = Child\n",
    ],
)
def test_hooks_are_found_wherever_the_target_leads_to(write, text: str):
    write("app.py", text + "class Child(Service):\n    async def do_stop(self): ...\n")
    assert backend_of("app.App") == "asyncio"


@pytest.mark.parametrize(
    "line",
    [
        "from parts.child import Child",
        "from parts import child\nChild = child.Child",
        "import parts.child\nclass Child(parts.child.Child): ...",
        "from parts import Child",
    ],
)
def test_hooks_are_found_in_the_other_modules_of_the_application(write, line: str):
    write("parts/__init__.py", "from .child import Child\n")
    write("parts/child.py", ASYNC.replace("App", "Child"))
    write("app.py", f"{line}\ndef App(): return Child()\n")
    assert backend_of("app.App") == "asyncio"


def test_what_the_target_does_not_use_says_nothing(write):
    write("app.py", PLAIN + ASYNC.replace("App", "Other"))
    assert backend_of("app.App") == "gevent"


def test_the_servers_of_one_backend_make_it_that_one(write):
    write(
        "app.py",
        "from ginkgo.async_.threading import StreamServer\ndef App(): return StreamServer(0)\n",
    )
    assert choose(Options("app.App"), {}).because == "StreamServer is from ginkgo.async_.threading"
    write(
        "web.py",
        "from ginkgo.async_.asyncio import ASGIServer\ndef App(): return ASGIServer(0, app)\n",
    )
    assert backend_of("web.App") == "gevent", "it runs beside gevent, too"


def test_a_config_file_leads_to_its_service(write):
    write("app.py", ASYNC)
    write("app.conf.py", "from app import App\nservice = App\n")
    assert backend_of("app.conf.py") == "asyncio"
    assert backend_of("app.conf.py", {"service": "app.App"}) == "asyncio"


class Asynchronous(Service):
    async def do_start(self) -> None: ...


def test_what_the_source_did_not_show_is_refused_when_the_tree_is_there():
    root = Service()
    root.add_service(Asynchronous())
    with pytest.raises(
        ConfigError, match="Service/Asynchronous: do_start is a coroutine"
    ) as caught:
        check(root, Choice("gevent"))
    assert "--backend asyncio" in str(caught.value.hint)
    check(root, Choice("asyncio"))
    root.backend = "asyncio"
    with pytest.raises(ConfigError, match=r"its backend is asyncio, and .* prepared for gevent"):
        check(root, Choice("gevent"))
