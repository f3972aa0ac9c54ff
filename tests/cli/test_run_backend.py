"""``--backend``, and what does not go together."""

from __future__ import annotations

import signal

import pytest
from tests.workshop import Workshop

APP = """
    from ginkgo import Service

    class App(Service):
        def do_start(self):
            self.spawn(self.greet)

        def greet(self):
            print("Hello")
            self.async_.sleep(1000)

    class OnThreads(Service):
        backend = "threading"

        def do_start(self):
            print(f"on {self.root.backend_in_use.name}")

    class Parent(Service):
        def __init__(self):
            self.add_service(OnThreads())

    class Mixed(Service):
        names = ("gevent", "threading")

        def __init__(self):
            import importlib

            for name in self.names:
                module = importlib.import_module(f"ginkgo.async_.{name}")
                self.add_service(module.StreamServer(("127.0.0.1", 0), print))

    class Second(Mixed):
        names = ("gevent", "asyncio")

    class Hidden(Mixed):
        names = ("asyncio",)
"""


@pytest.fixture
def app(shop: Workshop) -> Workshop:
    shop.write("app.py", APP)
    return shop


@pytest.mark.parametrize("words", [[], ["-d"], ["check"]])
def test_a_wrong_backend_is_told_with_where_it_came_from(app: Workshop, words: list[str]) -> None:
    ended = app.ginkgo(*words, "--backend", "threadin", "app.App")
    assert ended.returncode == 78
    assert ended.stderr.strip() == (
        "ginkgo: --backend: backend must be one of gevent, asyncio, threading, not 'threadin'; "
        "did you mean threading?"
    )


def test_the_help_tells_the_backends_and_which_one_was_chosen(app: Workshop) -> None:
    ended = app.ginkgo("--backend", "asyncio", "app.App", "-h")
    assert "gevent (the default), asyncio or threading" in " ".join(ended.stdout.split())
    assert "now 'asyncio', from --backend" in ended.stdout


@pytest.mark.parametrize("backend", ["gevent", "asyncio", "threading"])
def test_a_plain_task_runs_and_stops_on_every_backend(app: Workshop, backend: str) -> None:
    program = app.begin("ginkgo", "--backend", backend, "app.App")
    program.wait_for("^Hello$")
    assert program.stops(signal.SIGINT) == 0
    assert "WARNING" not in program.output


@pytest.mark.parametrize("target", ["OnThreads", "Parent"])
def test_what_a_class_says_counts_unless_something_else_is_said_outside(
    app: Workshop, target: str
) -> None:
    app.write("app.conf.py", f"service = 'app.{target}'\nbackend = 'asyncio'\n")
    for words, backend in (
        ([f"app.{target}"], "threading"),
        (["--backend", "gevent", f"app.{target}"], "gevent"),
        (["app.conf.py"], "asyncio"),
        (["--backend", "gevent", "app.conf.py"], "gevent"),
    ):
        program = app.begin("ginkgo", *words)
        program.wait_for(f"^on {backend}$")
        assert program.stops(signal.SIGINT) == 0


@pytest.mark.parametrize(("target", "other"), [("Mixed", "threading"), ("Second", "asyncio")])
def test_servers_of_two_backends_are_refused_with_the_names_of_both(
    app: Workshop, target: str, other: str
) -> None:
    ended = app.ginkgo(f"app.{target}")
    assert ended.returncode == 78
    assert ended.stderr == (
        f"ginkgo: {target}/StreamServer-2 is for {other}, and {target}/StreamServer is for gevent: "
        "a tree runs on one backend, and this one on gevent\n"
        f"Take both from ginkgo.async_.gevent, or both from ginkgo.async_.{other}.\n"
    )


def test_a_server_that_the_source_did_not_show_is_refused_with_what_to_write(
    app: Workshop,
) -> None:
    ended = app.ginkgo("app.Hidden")
    assert ended.returncode == 78
    assert "Hidden/StreamServer is for asyncio, and its tree runs on gevent" in ended.stderr
    assert "backend = 'asyncio'" in ended.stderr


