from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.logs.scripts import run

from ginkgo.core.errors import GinkgoError
from ginkgo.logs.tracebacks import user_traceback


def module(name: str, code: str, **names: Any) -> Any:
    """Code that runs as if it stood in a module of that name."""
    space: dict[str, Any] = {"__name__": name, **names}
    exec(compile(code, f"/somewhere/{name.replace('.', '/')}.py", "exec"), space)
    return space["f"]


def through(name: str, inner: Callable[[], object]) -> Callable[[], object]:
    result: Callable[[], object] = module(name, "def f(): return inner()", inner=inner)
    return result


def caught(f: Callable[[], object]) -> Exception:
    try:
        f()
    except Exception as error:
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # not this frame
        return error
    raise AssertionError("nothing was raised")


def boom() -> None:
    raise ValueError("boom")


def files(text: str) -> list[str]:
    return re.findall(r'File "(.*?)"', text)


def test_it_begins_where_the_users_code_begins() -> None:
    error = caught(through("ginkgo.core.tasks", through("gevent.greenlet", boom)))
    assert files(user_traceback(error)) == [__file__]
    assert user_traceback(error).splitlines()[0] == "Traceback (most recent call last):"
    assert user_traceback(error).splitlines()[-1] == "ValueError: boom"


def test_frames_of_the_framework_further_in_are_kept() -> None:
    error = caught(through("ginkgo.core.tasks", through("app.db", through("ginkgo.config", boom))))
    assert files(user_traceback(error)) == [
        "/somewhere/app/db.py",
        "/somewhere/ginkgo/config.py",
        __file__,
    ]


def test_a_fault_in_the_framework_itself_is_shown_whole() -> None:
    raising = module("ginkgo.core.state", "def f(): raise RuntimeError('a bug')")
    error = caught(through("ginkgo.core.tasks", raising))
    assert len(files(user_traceback(error))) == 2


def test_a_package_that_is_only_named_alike_is_the_users() -> None:
    assert len(files(user_traceback(caught(through("ginkgo_extras.x", boom))))) == 2


def test_causes_contexts_and_members_of_groups_are_trimmed_too() -> None:
    def group() -> None:
        inner = caught(through("ginkgo.core.tasks", boom))
        cause = caught(through("gevent.hub", boom))
        other = KeyError("other")
        other.__cause__ = cause
        other.__context__ = inner
        raise ExceptionGroup("two failed", [inner, other])

    text = user_traceback(caught(through("ginkgo.core.lifecycle", group)))
    assert set(files(text)) == {__file__}
    assert "direct cause" in text
    assert "two failed (2 sub-exceptions)" in text


def test_notes_are_kept() -> None:
    error = caught(boom)
    error.add_note("while starting HelloWorld/StreamServer")
    assert "while starting HelloWorld/StreamServer" in user_traceback(error)


def test_exceptions_that_go_round_in_circles_come_to_an_end() -> None:
    one, other = caught(boom), caught(boom)
    one.__cause__, other.__cause__ = other, one
    assert user_traceback(one).count("ValueError: boom") == 2


def test_an_exception_that_was_never_raised_has_its_name() -> None:
    assert user_traceback(ValueError("boom")) == "ValueError: boom"


@pytest.mark.fault(32)
def test_an_exception_that_cannot_be_shown_is_named() -> None:
    class EvilError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

        @property
        def __notes__(self) -> list[str]:  # type: ignore[override]
            raise RuntimeError("no")

    def evil() -> None:
        raise EvilError

    assert "EvilError" in user_traceback(caught(evil))


def test_real_frames_of_gevent_and_of_the_import_machinery_are_left_out(tmp_path: Any) -> None:
    (tmp_path / "app.py").write_text("import gevent\ndef f(): 1 / 0\ngevent.spawn(f).get()\n")
    shown = run(
        """
        import importlib
        from ginkgo.logs.tracebacks import user_traceback
        sys.path.insert(0, sys.argv[1])
        sys.stderr = open(os.devnull, "w")
        def load():
            importlib.import_module("app")
        exec(compile("def f(load): load()", "/ginkgo/process/target.py", "exec"),
             space := {"__name__": "ginkgo.process.target"})
        try:
            space["f"](lambda: importlib.import_module("app"))
        except Exception as error:
            tb = error.__traceback__.tb_next
            while "lambda" in tb.tb_frame.f_code.co_name or tb.tb_frame.f_globals is space:
                tb = tb.tb_next
            print(user_traceback(error, tb))
        """,
        tmp_path,
        patched=True,
    ).stdout
    assert files(shown)[0] == str(tmp_path / "app.py")
    assert "frozen importlib" not in shown


def test_an_error_of_ginkgos_own_shows_the_users_frames_and_no_others() -> None:
    refuse = module("ginkgo.somewhere", "def f(): raise GinkgoError('no')", GinkgoError=GinkgoError)
    users = module("users", "def f(): return inner()", inner=refuse)
    shown = user_traceback(caught(users))
    assert "/somewhere/users.py" in shown
    assert "/somewhere/ginkgo" not in shown
    error = caught(refuse)
    assert error.__traceback__ is not None
    assert user_traceback(error, error.__traceback__.tb_next) == ""
