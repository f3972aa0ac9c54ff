from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ginkgo.config import ConfigError, ConfigProblems, Setting, Settings, settings
from ginkgo.config.source import LARGEST


def load(path: str) -> Settings:
    config = Settings(deadline=5)
    config.load_file(path)
    return config


def error_of(path: str, **named: Any) -> ConfigProblems:
    with pytest.raises(ConfigProblems) as caught:
        Settings(**{"deadline": 5, **named}).load_file(path)
    return caught.value


# What a file says


def test_the_names_in_a_file_are_settings_and_plain_classes_are_groups(write: Any) -> None:
    path = write(
        """
        import os
        from collections import OrderedDict
        from pathlib import *

        daemon = bool(os.environ.get("NOBODY_SETS_THIS", False))
        MESSAGE = "hi"
        _scratch = 3

        class flask:
            debug = False
            secret_key = "k"

            class Sub:
                foo = "bar"

        class Mine(OrderedDict):
            x = 1

        def on_start():
            return message

        message = "later"
        """
    )
    config = load(path)
    assert config.snapshot.given() == {
        "daemon": False,
        "message": "later",
        "flask.debug": False,
        "flask.secret_key": "k",
        "flask.sub.foo": "bar",
        "on_start": config.get("on_start"),
    }
    assert config.get("on_start")() == "later"
    assert config.origin("flask.sub.foo") == f"{path}:14"


def test_a_class_from_elsewhere_and_the_class_that_a_setting_wants_are_values(
    config: Settings, write: Any
) -> None:
    class Has:
        handler: Any = Setting("handler")
        plain: Any = Setting("plain")

    path = write(
        """
        from textwrap import TextWrapper as handler

        class plain:
            def __call__(self):
                return self

        class Service:
            pass

        service = Service
        """
    )
    config.load_file(path)
    assert Has.handler.__name__ == "TextWrapper"
    assert Has.plain.__name__ == "plain"
    assert config.get("service").__name__ == "Service"
    assert config.origin("plain") == f"{path}:3"


def test_what_is_imported_or_defined_in_another_spelling_sets_nothing(write: Any) -> None:
    config = load(write("from ginkgo.config import Setting as Service\nservice = 'a.B'\n"))
    assert (config.get("service"), config.origin("service")[-2:]) == ("a.B", ":2")


def test_a_value_comes_from_the_line_that_ran(write: Any) -> None:
    path = write(
        """
        import sys
        if sys.platform == "nothing":
            rate = 1
        else:
            rate = 2
        for name in ("a", "b"):
            last = name
        one = two = (
            3
        )
        three, (four, *five) = 1, (2, 3)
        exec("six = 6")
        with open(__file__) as seven:
            pass
        def set_eight():
            global eight
            eight = 8
        set_eight()
        try:
            1 / 0
        except ZeroDivisionError:
            nine = 9
        nine += 1
        """
    )
    config = load(path)
    lines = {name: config.origin(name).removeprefix(path) for name in config.snapshot.given()}
    assert lines == {
        "rate": ":5",
        "name": ":6",
        "last": ":7",
        "one": ":8",
        "two": ":8",
        "three": ":11",
        "four": ":11",
        "five": ":11",
        "six": ":12",
        "seven": ":13",
        "set_eight": ":15",
        "eight": "",
        "nine": ":23",
    }


def test_a_file_is_an_ordinary_module_to_the_code_in_it(write: Any) -> None:
    path = write(
        """
        from __future__ import annotations
        import dataclasses
        import logging

        @dataclasses.dataclass
        class Point:
            x: int = 1

        point = Point()
        names = sorted(n for n in dir() if n == "point")
        here = __file__
        logger = logging.getLogger(__name__)
        squares = [n * n for n in range(3)]
        del point
        """
    )
    config = load(path)
    assert config.get("squares") == [0, 1, 4]
    assert (config.get("names"), config.get("here")) == (["point"], path)
    assert config.get("logger").name == "app.conf.py"
    assert config.get("point") is None
    assert "app.conf.py" not in sys.modules
    logging.Logger.manager.loggerDict.pop("app.conf.py")


