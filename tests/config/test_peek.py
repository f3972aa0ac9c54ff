from __future__ import annotations

from typing import Any

import pytest

from ginkgo.config import ConfigError, peek


def test_literals_are_known_without_running_the_file(write: Any) -> None:
    path = write(
        """
        import no_such_module
        backend = "asyncio"
        MONKEY_PATCH = False
        daemon: bool = True
        umask = 0o22
        one = two = -1.5
        names = ["a", ("b", {"c": {1, 2}})]
        nothing = None
        _own = 1
        raise SystemExit
        """
    )
    assert peek(path) == {
        "backend": "asyncio",
        "monkey_patch": False,
        "daemon": True,
        "umask": 0o22,
        "one": -1.5,
        "two": -1.5,
        "names": ["a", ("b", {"c": {1, 2}})],
        "nothing": None,
    }


@pytest.mark.parametrize(
    "change",
    [
        "backend = choose()",
        "if x:\n    backend = 'b'",
        "try:\n    pass\nexcept ValueError:\n    backend = 'b'",
        "backend += 'b'",
        "def backend(): ...",
        "class backend: ...",
        "match x:\n    case 1:\n        backend = 'b'",
        "backend = {**x}",
        "backend = f'{x}'",
        "backend = +x",
    ],
)
def test_what_is_computed_or_depends_is_not_known(write: Any, change: str) -> None:
    assert "backend" not in peek(write(f"backend = 'a'\n{change}\n"))


def test_an_annotation_without_a_value_says_nothing(write: Any) -> None:
    assert peek(write("backend: str\n")) == {}


def test_a_file_that_cannot_be_used_is_told_as_when_it_is_loaded(write: Any) -> None:
    path = write("backend = = 1\n")
    with pytest.raises(ConfigError, match=f"{path}:1:11: invalid syntax"):
        peek(path)
    with pytest.raises(ConfigError, match="there is no such file"):
        peek(f"{path}.not")
