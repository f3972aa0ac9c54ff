"""``ginkgoctl dump``: what each thread, greenlet and asyncio task of an instance does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..control import manager
from .ctl import locate
from .instance import blocked
from .output import Output
from .texts import text

if TYPE_CHECKING:
    import argparse


def dump(options: argparse.Namespace) -> int:
    """Show the stacks of an instance, blocked or not."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    picture = manager.dump(found, name, 10.0 if options.timeout is None else options.timeout)
    out.result(picture, *describe(picture))
    return 0


def describe(picture: dict[str, Any]) -> Iterator[str]:
    """Yield a dump in lines for people: those who do something of the user's first."""
    stacks = [one for one in picture.get("stacks") or () if isinstance(one, dict)]
    yield f"{text(picture.get('name'))} (pid {text(picture.get('pid'))}): {counted(stacks)}"
    trouble = blocked(picture.get("blocked"))
    if trouble:
        yield f"blocked {text(trouble)}"
    busy = [one for one in stacks if users(one)]
    for one in sorted(busy, key=lambda one: (one.get("kind") != "thread", place(one))):
        yield ""
        yield title(one)
        for frame in users(one):
            yield f"  File {text(frame.get('file'))}:{text(frame.get('line'))}, " + (
                f"in {text(frame.get('function'))}"
            )
            if frame.get("source"):
                yield f"    {text(frame['source'])}"
    rest = [one for one in stacks if one not in busy]
    if rest:
        yield ""
        yield "and nothing of the application's in:"
        for one in rest:
            frames = one.get("frames") or [{}]
            where = f" in {text(frames[-1]['function'])}" if frames[-1].get("function") else ""
            yield f"  {title(one)}{where}"


def counted(stacks: list[dict[str, Any]]) -> str:
    """Return how many there are of each kind."""
    kinds = [str(one.get("kind")) for one in stacks]
    numbers = [(kinds.count(kind), kind) for kind in dict.fromkeys(kinds)]
    return ", ".join(f"{number} {kind}{'s' if number > 1 else ''}" for number, kind in numbers)


def place(one: dict[str, Any]) -> str:
    """Return whose a stack is."""
    return ": ".join(str(one[key]) for key in ("service", "doing") if one.get(key))


def title(one: dict[str, Any]) -> str:
    """Return what stands above a stack."""
    own = f"{text(one.get('kind'))} {text(one.get('name'))}"
    if one.get("state"):
        own += f", {text(one['state'])}"
    owner = place(one)
    return f"{text(owner)} ({own})" if owner else own


def users(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the frames from the user's first on; none where all are the framework's."""
    frames = [frame for frame in one.get("frames") or () if isinstance(frame, dict)]
    for number, frame in enumerate(frames):
        if not frame.get("ours"):
            return frames[number:]
    return []
