"""What may come next on a command line of ``ginkgoctl``: what a shell asks at every TAB.

Known are the actions, the instances from their runtime folders, and from the control socket of the
one that is named its services, settings and loggers. It is never waited for long, the application
is never imported, and nothing is ever printed that a shell could take for more than a word.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from .ctl import ACTIONS, OPTIONS, WITHOUT_TARGET

Candidate = tuple[str, str]
"""A word, and what it is."""

PATIENCE = 0.3
"""Seconds for an instance's answer; somebody has pressed a key and waits."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
KINDS = (
    "state",
    "failure",
    "backoff",
    "restart",
    "give-up",
    "reload",
    "asked",
    "lame-duck",
    "set",
    "log-level",
    "put-back",
)
STATES = ("ready", "stopped")
TIMES = ("10m", "1h")
SHELLS = ("bash", "zsh", "fish")
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/@+,:=-")

VALUES: dict[str, tuple[str, ...]] = {
    "-p": (),
    "--pid": (),
    "--timeout": (),
    "--for": (*STATES, *TIMES),
    "-n": (),
    "--lines": (),
    "--service": (),
    "--level": LEVELS,
    "--grep": (),
    "--kind": KINDS,
    "--every": (),
}
"""The options that take a value, and which."""

FLAGS = {
    "--json": "print JSON",
    "--no-color": "print no colours",
    "--quiet": "print nothing but errors",
    "--force": "stop, restart: send signals",
    "--kill-on-timeout": "start: end what is not ready in time",
    "--follow": "logs, events: go on",
    "--all": "tree: each service",
    "--once": "top: one picture",
    "--raw": "log, logtail: control characters as they are",
    "--help": "show all of this",
}


def print_candidates(arguments: list[str]) -> int:
    """Print what may come next, a word in a line; for zsh and fish also what it is.

    Args:
        arguments: the shell, and the words of the command line up to the cursor, the last of which
            may be empty or not complete.
    """
    shell, *words = arguments or ["bash"]
    current = words.pop() if words else ""
    lines = []
    for word, about in _sorted(candidates(words, current)):
        if not word.startswith(current) or not SAFE.issuperset(word):
            continue
        about = "".join(sign for sign in about if sign.isprintable())
        if shell == "zsh":
            word = word.replace(":", "\\:")
        joint = {"zsh": ":", "fish": "\t"}.get(shell)
        lines.append(f"{word}{joint}{about}" if joint and about else word)
    if lines:
        print("\n".join(lines))
    return 0


def _sorted(found: Iterator[Candidate]) -> list[Candidate]:
    return list({word: (word, about) for word, about in found}.values())


def candidates(words: list[str], current: str) -> Iterator[Candidate]:
    """Yield what may follow `words`; more than what begins like `current`."""
    before = words[-1] if words else ""
    named = list(_positional(words))
    if before in VALUES:
        if before == "--service":
            yield from _services(_target(named))
        elif before == "--for" and _action(named) is not None:
            yield from ((value, "") for value in (STATES if "wait" in named[:2] else TIMES))
        else:
            yield from ((_as_typed(value, current), "") for value in VALUES[before])
    elif current.startswith("-"):
        yield from _options(_action(named))
    elif "-p" in words or "--pid" in words:
        yield from _following(named, 0, None, current) if named else _actions()
    else:
        yield from _next(named, current)


def _positional(words: list[str]) -> Iterator[str]:
    """The words that are no options, nor values of options."""
    for before, word in zip(["", *words], words, strict=False):
        if not word.startswith("-") and before not in VALUES:
            yield word


def _next(named: list[str], current: str) -> Iterator[Candidate]:
    if not named:
        yield from _actions()
        yield from _instances(current)
        return
    action = _action(named)
    if action is None:
        if len(named) == 1:
            yield from _actions()
    elif action == "completion":
        yield from ((shell, "") for shell in SHELLS if len(named) == 1)
    elif len(named) == 1 and action not in WITHOUT_TARGET:
        yield from _instances(current)
    else:
        yield from _following(named, 1, _target(named), current)