def test_the_path_may_be_relative_and_the_users_home(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("rate = 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("app.conf.py", "./app.conf.py", "~/app.conf.py"):
        assert load(name).origin("rate") == f"{path}:1"


def test_another_encoding_may_be_named_in_the_first_line(write: Any) -> None:
    text = "# -*- coding: latin-1 -*-\nname = 'caf\xe9'\n"
    assert load(write(text.encode("latin-1"))).get("name") == "café"
    assert load(write(b"\xef\xbb\xbfname = 'caf\xc3\xa9'\n")).get("name") == "café"


@pytest.mark.fault(119)
def test_what_else_a_file_does_is_its_own_business(
    write: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONFIG_TOUCHED_THIS", "no")
    path = write(
        """
        import os, threading
        print("hello from the config file", flush=True)
        os.environ["CONFIG_TOUCHED_THIS"] = "yes"
        os.chdir("/")
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        rate = 1
        """
    )
    config = load(path)
    assert config.get("rate") == 1
    assert capfd.readouterr().out == "hello from the config file\n"
    assert os.environ["CONFIG_TOUCHED_THIS"] == "yes"
    config.get("done").set()
    config.get("thread").join()


# What is wrong with a file


@pytest.mark.fault(4)
@pytest.mark.parametrize(
    ("text", "place", "excerpt"),
    [
        ("rate = = 5\n", "1:8", "invalid syntax\n    rate = = 5\n           ^"),
        (
            "x = 1\nif x:\n\trate = (5,\n",
            "3:9",
            "'(' was never closed\n    rate = (5,\n           ^",
        ),
        ("a = 1\nreturn a\n", "2:1", "'return' outside function\n    return a\n    ^"),
    ],
)
def test_a_syntax_error_is_shown_with_line_column_and_caret(
    write: Any, text: str, place: str, excerpt: str
) -> None:
    path = write(text)
    error = error_of(path)
    assert str(error) == f"{path}:{place}: {excerpt}"
    assert error.status == 78


@pytest.mark.fault(4)
def test_nothing_of_a_file_with_a_syntax_error_is_run(write: Any, tmp_path: Path) -> None:
    error_of(write(f"open({str(tmp_path / 'ran')!r}, 'w')\nrate = = 5\n"))
    assert not (tmp_path / "ran").exists()


def test_the_setting_of_0_6_that_is_a_keyword_now_is_told_its_new_name(write: Any) -> None:
    error = error_of(write("async = 'ginkgo.async.gevent'"))
    assert "the setting is now called backend" in (error.hint or "")


def long_line_error(write: Any) -> str:
    return str(error_of(write("x = " + "(" * 300 + ")" * 300)))


def test_of_a_long_line_only_the_part_at_the_caret_is_shown(write: Any) -> None:
    _, line, caret = long_line_error(write).splitlines()
    assert len(line) < 100
    assert line[caret.index("^")] == "("


def make_nothing(path: Path) -> None:
    pass


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 1024 * 1024)


def make_utf16(path: Path) -> None:
    path.write_bytes("rate = 1\n".encode("utf-16"))


def make_latin1(path: Path) -> None:
    path.write_bytes(b"rate = 1\nname = 'caf\xe9'\n")


def make_null_bytes(path: Path) -> None:
    path.write_bytes(b"rate = 1\0\n")


NULL_BYTES = ":1:1: source code string cannot contain null bytes\n    rate = 1 \n    ^"


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [make_folder, make_pipe, make_large, make_loop])
def test_what_is_no_config_file_is_told_with_what_to_do(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "app.conf.py"
    make(path)
    assert error_of(str(path)).hint == (
        "A config file is a small file of Python: `ls -lL` shows what this one is."
    )


@pytest.mark.fault(5)
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (make_nothing, ": there is no such file"),
        (make_folder, ": it is a folder"),
        (make_pipe, ": it is not a regular file"),
        (make_large, f": it is larger than {LARGEST // 1024} KiB, which no config file is"),
        (make_utf16, ": it is UTF-16 text, and has to be UTF-8"),
        (make_latin1, ":2: there is a byte 0xe9 that is not UTF-8"),
        (
            make_null_bytes,
            ":1:1: source code string cannot contain null bytes\n    rate = 1\n    ^",
        ),
    ],
)
def test_what_cannot_be_read_as_a_config_file_is_told_with_the_reason(
    tmp_path: Path, make: Callable[[Path], None], told: str
) -> None:
    path = tmp_path / "app.conf.py"
    make(path)
    error = error_of(str(path))
    assert str(error) == f"{path}{told}"
    assert error.status == 78


UNREADABLE = """
import os, sys
from ginkgo.config import ConfigError, Settings

Settings().load_file(sys.argv[1])  # imports all that it needs, while that can be read
os.chmod(sys.argv[1], 0)
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    Settings().load_file(sys.argv[1])
except ConfigError as error:
    print(error, error.status)
"""


