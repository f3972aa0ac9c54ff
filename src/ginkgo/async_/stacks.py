"""What every thread, greenlet and asyncio task of this process does now, and for which service.

It is looked at from a native thread, while the loop may be blocked: nothing here waits for a lock
of the application, imports anything, or touches what only the loop's thread may touch. What is
gathered are places in the code; no variable's value is among them.

Whose a stack is, the tree says where it knows (tasks, connections, operations), and else the
stack itself: the functions of Ginkgo that run the user's code have the service among their
variables. What a task has spawned by itself, without its service, goes with the task on gevent.
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import (
    BuiltinFunctionType,
    CoroutineType,
    FrameType,
    FunctionType,
    MethodType,
    MethodWrapperType,
)
from typing import Any, NamedTuple

from ..core.seen import path_of, walk
from ..core.service import Service
from . import native


class Owner(NamedTuple):
    """Whose a stack is."""

    service: str | None
    """The path of the service, where that is known."""
    doing: str | None
    """What it does there, in words: ``task Db.poll``, ``do_start``, ``connection of ...``."""


NOBODY = Owner(None, None)

_OURS = ("ginkgo.", "gevent.threadpool")  # the modules that know whose a stack is


class Frame(NamedTuple):
    """One place in the code."""

    file: str
    line: int
    function: str
    module: str


@dataclass
class Stack:
    """What one thread, greenlet or task does.

    Attributes:
        kind: ``thread``, ``greenlet`` or ``task``.
        name: its own name.
        owner: whose it is.
        state: ``running``, ``waiting`` or ``not begun``; None for a thread, of which only
            the system knows whether it waits.
        frames: from the outermost to the innermost.
    """

    kind: str
    name: str
    owner: Owner
    state: str | None
    frames: list[Frame] = field(default_factory=list)


def collect(root: Service) -> list[Stack]:
    """All stacks of this process: threads first, then greenlets and tasks."""
    look = _Look(root)
    return [*look.threads(), *look.greenlets(), *look.tasks()]


def running_in(root: Service, thread: int, loop: Any = None) -> tuple[Owner, list[FrameType]]:
    """What runs in a thread now: whose it is, and its frames, the outermost first.

    Args:
        root: the root of the tree.
        thread: its ident.
        loop: the asyncio loop that runs in it, or None.
    """
    frames = frames_of(sys._current_frames().get(thread))
    owner = owner_of(frames)
    if owner is NOBODY and loop is not None:
        task = _current_task(loop)
        if task is not None:
            look = _Look(root)
            for _ in (*look.threads(), *look.greenlets()):
                pass  # who waits for the bridge is known then
            owner = look.owner_of_task(task)
    return owner, frames


def calling_service() -> str | None:
    """The path of the service whose code has led to this call; None where nobody knows."""
    return _first_known(_outwards(sys._getframe(1))).service


def task_titles(service: Service) -> list[str]:
    """What the tasks of a service are for: the names of their functions."""
    tasks = object.__getattribute__(service, "__dict__").get("_tasks")
    return [_doing(task).removeprefix("task ") for task in _copied(lambda: tasks or ())]


def frames_of(frame: FrameType | None) -> list[FrameType]:
    """A stack from its innermost frame, the outermost first."""
    return list(_outwards(frame))[::-1]


def places(frames: Iterable[FrameType]) -> list[Frame]:
    """Where frames are."""
    return [
        Frame(
            frame.f_code.co_filename,
            frame.f_lineno or 0,
            frame.f_code.co_qualname,
            str(frame.f_globals.get("__name__", "")),
        )
        for frame in frames
    ]


# -- whose a stack is


def owner_of(frames: list[FrameType]) -> Owner:
    """What the innermost function of ours that knows it says of a stack."""
    return _first_known(reversed(frames))


def _first_known(frames: Iterable[FrameType]) -> Owner:
    for frame in frames:
        known = _KNOWN.get(frame.f_code.co_qualname)
        if known and str(frame.f_globals.get("__name__", "")).startswith(_OURS):
            owner = known(frame.f_locals)
            if owner is not None:
                return owner
    return NOBODY


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _of_function(found: dict[str, Any]) -> Owner | None:
    service, function = found.get("service"), found.get("function")
    return Owner(_path(service), f"task {_name(function)}") if service is not None else None


def _of_task(found: dict[str, Any]) -> Owner | None:
    task = found.get("self")
    service = getattr(task, "service", None)
    return Owner(_path(service), f"task {task.name}") if task and service is not None else None


def _of_hook(found: dict[str, Any]) -> Owner | None:
    service, name = found.get("service"), found.get("hook") or found.get("name")
    return Owner(_path(service), str(name)) if isinstance(service, Service) else None


def _of_bound_hook(found: dict[str, Any]) -> Owner | None:
    hook = found.get("hook") or getattr(found.get("self"), "hook", None)
    service = getattr(hook, "__self__", None)
    name = getattr(hook, "__name__", None)
    return Owner(path_of(service), name) if isinstance(service, Service) else None


def _of_operation(found: dict[str, Any]) -> Owner | None:
    operation = getattr(found.get("self"), "operation", None)
    return None if operation is None else Owner(path_of(operation.service), operation.kind)


def _of_handler(found: dict[str, Any]) -> Owner | None:
    handler = found.get("handler") or found.get("self")
    service = found.get("self") if isinstance(found.get("self"), Service) else None
    service = service or getattr(handler, "server", None)
    return None if service is None else Owner(_path(service), _serves(handler))


def _of_job(found: dict[str, Any]) -> Owner | None:
    function = found.get("function") or found.get("func")
    if isinstance(function, functools.partial) and function.args:  # it runs in a context
        function = function.args[0]
    if function is None:
        return None
    return Owner(_path(getattr(function, "__self__", None)), f"task {_name(function)}")


_GEVENT_JOB = "_WorkerGreenlet.__run_task"

_Known = Callable[[dict[str, Any]], Owner | None]

_KNOWN: dict[str, _Known] = {
    "Task._run": lambda found: _of_function(found) or _of_task(found),  # gevent, threading
    "HookGreenlet.run": _of_bound_hook,
    "OperationGreenlet._run": _of_operation,
    "OperationThread._run": _of_operation,
    "Call.run": _of_bound_hook,
    "AsyncioBackend.call": _of_hook,
    "OperationRun.call": _of_hook,
    "run": _of_function,
    "run_in_thread": _of_function,
    "run_later": _of_function,
    "in_thread.<locals>.call": _of_job,
    "in_thread.<locals>.job": _of_job,
    _GEVENT_JOB: _of_job,
    "StreamHandler._run": _of_handler,
    "DatagramHandler._run": _of_handler,
    "StreamHandler.run": _of_handler,
    "DatagramHandler.run": _of_handler,
    "WSGIHandler.run": _of_handler,
    "Server._carry_out": _of_handler,
    "StreamServer._carry_out": _of_handler,
    "ProtocolServer._carry_out": _of_handler,
}
"""The functions of ours that run a user's code, by their qualified names."""


