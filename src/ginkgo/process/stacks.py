"""The stacks of everything that runs, as text for the log and as data for `ginkgoctl dump`."""

from __future__ import annotations

import linecache
import tokenize
from collections.abc import Iterable
from typing import Any

from ..async_.stacks import Frame, Stack, collect
from ..core.service import Service
from ..logs.hiding import hide
from ..logs.tracebacks import PLUMBING

# linecache needs it; a thread beside a loop that hangs must not be the first to import it.
_ = tokenize


def stacks(root: Service) -> str:
    """The stacks of every thread, greenlet and task, as text."""
    return "\n".join(f"{title(each)}\n{text_of(each.frames)}".rstrip() for each in collect(root))


def dump(root: Service) -> list[dict[str, Any]]:
    """The same as JSON-able data; see `ginkgo.control.instance.Dump`."""
    return [
        {
            "kind": stack.kind,
            "name": stack.name,
            "service": stack.owner.service,
            "doing": stack.owner.doing,
            "state": stack.state,
            "frames": [
                {
                    "file": frame.file,
                    "line": frame.line,
                    "function": frame.function,
                    "source": source(frame),
                    "ours": ours,
                }
                for frame, ours in zip(stack.frames, plumbing(stack.frames), strict=True)
            ],
        }
        for stack in collect(root)
    ]


def title(stack: Stack) -> str:
    """What stands above a stack."""
    owner = ": ".join(part for part in stack.owner if part)
    own = f"{stack.kind} {stack.name}" + (f", {stack.state}" if stack.state else "")
    return f"{owner} ({own})" if owner else own


def text_of(frames: Iterable[Frame]) -> str:
    """Frames as a traceback shows them."""
    lines = []
    for frame in frames:
        lines.append(
            f'  File "{frame.file}", line {frame.line}, in {frame.function.rpartition(".")[2]}'
        )
        text = source(frame)
        if text:
            lines.append(f"    {text}")
    return "\n".join(lines)


def source(frame: Frame) -> str:
    """The line of the source."""
    return hide(linecache.getline(frame.file, frame.line).strip())


def users(frames: list[Frame]) -> list[Frame]:
    """A stack from the user's first frame on; all of it where nothing is the user's."""
    ours = plumbing(frames)
    return frames[ours.index(False) :] if False in ours else frames


def plumbing(frames: list[Frame]) -> list[bool]:
    """Which frames belong to Ginkgo or to what it stands on, or are the script that runs it."""
    ours = [frame.module.partition(".")[0] in PLUMBING for frame in frames]
    first = ours.index(False) if False in ours else len(ours)
    if ours[first + 1 : first + 2] == [True] and frames[first].module == "__main__":
        ours[first] = True
    return ours