@pytest.mark.fault(5)
def test_a_file_that_this_user_may_not_read_is_told(write: Any, tmp_path: Path) -> None:
    path = write("rate = 1")
    for parent in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(parent, 0o755)
    done = subprocess.run(
        [sys.executable, "-c", UNREADABLE, path],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    assert done.stdout == f"{path}: it cannot be read by user {user}: Permission denied 78\n"


def test_a_misspelt_file_name_is_told_the_right_one(write: Any) -> None:
    path = write("rate = 1")
    error = error_of(path.replace("app", "apk"))
    assert error.hint == "Did you mean app.conf.py?"
    assert "nor the folder /no/such/folder" in str(error_of("/no/such/folder/app.conf.py"))


NO_SUCH = "ModuleNotFoundError: No module named 'no_such'"
TOO_DEEP = "RecursionError: maximum recursion depth exceeded"


@pytest.mark.fault(6)
@pytest.mark.fault("O12")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys\nsys.exit(3)\n", ":2: it called sys.exit(3)\n    sys.exit(3)"),
        ("raise SystemExit\n", ":1: it called sys.exit()\n    raise SystemExit"),
        (
            "raise KeyboardInterrupt\n",
            ":1: it raised KeyboardInterrupt\n    raise KeyboardInterrupt",
        ),
        ("x = [\n    1,\n    1 / 0,\n]\n", ":3: ZeroDivisionError: division by zero\n    1 / 0,"),
        (
            "import no_such\n",
            ":1: ModuleNotFoundError: No module named 'no_such'\n    import no_such",
        ),
        ("class db:\n    host = x\n", ":2: NameError: name 'x' is not defined\n    host = x"),
        ("class Own(BaseException): pass\nraise Own('so')\n", ":2: Own: so\n    raise Own('so')"),
        (
            "def f():\n    f()\nf()\n",
            ":2: RecursionError: maximum recursion depth exceeded\n    f()",
        ),
        (
            "from ginkgo.config import ConfigError\nraise ConfigError('set URL', hint='So.')\n",
            ":2: set URL",
        ),
    ],
)
def test_whatever_a_file_raises_becomes_an_error_of_the_configuration(
    write: Any, text: str, told: str
) -> None:
    path = write(text)
    error = error_of(path)
    assert str(error) == f"{path}{told}"
    assert error.status == 78
    assert error.__cause__ is not None


def test_an_error_deep_in_a_helper_is_told_with_both_places(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = write("def half():\n    return 1 / 0\n", "helper_of_test.py")
    monkeypatch.syspath_prepend(tmp_path)
    path = write("import helper_of_test\nrate = helper_of_test.half()\n")
    assert str(error_of(path)) == (
        f"{path}:2: ZeroDivisionError: division by zero\n"
        "    rate = helper_of_test.half()\n"
        f"    raised in {helper}:2"
    )
    sys.modules.pop("helper_of_test")


def test_all_files_that_are_wrong_at_a_reload_are_told_at_once(write: Any) -> None:
    one, other = write("a = 1\n", "one.py"), write("b = 1\n", "other.py")
    config = load(one)
    config.load_file(other)
    write("a = = 1\n", "one.py")
    write("b = 1 / 0\n", "other.py")
    with pytest.raises(ConfigProblems) as caught:
        config.reload()
    assert [p.origin for p in caught.value.problems] == [f"{one}:1:5", f"{other}:1"]
    assert str(caught.value).startswith("2 things are wrong in the configuration:\n  ")


# A file that changes


@pytest.mark.fault(118)
def test_a_file_that_is_replaced_all_the_time_is_never_seen_in_half(write: Any) -> None:
    def version(number: int) -> str:
        return f"a = {number}\n{'# padding ' * 200}\nb = {number}\n"

    config = load(write(version(0)))
    stop = threading.Event()

    def replace() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write(version(number))

    replacer = threading.Thread(target=replace)
    replacer.start()
    try:
        for _ in range(200):
            config.reload()
            now = config.snapshot
            assert now.get("a") == now.get("b")
    finally:
        stop.set()
        replacer.join()
    assert config.get("a") > 0


@pytest.mark.fault(118)
def test_a_symbolic_link_that_is_swapped_is_followed(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"v{number}").mkdir()
        (tmp_path / f"v{number}" / "app.conf.py").write_text(f"rate = {number}\n")
    data, path = tmp_path / "..data", tmp_path / "app.conf.py"
    data.symlink_to("v1")
    path.symlink_to("..data/app.conf.py")
    config = load(str(path))
    assert config.get("rate") == 1
    new = tmp_path / "..data_new"
    new.symlink_to("v2")
    os.replace(new, data)
    config.reload()
    assert (config.get("rate"), config.origin("rate")) == (2, f"{path}:1")


@pytest.mark.fault(118)
def test_a_file_that_is_being_written_is_read_again_until_it_rests(
    write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ginkgo.config import source

    path = write("rate = 1\n")
    pauses: list[float] = []

    def finish(seconds: float) -> None:
        pauses.append(seconds)

    real = source._unmoved
    monkeypatch.setattr(time, "sleep", finish)
    monkeypatch.setattr(source, "_unmoved", lambda *both: len(pauses) == 2 and real(*both))
    assert load(path).get("rate") == 1
    assert len(pauses) == 2
    monkeypatch.setattr(source, "_unmoved", lambda *both: False)
    assert "it is being written all the time" in str(error_of(path))


@pytest.mark.root
def test_root_is_warned_of_a_file_that_others_can_change(write: Any) -> None:
    path = write("rate = 1")
    assert load(path).warnings == ()
    os.chmod(path, 0o664)
    assert load(path).warnings == (
        f"{path}: others can write to it (mode 0664) and so run code as root; chmod go-w it",
    )
    os.chmod(path, 0o644)
    os.chown(path, 65534, -1)
    config = load(path)
    told = f"{path}: it belongs to user 65534, who can so run code as root; chown it to root"
    assert config.warnings == (told,)
    assert config.reload().warnings == (told,)


def test_an_error_of_a_file_is_one_of_the_configuration() -> None:
    with pytest.raises(ConfigError):
        settings.context().load_file("/no/such/file.py")