def _path(service: Any) -> str | None:
    return path_of(service) if isinstance(service, Service) else None


def _name(function: Any) -> str:
    """A function's name; of what is none its class, as only the user's code could tell more."""
    while isinstance(function, partial):
        function = function.func
    if function is None:
        return "?"
    return function.__qualname__ if isinstance(function, _FUNCTIONS) else type(function).__name__


_FUNCTIONS = (
    FunctionType,
    MethodType,
    BuiltinFunctionType,
    MethodWrapperType,
    CoroutineType,
    type,
)


def _serves(handler: Any) -> str:
    peer = getattr(handler, "peer", None)
    return "connection" if peer is None else f"connection of {peer}"


def _current_task(loop: Any) -> Any:
    asyncio = sys.modules.get("asyncio")
    return None if asyncio is None else asyncio.current_task(loop)


# -- looking


class _Look:
    """One look at everything.

    Args:
        root: the root of the tree that runs in this process.
    """

    def __init__(self, root: Service) -> None:
        self._known: dict[int, Owner] = {}
        self._kept: list[Any] = []  # so that no id is used a second time
        self._services: dict[str, None] = {}
        self._backend = root.backend_in_use
        self._calls: dict[int, Owner] = {}
        self._running: dict[int, list[FrameType]] = {
            thread: frames_of(frame) for thread, frame in sys._current_frames().items()
        }
        for service, path in _copied(lambda: walk(root)):
            self._services[path] = None
            self._learn(service, path)

    def _learn(self, service: Service, path: str) -> None:
        own = object.__getattribute__(service, "__dict__")
        for task in _copied(lambda: own.get("_tasks") or ()):
            self._note(task, Owner(path, _doing(task)))
        for handler in _copied(lambda: own.get("_handlers") or ()):
            worker = getattr(handler, "worker", None)
            for each in (handler, getattr(handler, "task", None), getattr(worker, "thread", None)):
                if each is not None:
                    self._note(each, Owner(path, _serves(handler)))

    def _note(self, thing: Any, owner: Owner) -> None:
        self._known[id(thing)] = owner
        self._kept.append(thing)

    # -- threads

    def threads(self) -> Iterator[Stack]:
        """The threads of the operating system that run Python."""
        threading = sys.modules["threading"]
        made = dict(threading._active)  # a copy: no lock of anybody's is needed for it
        for ident, frames in self._running.items():
            thread = made.get(ident)
            name = (
                native.name_of(ident)
                or getattr(thread, "name", None)
                or _thread_name(ident, frames)
            )
            owner = self._known.get(id(thread)) or owner_of(frames)
            if owner is NOBODY or owner.service is None:
                owner = self._of_name(name, owner)
            self._hear(frames, owner)
            if not _is_parked(frames):
                yield Stack("thread", name, owner, None, places(frames))

    def _of_name(self, name: str, owner: Owner) -> Owner:
        """Threads of the threading backend are named after what they are for: ``path: what``."""
        path, colon, what = name.partition(": ")
        return Owner(path, what) if colon and path in self._services else owner

    # -- greenlets

    def greenlets(self) -> Iterator[Stack]:
        """The greenlets that wait; one that runs is what its thread shows."""
        greenlet = sys.modules.get("greenlet")
        if greenlet is None:
            return
        hub_class = getattr(sys.modules.get("gevent.hub"), "Hub", ())
        names = dict(sys.modules["threading"]._active)
        for one in gc.get_objects():
            if not isinstance(one, greenlet.greenlet) or one.dead or isinstance(one, hub_class):
                continue
            frame = one.gr_frame
            if frame is None:
                if one or not self._is_due(one):
                    continue  # it runs, or is nobody's
                yield Stack("greenlet", _greenlet_name(one), self._of_greenlet(one), "not begun")
                continue
            frames = frames_of(frame)
            owner = owner_of(frames)
            if owner is NOBODY:
                owner = self._of_greenlet(one)
            self._hear(frames, owner)
            if _is_parked(frames):
                continue
            thread = names.get(id(one))
            name = getattr(thread, "name", None) or _greenlet_name(one)
            yield Stack("greenlet", name, owner, "waiting", places(frames))

    def _is_due(self, greenlet: Any) -> bool:
        """Whether a greenlet without a frame is still to begin."""
        return id(greenlet) in self._known or getattr(greenlet, "_start_event", None) is not None

    def _of_greenlet(self, greenlet: Any) -> Owner:
        """Whose it is; one that somebody has spawned without a service is its spawner's."""
        own = self._known.get(id(greenlet))
        if own is not None:
            return own
        for _ in range(20):  # not further back than anybody spawns
            spawner = getattr(greenlet, "spawning_greenlet", None)
            greenlet = spawner() if callable(spawner) else None
            if greenlet is None:
                break
            owner = self._known.get(id(greenlet)) or owner_of(frames_of(greenlet.gr_frame))
            if owner is not NOBODY:
                return Owner(owner.service, f"spawned by {owner.doing}")
        return NOBODY

    # -- tasks

    def tasks(self) -> Iterator[Stack]:
        """The tasks of the tree's loop and of the bridge's."""
        asyncio = sys.modules.get("asyncio")
        if asyncio is None:
            return
        bridge = sys.modules.get("ginkgo.async_.bridge")
        loops = [getattr(self._backend, "loop", None), getattr(bridge, "bridge", None)]
        for where in loops:
            loop = where if hasattr(where, "call_soon") else getattr(where, "_loop", None)
            if loop is None or loop.is_closed():
                continue
            current = _current_task(loop)
            for task in _copied(lambda loop=loop: asyncio.all_tasks(loop)):  # type: ignore[misc]
                yield self._task(task, task is current)

    def _task(self, task: Any, runs: bool) -> Stack:
        owner = self.owner_of_task(task)
        frames = awaited(task.get_coro())
        if runs and frames:
            for stack in self._running.values():
                if frames[0] in stack:
                    frames = stack[stack.index(frames[0]) :]
        begun = runs or getattr(task.get_coro(), "cr_await", None) is not None
        state = "running" if runs else "waiting" if begun else "not begun"
        return Stack("task", task.get_name(), owner, state, places(frames))

    def owner_of_task(self, task: Any) -> Owner:
        """Whose an asyncio task is."""
        known = self._known.get(id(task))
        if known is not None:
            return known
        operation = getattr(task, "operation", None)
        frames = awaited(task.get_coro())
        owner = owner_of(frames)
        if operation is not None:
            if owner is NOBODY and frames and type(task).__name__ == "HookTask":
                inner = [frame for frame in frames if frame.f_code.co_name.startswith("do_")]
                service = inner[0].f_locals.get("self") if inner else None
                if isinstance(service, Service):
                    return Owner(path_of(service), inner[0].f_code.co_name)
            return Owner(path_of(operation.service), operation.kind) if owner is NOBODY else owner
        if owner is NOBODY and frames and frames[0].f_code.co_qualname == "Call._carry_out":
            call = frames[0].f_locals.get("self")
            work = getattr(call, "work", None)
            asker = self._calls.get(id(call), NOBODY)
            return Owner(asker.service, f"{_name(work)} for {asker.doing or 'a thread'}")
        return owner

    def _hear(self, frames: list[FrameType], owner: Owner) -> None:
        """A stack that waits for a coroutine on the bridge: note who asked for that."""
        for frame in frames:
            module = frame.f_globals.get("__name__")
            if frame.f_code.co_qualname == "Bridge.run" and module == "ginkgo.async_.bridge":
                self._calls[id(frame.f_locals.get("call"))] = owner


