"""The house as DESIGN draws it: who may import whom, what an import costs, how long a file gets."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ginkgo"
FILES = sorted(SOURCE.rglob("*.py"))

ORDER = (
    "core",
    "config",
    "async_",
    "servers",
    "logs",
    "process",
    "workers",
    "control",
    "cli",
)
"""Each may import those before it, and none after it."""

LINES = 500  # in a file, at most


def names(files: list[Path]) -> list[str]:
    return [str(path.relative_to(SOURCE)) for path in files]


def floor_of(module: str) -> int | None:
    """Where a module stands in the order: the index of its folder; None for what has no place."""
    parts = module.split(".")
    return ORDER.index(parts[1]) if len(parts) > 1 and parts[1] in ORDER else None


def module_of(path: Path) -> str:
    parts = [*path.relative_to(SOURCE.parent).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The line and full name of every module that a file imports when it runs, at any depth."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in when_it_runs(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def when_it_runs(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from (other, *when_it_runs(other))
        else:
            yield node
            yield from when_it_runs(node)


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_imports_go_down_the_house_and_never_up(path: Path):
    mine = floor_of(module_of(path))
    if mine is None:
        return  # the public names, and what stands beside the house
    wrong = [
        f"line {line}: {ORDER[mine]} imports {module}"
        for line, module in imports(path)
        if module.split(".")[0] == "ginkgo" and (floor_of(module) or 0) > mine
    ]
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_no_file_grows_past_its_limit(path: Path):
    assert len(path.read_text().splitlines()) <= LINES


@pytest.mark.fault("O5")
@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_nothing_is_caught_without_being_named(path: Path):
    handlers = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
    ]
    assert not [f"line {handler.lineno}" for handler in handlers if handler.type is None]
    assert not [
        f"line {handler.lineno}: everything is caught and nothing is said"
        for handler in handlers
        if ast.unparse(handler.type) in ("Exception", "BaseException")
        and all(isinstance(statement, ast.Pass) for statement in handler.body)
    ]


def test_the_test_of_the_order_sees_an_import_that_goes_up(tmp_path: Path):
    """The test itself is no good if it sees nothing."""
    tree = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from ..cli import main\n"
        "else:\n    from ..logs import setup\n"
        "def later():\n    from ..servers import tls\n"
    )
    seen = [ast.unparse(node) for node in when_it_runs(tree) if isinstance(node, ast.ImportFrom)]
    assert seen == [
        "from typing import TYPE_CHECKING",
        "from ..logs import setup",
        "from ..servers import tls",
    ]


def imported_by(statement: str) -> set[str]:
    """The modules that an interpreter has, once it has carried `statement` out."""
    code = f"import sys\nold = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - old)"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.split())


HEAVY = ("gevent", "greenlet", "asyncio", "logging.config", "msgspec", "psutil", "h11", "argparse")


def test_import_ginkgo_imports_no_backend():
    assert not imported_by("import ginkgo") & set(HEAVY)


def test_the_names_of_ginkgo_are_found_when_they_are_used():
    import ginkgo

    for name in ginkgo.__all__:
        assert getattr(ginkgo, name) is not None
    with pytest.raises(AttributeError, match="module 'ginkgo' has no attribute 'nonsense'"):
        _ = ginkgo.nonsense


def test_a_service_that_is_only_declared_imports_no_backend():
    statement = "from ginkgo import Service\nclass App(Service): pass\nApp().add_service(Service())"
    assert not imported_by(statement) & {"gevent", "asyncio", "logging.config"}


def test_the_core_knows_no_backend_and_no_clock_of_its_own():
    imported = {
        module for path in FILES if path.parent.name == "core" for _, module in imports(path)
    }
    assert not {module.split(".")[0] for module in imported} & {
        "asyncio",
        "gevent",
        "greenlet",
        "signal",
        "socket",
        "subprocess",
        "threading",
        "time",
    }
