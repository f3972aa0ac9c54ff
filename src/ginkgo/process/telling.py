"""What is told about a tree to whoever started the process, and when.

The words are :mod:`ginkgo.process.notify`'s; here is what they are said of: the tree that has
become ready, its reloads, its troubles, its end.
"""

from __future__ import annotations

from typing import Any

from ..core.events import PUT_BACK, Event, Subscription
from ..core.service import Service
from .notify import Heartbeat, Notifier
from .running import Running, is_failed, why

MARGIN = 5.0  # seconds on top of our own last deadline, until systemd takes a stop for a hang


class Teller:
    """Tells of one tree, from its making to the end of the process.

    Args:
        notifier: what is spoken with; where nobody listens, nothing is done here.
        running: the tree.
        shutdown: seconds within which the process ends once it was told to.
        main_pid: the process to watch, where it is not the one that was started.
    """

    def __init__(
        self, notifier: Notifier, running: Running, shutdown: float, main_pid: int | None = None
    ) -> None:
        self._notifier = notifier
        self._running = running
        self._root = running.root
        self._shutdown = shutdown
        self._main_pid = main_pid
        self._heart = Heartbeat(notifier, self._root.backend_in_use.post)
        self._subscription: Subscription | None = None
        self._is_due = False
        if notifier.listens:
            notifier.status("Starting")
            running.on_state(self._state_changed)
            running.reloader.listeners.append(self._reloaded)
            self._subscription = self._root.events.subscribe(self._happened)

    def ready(self) -> None:
        """The tree is ready, and signals are handled."""
        self._notifier.ready(summary(self._root), self._main_pid)
        self._heart.start()

    def lame_duck(self, seconds: float) -> None:
        """It is going to stop, and serves for so long still."""
        text = f"Lame duck: it stops in {seconds:g} s, and serves until then"
        self._notifier.stopping(text, self._shutdown + MARGIN)

    def close(self) -> None:
        """Tell no more."""
        self._heart.close()
        if self._subscription is not None:
            self._subscription.close()

    def _state_changed(self, state: str) -> None:
        operation = self._root._operation
        if state != "stopping" or (operation is not None and operation.kind == "restart"):
            return
        if self._notifier.is_stopping:
            self._notifier.status("Stopping")
        else:
            self._notifier.stopping("Stopping", self._shutdown + MARGIN)

    def _reloaded(self, report: dict[str, Any] | None) -> None:
        if report is None:
            self._notifier.reloading("Reloading")
        elif self._notifier.was_ready:
            refused = "; ".join(report["refused"])
            self._notifier.ready(
                f"Reload refused, nothing has changed: {refused}"
                if report["outcome"] == "refused"
                else summary(self._root)
            )

    def _happened(self, event: Event) -> None:
        if event.kind == PUT_BACK or "by" in (event.details or ()):
            return  # what an operator does is no state, and why a reload was refused is to be read
        # Once for a burst: to look at a tree of a thousand services for each of them takes long.
        if not self._is_due and self._notifier.was_ready and not self._notifier.is_stopping:
            self._is_due = True
            self._root.backend_in_use.post(self._tell_summary)

    def _tell_summary(self) -> None:
        self._is_due = False
        if not self._notifier.is_stopping:
            self._notifier.status(summary(self._root))


def summary(root: Service) -> str:
    """How a tree is, in a line for people.

    Example:
        Ready: 9 services
        Degraded: 1 of 9 services: App/Db: do_start failed: ConnectionRefusedError: ...
    """
    services = list(root.walk())
    failed = [each for each in services if is_failed(each)]
    count = "1 service" if len(services) == 1 else f"{len(services)} services"
    if failed:
        return f"Degraded: {len(failed)} of {count}: {why(failed[-1]) or failed[-1].path}"
    state = root.state.current
    return f"{state.capitalize()}: {count}"
