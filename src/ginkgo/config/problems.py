"""What is wrong with a configuration: every problem, each with the place where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..core.errors import ConfigError


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        setting: the path of the setting, or "" when no single setting is to blame.
        message: what is wrong with it; the value of a secret setting is never in it.
        origin: the place: `file:line`, `environment GINKGO_X`, `--set`, `set()`, or "".
    """

    setting: str
    message: str
    origin: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}" if self.origin else self.message


class ConfigProblems(ConfigError, RuntimeError):
    """All that is wrong with a configuration, at once.

    It is a RuntimeError too, because that is what 0.6 raised for a config file that does not load.

    Args:
        problems: at least one.
        hint: what to do next, or None.
    """

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(_message(self.problems), hint=hint)

    def __reduce__(self) -> tuple[Any, ...]:
        # Its argument is not its message, as pickle expects.
        return type(self), (self.problems,), {"hint": self.hint}


def refuse(message: str, origin: str, *, hint: str | None = None) -> ConfigProblems:
    """Return the error for one problem that no single setting is to blame for."""
    return ConfigProblems([Problem("", message, origin)], hint=hint)


def _message(problems: Sequence[Problem]) -> str:
    if len(problems) == 1:
        return str(problems[0])
    lines = "".join(f"\n  {problem}" for problem in problems)
    return f"{len(problems)} things are wrong in the configuration:{lines}"
