"""Trees of services that do in their hooks what a test says, and write down what happens to them.

::

    root = plant(world, "a(b(d,e),c(f,g))", d=dict(start=fail))

             a              root["d"].scripts["start"] = fail      the same, later
           /   \\
          b     c           root.told == "+d +e +b +f +g +c +a"    what has happened so far:
         / \\   / \\            + do_start, - do_stop, ~ do_reload
        d   e f   g

A script is a coroutine function that is given the service, or an exception, which is raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.dialects import LIMIT, World, done

from ginkgo import Service

SEVEN = "a(b(d,e),c(f,g))"
"""Three levels: a root, two parents, four leaves."""

MARKS = {"start": "+", "stop": "-", "reload": "~"}


class Wrong(Exception):
    """What a hook or task of a test raises."""


class Node(Service):
    """One service of a tree; see this module's docstring.

    It restarts nothing: what fails below it fails it too.
    """

    max_restarts = 0

    def __init__(self, world: World, name: str, story: list[str] | None = None) -> None:
        self.name = name
        self.world = world
        self.story = [] if story is None else story
        self.scripts: dict[str, Any] = {}

    def do_start(self) -> Any:
        return self.world.play(self._play, "start")

    def do_stop(self) -> Any:
        return self.world.play(self._play, "stop")

    def do_reload(self) -> Any:
        return self.world.play(self._play, "reload")

    async def _play(self, hook: str) -> Any:
        self.story.append(MARKS[hook] + self.name)
        script = self.scripts.get(hook)
        if isinstance(script, BaseException):
            raise script
        return None if script is None else await done(script(self))

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.walk() if node.name == name)  # type: ignore[return-value]

    @property
    def told(self) -> str:
        """What has happened in the tree so far."""
        return " ".join(self.story)

    def forget(self) -> None:
        """Begin a new story."""
        self.story.clear()

    def task(self, script: Any, *args: Any) -> Any:
        """Spawn a task that carries a script out."""
        return self.spawn(self.world.task(script), self, *args)

    @property
    def states(self) -> str:
        """The states of the tree's services, as "a:ready b:ready"."""
        return " ".join(f"{node.name}:{node.state}" for node in self.walk())


def plant(world: World, shape: str, **said: dict[str, Any]) -> Node:
    """Make a tree.

    Args:
        world: the backend.
        shape: the names, children in parentheses: ``a(b(d,e),c)``.
        said: for each name, its scripts (``start``, ``stop``, ``reload``) and attributes
            (``start_before``, ``start_timeout``...).
    """
    story: list[str] = []
    tokens = iter(re.findall(r"\w+|[(),]", shape))
    stack: list[Node] = []
    root = latest = None
    for token in tokens:
        if token == "(":
            assert latest is not None
            stack.append(latest)
        elif token == ")":
            latest = stack.pop()
        elif token != ",":
            latest = _node(world, token, story, said.get(token, {}))
            if stack:
                stack[-1].add_service(latest)
            else:
                root = latest
    assert root is not None
    return root


def _node(world: World, name: str, story: list[str], said: dict[str, Any]) -> Node:
    node = Node(world, name, story)
    for key, value in said.items():
        if key in MARKS:
            node.scripts[key] = value
        else:
            setattr(node, key, value)
    return node


# -- scripts -------------------------------------------------------------------------------------


async def hang(node: Node) -> None:
    """Wait for what never comes."""
    await node.world.gate().passed()


async def hang_and_swallow(node: Node) -> None:
    """Wait, and let nothing end it."""
    gate = node.world.gate()
    while not node.world.closing:
        try:
            await gate.passed()
        except BaseException:
            continue


async def hang_and_retry(node: Node) -> None:
    """Wait in the way of a connection loop: every error is met with another try."""
    gate = node.world.gate()
    while not node.world.closing:
        try:
            await gate.passed()
        except Exception:
            continue


async def fail(node: Node) -> None:
    """Raise."""
    raise Wrong(node.name)


async def ready_later(node: Node) -> Any:
    """Have started, and be ready once somebody says so."""
    return Service.NOT_READY


async def until(world: World, root: Node, condition: Callable[[], object]) -> None:
    """Wait until `condition` holds, asked at every event of the tree."""
    gate = world.gate()
    subscription = root.events.subscribe(lambda _: gate.open() if condition() else None)
    if not condition():
        assert await gate.passed(LIMIT), [event.text for event in root.events]
    subscription.close()


def at(gate: Any) -> Any:
    """A script that waits at a gate."""

    async def wait(node: Node) -> None:
        await gate.passed()

    return wait


def tasks_of(root: Service) -> Iterator[Any]:
    """All tasks of a tree."""
    for service in root.walk():
        yield from service._tasks or ()
