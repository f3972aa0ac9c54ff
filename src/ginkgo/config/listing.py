"""The settings that there are, as `ginkgo TARGET -h` lists them.

config settings:
  pidfile     Path to pidfile to use when daemonizing [None]
  rate        Rate at which to emit message [60]
              now 180, from /srv/service.conf.py:4
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from .display import MASK, bare, show
from .names import SERVICE
from .problems import Problem
from .snapshot import DEFAULT
from .types import Unreadable, type_name

if TYPE_CHECKING:
    from .setting import Setting
    from .settings import Settings
    from .snapshot import Snapshot

# Where the seed's help texts begin; a longer name pushes them to the right, up to the limit, and
# one that is longer still has a line of its own.
COLUMN = 12
WIDEST = 28
GAP = 3

# Without a terminal: wide enough for the seed's longest line.
WIDTH = 88


class Declaration(NamedTuple):
    """A declared setting and what it is worth. Secrets are masked.

    Attributes:
        path: its name, dots and all.
        help: what it is for.
        default: what it is when nothing sets it.
        type: what its values must be, as in an annotation; "Any" without a type.
        choices: the values that are allowed, or None.
        secret: whether it is masked.
        restart_required: whether a reload leaves it as it is.
        monitored: whether it is wrapped in a `Monitored`.
        value: what it is now; None when there is a problem.
        origin: where that comes from.
        problem: what is wrong with it, or "".
        place: where it is declared, `file:line`.
    """

    path: str
    help: str
    default: Any
    type: str
    choices: Collection[object] | None
    secret: bool
    restart_required: bool
    monitored: bool
    value: Any
    origin: str
    problem: str
    place: str


def declarations(snapshot: Snapshot) -> Iterator[Declaration]:
    """Yield all declared settings, sorted by path. Nothing that is wrong with them is raised."""
    for setting in snapshot.declared():
        if setting.path == SERVICE and not setting.help:
            continue  # not a setting that one may set: the one that one must
        yield _declaration(setting, snapshot)


def _declaration(setting: Setting[Any], snapshot: Snapshot) -> Declaration:
    secret = snapshot.secret(setting.path)
    looked = snapshot.look(setting)
    wrong = isinstance(looked, Problem)
    value = None if isinstance(looked, Problem) else looked.value
    try:
        wanted = type_name(setting.wanted)
    except Unreadable:
        wanted = "?"
    return Declaration(
        path=setting.path,
        help=setting.help,
        default=MASK if secret and setting.default is not None else setting.default,
        type=wanted,
        choices=setting.choices,
        secret=secret,
        restart_required=snapshot.needs_restart(setting.path),
        monitored=setting.monitored,
        value=MASK if secret and value is not None else value,
        origin=looked.origin,
        problem=str(looked) if wrong else "",
        place=setting.place,
    )


def format_settings(settings: Settings, *, width: int | None = None, values: bool = True) -> str:
    """Return the list of settings for a terminal, in the layout of Ginkgo 0.6.

    Args:
        width: characters in a line; None: the terminal's.
        values: add a line with the value and its origin where it is not the default.
    """
    import shutil
    import textwrap

    every = list(declarations(settings.snapshot))
    if width is None:
        width = shutil.get_terminal_size((WIDTH, 24)).columns
    longest = max((len(each.path) for each in every), default=0)
    column = min(max(COLUMN, longest + GAP), WIDEST)
    wrapper = textwrap.TextWrapper(max(width - column - 2, 30), break_long_words=False)
    lines = ["config settings:"]
    for each in every:
        told = [part for line in _told(each, values=values) for part in wrapper.wrap(line)]
        if len(each.path) + 1 < column:
            told[0] = f"{each.path:<{column}}{told[0]}"
        else:
            told.insert(0, each.path)
        lines.append(f"  {told[0]}")
        lines += [" " * (column + 2) + line for line in told[1:]]
    return "\n".join(lines)


def _told(each: Declaration, *, values: bool) -> Iterator[str]:
    """Yield the paragraphs that are printed beside the name."""
    default = each.default if each.secret else bare(each.default)
    *first, last = (each.help or "").splitlines() or [""]
    yield from first
    yield f"{last} [{default}]".lstrip()
    if each.choices is not None:
        choices = [bare(choice) for choice in each.choices]
        if not all(choice in each.help for choice in choices):
            yield f"One of: {', '.join(choices)}"
    if not values:
        return
    if each.problem:
        yield f"now refused: {each.problem}"
    elif each.origin != DEFAULT:
        value = each.value if each.secret else show(each.value)
        yield f"now {value}, from {each.origin}"
