"""A reload of the whole process: all of it, or nothing, and a report.

::

    1  read and check the configuration     wrong: refused, nothing has changed
    2  check the logging that follows        wrong: refused, nothing has changed
    3  the new configuration and logging take effect, in one step each
    4  do_reload down the tree               one raises: that service is degraded, the others
                                             have the new configuration

However many are asked for, one runs and at most one more follows it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ..core import lifecycle
from ..core.backend import Operation
from ..core.errors import GinkgoError
from ..core.service import Service
from ..core.stacks import log_stack
from ..logs.hiding import hide_all
from . import deeds

logger = logging.getLogger(__name__)

Done = Callable[[dict[str, Any]], object]

Asker = tuple[str, Done | None]
"""Who asks for a reload, and what gets its report."""


class Reloader:
    """Carries out the reloads of one process.

    Args:
        root: the root of the tree.
        configure: does the steps 1 to 3; returns what to report of the settings, or raises
            GinkgoError with nothing changed.

    Attributes:
        last: the report of the last reload.
        counts: how many reloads there were, by what came of them.
        succeeded_at: when one was last done, in seconds since the epoch; None if none was.
        listeners: called with None when a reload begins, and with its report when it is over.
    """

    def __init__(self, root: Service, configure: Callable[[], dict[str, Any]]) -> None:
        self.last: dict[str, Any] | None = None
        self.counts = dict.fromkeys(("done", "refused", "failed", "busy"), 0)
        self.succeeded_at: float | None = None
        self.listeners: list[Callable[[dict[str, Any] | None], object]] = []
        self._root = root
        self._configure = configure
        self._running = False
        self._waiting: list[Asker] = []

    def begin(self, by: str, done: Done | None = None) -> None:
        """Begin a reload, in the tree's own thread.

        Args:
            by: who or what asks for it.
            done: gets its report.

        During a start it is done when the tree is ready. A tree that stops takes none.
        """
        state = self._root._state
        if state not in ("ready", "starting"):
            self._hand_out(_report("busy", refused=[f"{self._root.path} is {state}"]), [(by, done)])
            return
        if self._running:
            self._waiting.append((by, done))
            return
        self._running = True
        operation = Operation(self._root.backend_in_use, self._root, "reload")
        operation.backend.background(operation, self._work(operation, [(by, done)]))

    async def _work(self, operation: Operation, asked: list[Asker]) -> None:
        try:
            while asked:
                self._waiting = []
                self._tell(None)
                report = await self._reload(operation)
                self._count(report["outcome"])
                self._tell(report)
                self._hand_out(report, asked)
                asked = self._waiting
        finally:
            self._running = False

    def _hand_out(self, report: dict[str, Any], asked: list[Asker]) -> None:
        deeds.reloaded(self._root, report, ", ".join(dict.fromkeys(by for by, _ in asked)))
        for _, done in asked:
            if done is not None:
                done(report)

    def _tell(self, report: dict[str, Any] | None) -> None:
        for listener in self.listeners:
            listener(report)

    def _count(self, outcome: str) -> None:
        self.counts[outcome] += 1
        if outcome == "done":
            self.succeeded_at = time.time()

    async def _reload(self, operation: Operation) -> dict[str, Any]:
        if not await lifecycle.settled_state(operation.backend, self._root):
            return _report("busy", refused=[f"{self._root.path} is {self._root._state}"])
        try:
            settings = self._configure()
        except GinkgoError as error:
            first, _, rest = str(error).partition("\n")
            told = "Reload refused, nothing has changed: %s"
            log_stack(logger, logging.ERROR, rest, told, first)
            refused = [str(problem) for problem in getattr(error, "problems", ())] or [str(error)]
            self.last = _report("refused", refused=refused)
            return self.last
        outcome = "done"
        try:
            await lifecycle.reload(operation, self._root, told=False)
        except BaseException as error:  # noqa: BLE001 - logged where it was raised; reported here
            logger.error("Reload: not every service took the new configuration: %s", error)
            outcome = "failed"
        if self._root._state != "ready":
            self.last = _report("busy", refused=[f"{self._root.path} was stopped meanwhile"])
            return self.last
        failed = [
            {
                "path": service.path,
                "state": service._state,
                "why": f"{type(service.reload_error).__name__}: {service.reload_error}",
            }
            for service in self._root.walk()
            if service.reload_error is not None
        ]
        self.last = _report(outcome, failed=failed, **settings)
        if outcome == "done":
            logger.info("Reloaded: %s", deeds.summary(self.last))
        return self.last


def _report(outcome: str, **found: Any) -> dict[str, Any]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    lists: tuple[str, ...] = ("changed", "needs_restart", "covered", "refused", "failed")
    empty: dict[str, Any] = {name: [] for name in lists}
    report: dict[str, Any] = hide_all({"outcome": outcome, "at": at, **empty, **found})
    return report
