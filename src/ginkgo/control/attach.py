"""Puts the control server beside a running tree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ginkgo.core.errors import ConfigError
from ginkgo.process.control_address import warnings as control_warnings
from ginkgo.process.settings import ProcessSettings

from . import audit
from .instance import Instance
from .server import ControlServer
from .tcp import from_settings

if TYPE_CHECKING:
    from ginkgo.process.reload import Reloader
    from ginkgo.servers.listen import Listener


class Attachable(Instance, Protocol):
    """A running tree: an `Instance` that has a runtime folder, and a thread of its own."""

    folder_fd: int
    reloader: Reloader
    control_listener: Listener | None

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call a function in the tree's own thread, soon."""


def attach(running: Attachable) -> ControlServer:
    """Start the control server of a running tree; close what is returned when it has stopped.

    Raises:
        CannotCreate: its socket cannot be made.
        Unavailable: the TCP address is taken, or not this machine's.
        SystemFailure: the process is out of descriptors or threads.
    """

    def post(function: Callable[[str], None]) -> Callable[[str], None]:
        return lambda text: running.post(function, text)

    process = ProcessSettings()
    if process.control is not None:
        _import_metrics()
    server = ControlServer(
        running.folder_fd,
        running,
        report=post(audit.report),
        audit=post(audit.audit),
        tcp=from_settings(process, running.control_listener),
    )
    server.start()
    running.reloader.listeners.append(partial(_reloaded, server))
    if server.url is not None:
        audit.audit(f"The control address is {server.url}")
        for warning in control_warnings(process):
            audit.report(warning)
    return server


def _import_metrics() -> None:
    """Import what `/metrics` needs here, where there is time, and not in the control thread.

    Others would wait there for as long as the import takes. Without an address nobody may ever ask.
    """
    try:
        import prometheus_client.exposition  # noqa: F401

        import ginkgo.process.metrics  # noqa: F401
    except ImportError:
        pass  # whoever asks is told what to install


def _reloaded(server: ControlServer, report: dict[str, Any] | None) -> None:
    if report is None or report["outcome"] == "refused":
        return
    try:
        server.reload_certificates()
    except ConfigError as error:
        audit.report(f"The control address keeps its old certificate: {error}")