HIDE = """
    import sys

    class Hidden:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("uvicorn", "uvloop"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    sys.meta_path.insert(0, Hidden())
"""
INSTALL = 'pip install "ginkgo[asyncio]"\n'


@pytest.fixture
def bare(app: Workshop) -> Workshop:
    """Without the extra `asyncio`."""
    app.write("hide/sitecustomize.py", HIDE)
    app.write(
        "web.py",
        """
        from ginkgo import Service
        from ginkgo.async_.asyncio import ASGIServer

        def App():
            return ASGIServer(0, print)
        """,
    )
    app.write("web.conf.py", "from ginkgo.async_.asyncio import ASGIServer\nservice = 'web.App'\n")
    app.env["PYTHONPATH"] = str(app.folder / "hide")
    return app


@pytest.mark.parametrize("words", [[], ["-d"], ["check"]])
@pytest.mark.parametrize("target", ["web.App", "web.conf.py"])
def test_a_missing_extra_is_one_line_that_says_what_to_install(
    bare: Workshop, words: list[str], target: str
) -> None:
    ended = bare.ginkgo(*words, target)
    assert ended.returncode == 78
    (line,) = ended.stderr.splitlines(keepends=True)
    assert line.endswith(f"need uvicorn, which is not installed: {INSTALL}")


def test_asyncio_needs_no_extra(bare: Workshop) -> None:
    program = bare.begin("ginkgo", "--backend", "asyncio", "app.App")
    program.wait_for("^Hello$")
    assert program.stops() == 0
    ended = bare.ginkgo("--backend", "asyncio", "--set", "loop=uvloop", "app.App")
    assert ended.returncode == 78
    assert ended.stderr == f"ginkgo: loop is 'uvloop', and uvloop is not installed: {INSTALL}"


COMPUTED = {
    "an expression": 'import os\nbackend = "asyn" + "cio"\n',
    "under an if": 'import os\nif os.sep: backend = "asyncio"\n',
    "from the environment": 'import os\nbackend = os.environ.get("WANTED", "asyncio")\n',
}


@pytest.mark.parametrize("words", [[], ["-d"], ["check"]], ids=["run", "daemon", "check"])
@pytest.mark.parametrize("text", COMPUTED.values(), ids=COMPUTED)
def test_a_backend_that_is_computed_is_refused_with_what_to_write(
    app: Workshop, text: str, words: list[str]
) -> None:
    app.write("app.conf.py", f'service = "app.App"\n{text}')
    ended = app.ginkgo(*words, "app.conf.py")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert ended.stderr.splitlines() == [
        f"ginkgo: {app.folder}/app.conf.py:3: backend is 'asyncio', which is known only when the "
        "file has run, and before that this process was prepared for gevent",
        "Write backend = 'asyncio' in a line of its own, not under an `if`; or say --backend "
        "asyncio or GINKGO_BACKEND=asyncio.",
    ]
    ended = app.ginkgo("check", "--backend", "asyncio", "app.conf.py")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_computed_and_makes_no_difference_is_let_be(app: Workshop) -> None:
    app.write("app.conf.py", 'service = "app.App"\nbackend = "gev" + "ent"\n')
    program = app.begin("ginkgo", "app.conf.py")
    program.wait_for("^Hello$")
    assert program.stops() == 0


def test_a_computed_monkey_patch_is_refused_too(app: Workshop) -> None:
    app.write("app.conf.py", 'service = "app.App"\nmonkey_patch = not True\n')
    ended = app.ginkgo("app.conf.py")
    assert ended.returncode == 78
    assert ended.stderr.splitlines() == [
        f"ginkgo: {app.folder}/app.conf.py:2: monkey_patch is False, which is known only when the "
        "file has run, and before that this process was prepared for monkey_patch = True",
        "Write monkey_patch = False in a line of its own, not under an `if`; or say "
        "GINKGO_MONKEY_PATCH=False.",
    ]
