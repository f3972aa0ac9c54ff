"""All that an external program has started: asked to end, and killed when it does not.

A program's processes are those of its group, and those that have left it: a daemon that a script
started has a group and a session of its own. What still descends from the program is found by that,
the rest by the mark in its environment; who gets rid of both is not found (only a control group
would do that). Each process is held by a pidfd, so that no signal can hit another one.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from . import pids
from .command_guard import relatives

if TYPE_CHECKING:
    from ..core.backend import Backend

logger = logging.getLogger("ginkgo.command")

KILL_TIME = 1.0  # seconds in which what was killed has to be gone; the kernel takes a millisecond
ROUNDS = 20  # of killing, for what forks while it is killed


class Family:
    """A program and what it has started.

    Args:
        leader: the program's pid, and that of its process group. It must not be reaped before this
            has done its work: the number could be another process's.
        mark: what all of them have in their environment.
    """

    def __init__(self, leader: int, mark: str) -> None:
        self.leader = leader
        self.killed: list[int] = []
        self._mark = mark
        self._since = pids.start_ticks(leader) or 0
        self._held: dict[int, pids.ProcessHandle] = {}
        self._groups: dict[int, int] = {}
        self._escaped = False

    async def end(self, backend: Backend, number: int, grace: float | None) -> list[int]:
        """Ask all to end, and kill them when they have not after `grace` seconds.

        Returns:
            Those that do not even end by that.
        """
        deadline = None if grace is None else backend.now() + grace
        asked: set[int] = set()
        try:
            self._look()  # before the first has ended: its children would be orphans
            self._signal_group(number)
            self._signal_group(signal.SIGCONT)  # one that is stopped hears nothing
            while self._held:
                for member in self._held.values():
                    if member.pid not in asked and self._groups.get(member.pid) != self.leader:
                        _send(member, number)
                        _send(member, signal.SIGCONT)
                    asked.add(member.pid)
                if not await _gone(backend, self._held.values(), deadline):
                    return await self._kill(backend)
                self._look()
                if self._escaped and not self._held:
                    self._look()  # again: one that has just forked and ended is missed in between
            return []
        finally:
            self._let_go()

    async def _kill(self, backend: Backend) -> list[int]:
        clean = 0
        for _ in range(ROUNDS):
            self._look()
            clean = 0 if self._held else clean + 1
            if clean > self._escaped:
                break
            self.killed += [pid for pid in self._held if pid not in self.killed]
            self._kill_those_known()
            if not await _gone(backend, self._held.values(), backend.now() + KILL_TIME):
                break
        self._look()
        return list(self._held)

    def kill(self) -> list[int]:
        """Kill what there is, and wait for nothing. Returns those who may still be there."""
        try:
            self._look()
            self._kill_those_known()
            return list(self._held)
        finally:
            self._let_go()

    def _kill_those_known(self) -> None:
        self._signal_group(signal.SIGKILL)
        for member in self._held.values():
            _send(member, signal.SIGKILL)

    def _look(self) -> None:
        """Hold all that runs, and nothing else."""
        for pid in [pid for pid, member in self._held.items() if member.gone()]:
            self._held.pop(pid).close()
        known = frozenset(self._held)
        self._groups = relatives({self.leader}, self._mark, self._since, known)
        self._escaped = self._escaped or set(self._groups.values()) - {self.leader} != set()
        for pid in self._groups.keys() - known:
            member = pids.hold(pid)
            if member is not None:
                self._held[pid] = member

    def _let_go(self) -> None:
        while self._held:
            self._held.popitem()[1].close()

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.leader, number)
        except ProcessLookupError:
            pass  # they have all ended
        except PermissionError:
            logger.debug("the group %d belongs to somebody else", self.leader)


def _send(member: pids.ProcessHandle, number: int) -> None:
    try:
        member.send(number)
    except PermissionError:  # it has become another user, as sudo does
        logger.debug("the process %d belongs to somebody else", member.pid)


async def _gone(
    backend: Backend, members: Iterable[pids.ProcessHandle], deadline: float | None
) -> bool:
    """Wait until all of them have ended; False when the time was over first."""
    everybody = backend.signal()
    watches: dict[pids.ProcessHandle, Any] = {}

    def ended(member: pids.ProcessHandle) -> None:
        watches.pop(member).close()
        if not watches:
            everybody.set()

    try:
        for member in members:
            assert member.fd is not None  # noqa: S101 - a command needs pidfds, and has looked
            watches[member] = backend.watch(member.fd, functools.partial(ended, member))
        timeout = None if deadline is None else max(0.0, deadline - backend.now())
        return await backend.wait(everybody, timeout)
    finally:
        for watch in watches.values():
            watch.close()
