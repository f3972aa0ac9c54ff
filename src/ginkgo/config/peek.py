"""What a config file says in so many words, without running it.

A launcher has to know `backend` and `monkey_patch` before it imports anything that the file may
import. What is computed, or set in an `if`, cannot be known in this way, and is left out.
"""

from __future__ import annotations

from typing import Any

from .names import normalise
from .source import absolute, read, tree_of


def peek(path: str) -> dict[str, Any]:
    """Return the names that the config file at `path` sets to literals, with their last values.

    Example:
        peek("app.conf.py").get("backend", "gevent")

    Raises:
        ConfigError: the file cannot be read, or is no Python.
    """
    from .files import bindings

    found: dict[str, Any] = {}
    for statement in tree_of(read(absolute(path))).body:
        for name, _ in bindings([statement]):
            found.pop(normalise(name), None)
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        names = [target.id for target in targets if type(target).__name__ == "Name"]
        if type(statement).__name__ in ("Assign", "AnnAssign") and statement.value is not None:
            try:
                value = _literal(statement.value)
            except ValueError:
                continue
            found |= {normalise(name): value for name in names if not name.startswith("_")}
    return found


def _literal(node: Any) -> Any:
    """Return the value of a literal; `ast.literal_eval`, without the import of `ast`.

    Raises:
        ValueError: it has to be computed.
    """
    match type(node).__name__:
        case "Constant":
            return node.value
        case "Tuple":
            return tuple(_literal(item) for item in node.elts)
        case "List":
            return [_literal(item) for item in node.elts]
        case "Set":
            return {_literal(item) for item in node.elts}
        case "Dict" if None not in node.keys:
            return {_literal(k): _literal(v) for k, v in zip(node.keys, node.values, strict=True)}
        case "UnaryOp" if type(node.op).__name__ == "USub":
            value = _literal(node.operand)
            if isinstance(value, int | float):
                return -value
    raise ValueError("not a literal")