def _following(
    named: list[str], targets: int, target: str | None, current: str
) -> Iterator[Candidate]:
    """What may follow the action, of which some has been given already, and a target or none."""
    given = len(named) - 1 - targets
    for name in ACTIONS.get(_action(named) or "", ("", "", ""))[1].split()[given : given + 1]:
        if name == "LEVEL":
            yield from ((_as_typed(level, current), "") for level in LEVELS)
        elif name in ARGUMENTS:
            yield from ARGUMENTS[name](target)


def _as_typed(level: str, current: str) -> str:
    """A level in small letters to whoever has begun it so; all else is in them already."""
    return level.lower() if current[:1].islower() else level


def _options(action: str | None) -> Iterator[Candidate]:
    """The options, in their long form: those that the action takes, once it is known."""
    named = {name: "" for name in VALUES if name.startswith("--")}
    for name, about in (named | FLAGS).items():
        if action is None or action in OPTIONS.get(name, ACTIONS):
            yield name, about


def _action(named: list[str]) -> str | None:
    """The action among the words: it is one of the first two."""
    return next((word for word in named[:2] if word in ACTIONS), None)


def _target(named: list[str]) -> str | None:
    """The target among the words: of the first two that which is no action."""
    return next((word for word in named[:2] if word not in ACTIONS), None)


def _actions() -> Iterator[Candidate]:
    for name, (_, _, about) in ACTIONS.items():
        yield name, about


def _instances(current: str) -> Iterator[Candidate]:
    from ..process.instances import instances

    for found in instances():
        if found.record is not None and os.geteuid() in (0, found.owner):
            yield found.record.name, found.record.target
    folder, _, start = current.rpartition("/")
    try:
        names = sorted(os.listdir(folder or ("/" if current.startswith("/") else ".")))
    except OSError:
        return
    for name in names:
        if name.endswith(".conf.py") and name.startswith(start):
            yield current[: len(current) - len(start)] + name, "a configuration file"


def _services(target: str | None) -> Iterator[Candidate]:
    waiting = [_asked(target, "/api/v1/tree")]
    while waiting:
        node = waiting.pop()
        if node.get("path"):
            yield str(node["path"]), str(node.get("state"))
        below = node.get("children") or ()
        waiting += [one for one in reversed(below) if isinstance(one, dict)]


def _settings(target: str | None) -> Iterator[Candidate]:
    for one in _asked(target, "/api/v1/settings").get("settings") or ():
        if isinstance(one, dict):
            yield str(one.get("name")), str(one.get("help") or "")


def _loggers(target: str | None) -> Iterator[Candidate]:
    """Those whose lines are kept, and those above them: a level of theirs counts for all below."""
    lines = _asked(target, "/api/v1/log?lines=1000").get("lines") or ()
    known = {str(one.get("logger") or "") for one in lines if isinstance(one, dict)}
    yield "root", "of what has no other"
    for parts in sorted(name.split(".") for name in known - {"", "root"}):
        for end in range(1, len(parts) + 1):
            yield ".".join(parts[:end]), ""


def _asked(target: str | None, path: str) -> dict[str, Any]:
    """What an instance answers; nothing where it does not."""
    from ..control.client import Client
    from ..core.errors import GinkgoError
    from ..process.instances import find

    if target is None:
        return {}
    found = find(target)
    if not found.running or found.folder is None:
        return {}
    try:
        with Client(found.folder, pid=found.pid, timeout=PATIENCE) as client:
            return client.get(path)
    except (GinkgoError, OSError):
        return {}


ARGUMENTS: dict[str, Callable[[str | None], Iterator[Candidate]]] = {
    "[PATH]": _services,
    "NAME": _settings,
    "LOGGER": _loggers,
}
"""What can stand for what follows an action."""
