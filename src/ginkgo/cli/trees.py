"""``ginkgoctl tree``: the services of an instance, drawn.

● App  ready
├─ ✗ Db  failed, restarted 3 times: App/Db: task failed: OSError: no route to host
└─ ● Worker … Worker-40  ready (40 alike)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any

from ..control import manager
from .ctl import locate
from .output import Output, columns, cut, has_unicode, paint, sign, span
from .texts import ending, reason, text

if TYPE_CHECKING:
    import argparse

ALIKE = 4
"""So many siblings that are alike become one line."""

Node = dict[str, Any]


def tree(options: argparse.Namespace) -> int:
    """Draw the tree of an instance."""
    out = Output(as_json=options.json, quiet=options.quiet)
    found, name = locate(options)
    manager.need_running(found, name)
    timeout = 10.0 if options.timeout is None else options.timeout
    with manager.client_of(found, timeout) as client:
        picture = client.get("/api/v1/tree")
    out.result(picture, *drawn(picture, why=True, each=options.all))
    return 0


def drawn(root: Node, *, why: bool, each: bool = False) -> Iterator[str]:
    """Yield a tree in lines.

    Args:
        root: as the API tells it.
        why: whether to say why a service is not as it should be.
        each: draw every service, also where many siblings are alike.
    """
    width = columns()
    marks = ("├─ ", "└─ ", "│  ") if has_unicode() else ("|- ", "`- ", "|  ")

    def line(lead: str, run: list[Node]) -> str:
        node = run[0]
        label, facts = names(run), told(run, why=why)
        room = None if width is None else width - len(lead) - 2
        label = cut(label, room)
        facts = cut(facts, None if room is None else max(0, room - span(label) - 2))
        state = str(node.get("state"))
        if state not in ("ready", "init", "stopped") and facts.startswith(state):
            colour = "red" if state == "failed" else "yellow"
            facts = paint(state, colour) + facts[len(state) :]
        return f"{lead}{sign(ending(node) or state)} {label}  {facts}".rstrip()

    def below(node: Node, lead: str) -> Iterator[str]:
        groups = list(runs(children(node), each=each))
        for number, run in enumerate(groups, 1):
            last = number == len(groups)
            yield line(lead + (marks[1] if last else marks[0]), run)
            yield from below(run[0], lead + ("   " if last else marks[2]))

    yield line("", [root])
    yield from below(root, "")


def runs(siblings: list[Node], *, each: bool = False) -> Iterator[list[Node]]:
    """Yield siblings, those together that stand side by side and are alike.

    Few of them are not worth it, and each comes alone.
    """
    known: dict[Hashable, int] = {}
    run: list[Node] = []
    kind = -1
    for one in siblings:
        its = known.setdefault(looks(one), len(known))
        if its != kind:
            yield from _parted(run, each)
            run = []
        run.append(one)
        kind = its
    yield from _parted(run, each)


def _parted(run: list[Node], each: bool) -> Iterator[list[Node]]:
    if run and len(run) >= ALIKE and not each:
        yield run
    else:
        yield from ([one] for one in run)


def looks(node: Node) -> Hashable:
    """Return what two services have in common that are alike to a person who looks."""
    why = str(node.get("why") or "").replace(str(node.get("path")), "")
    own = (str(node.get("kind") or node.get("name")), str(node.get("state")), why)
    return (*own, node.get("restarts") or 0, tuple(map(looks, children(node))))


def names(run: list[Node]) -> str:
    """Return what services that are alike are called."""
    first, last = (text(str(one.get("path")).rpartition("/")[2]) for one in (run[0], run[-1]))
    return first if len(run) == 1 else f"{first} {'…' if has_unicode() else '...'} {last}"


def told(run: list[Node], *, why: bool) -> str:
    """Return what is worth telling of services that are alike."""
    node = run[0]
    facts = [text(node.get("state"))]
    if ending(node):
        facts.append(f"and about to stop ({text(ending(node))})")
    restarts = node.get("restarts")
    if restarts:
        facts.append("restarted once" if restarts == 1 else f"restarted {text(restarts)} times")
    tasks = sum(one["tasks"] for one in run if isinstance(one.get("tasks"), int))
    if tasks:
        facts.append("1 task" if tasks == 1 else f"{tasks} tasks")
    line = ", ".join(facts)
    if len(run) > 1:
        line += f" ({len(run)} alike)"
    because = reason(node) if why else ""
    return f"{line}: {because}" if because else line


def children(node: Node) -> list[Node]:
    """Return the services in one."""
    return [one for one in node.get("children") or () if isinstance(one, dict)]