def awaited(work: Any) -> list[FrameType]:
    """Where a coroutine is, from what it runs down to what it waits for."""
    frames = []
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None)
        if frame is None:
            break  # it has ended, or is written in C
        frames.append(frame)
        if frame.f_code.co_qualname == "_resumed":  # see asyncio_operations
            work = frame.f_locals.get("work")
        else:
            work = getattr(work, "cr_await", None) or getattr(work, "gi_yieldfrom", None)
    return frames


def _doing(task: Any) -> str:
    """What a task of a service is for."""
    args = getattr(task, "args", None)
    if args and len(args) > 1:  # gevent's
        return f"task {_name(args[1])}"
    coroutine = getattr(task, "get_coro", None)
    if coroutine is not None:
        frame = getattr(coroutine(), "cr_frame", None)
        function = frame.f_locals.get("function") if frame is not None else None
        return f"task {_name(function)}" if function is not None else f"task {task.get_name()}"
    return f"task {getattr(task, 'name', '?')}"


def _thread_name(ident: int, frames: list[FrameType]) -> str:
    if any(frame.f_globals.get("__name__") == "gevent.threadpool" for frame in frames):
        return f"gevent-pool {ident:#x}"
    return f"{ident:#x}"


def _greenlet_name(greenlet: Any) -> str:
    if greenlet.parent is None:
        return "main greenlet"
    return str(getattr(greenlet, "name", None) or type(greenlet).__name__)


def _is_parked(frames: list[FrameType]) -> bool:
    """Whether this is a thread of a pool that has nothing to do."""
    if not frames:
        return False
    inner = {(frame.f_globals.get("__name__"), frame.f_code.co_name) for frame in frames[-4:]}
    return bool(inner & _PARKED) and not any(_is_job(frame) for frame in frames)


_PARKED = {
    ("gevent._threading", "get"),  # a worker of the hub's thread pool
    ("gevent.threadpool", "_begin"),  # and the greenlet that its thread began with
    ("concurrent.futures.thread", "_worker"),
    ("ginkgo.async_.workers", "_work"),
}


def _is_job(frame: FrameType) -> bool:
    name = frame.f_code.co_qualname
    return name in ("in_thread.<locals>.call", "_WorkItem.run")


def _copied(source: Callable[[], Iterable[Any]]) -> list[Any]:
    """A copy of what another thread changes."""
    for _ in range(1000):
        try:
            return list(source())
        except RuntimeError:
            pass  # it changed in the midst: once more
    return []
