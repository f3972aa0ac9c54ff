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

# Where the help texts of 0.6 begin, after the margin of two; a longer name pushes its own aside.
COLUMN = 12

# In a window that is narrower than this, lines are as long all the same.
NARROWEST = 40

# Without a terminal: wide enough for the seed's longest line.
WIDTH = 90


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

    if width is None:
        width = shutil.get_terminal_size((WIDTH, 24)).columns
    lines = ["config settings:"]
    for each in declarations(settings.snapshot):
        name = f"  {each.path:<{COLUMN}}" if len(each.path) < COLUMN - 1 else f"  {each.path}  "
        for paragraph in _told(each, values=values):
            # Lines that an author has broken stay so where they fit, and are one paragraph if not.
            margin = " " * (COLUMN + 2)
            told = [f"{margin}{line}" for line in paragraph]
            told[0] = f"{name}{paragraph[0]}"
            if any(len(line) > width for line in told):
                told = textwrap.wrap(
                    " ".join(paragraph),
                    max(width, NARROWEST),
                    initial_indent=name,
                    subsequent_indent=margin,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            lines += told
            name = margin
    return "\n".join(line.rstrip() for line in lines)


def _told(each: Declaration, *, values: bool) -> Iterator[list[str]]:
    """Yield the paragraphs that are printed beside the name, each in lines."""
    default = each.default if each.secret else bare(each.default)
    *first, last = (each.help or "").splitlines() or [""]
    yield [*first, f"{last} [{default}]".lstrip()]
    if each.choices is not None:
        choices = [bare(choice) for choice in each.choices]
        if not all(choice in each.help for choice in choices):
            yield [f"One of: {', '.join(choices)}"]
    if not values:
        return
    if each.problem:
        yield [f"now refused: {each.problem}"]
    elif each.origin != DEFAULT:
        value = each.value if each.secret else show(each.value)
        yield [f"now {value}, from {each.origin}"]
