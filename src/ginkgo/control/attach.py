"""Puts the control server beside a running tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ginkgo.process.control_address import warnings as control_warnings
from ginkgo.process.settings import ProcessSettings

from . import audit
from .instance import Instance
from .server import ControlServer
from .tcp import from_settings

if TYPE_CHECKING:
    from ginkgo.core.service import Service


class Attachable(Instance, Protocol):
    """A running tree: an `Instance` that has a runtime folder and the loop of its root."""

    root: Service
    folder_fd: int


def attach(running: Attachable) -> ControlServer:
    """Start the control server of a running tree; close what is returned when it has stopped.

    Raises:
        CannotCreate: its socket cannot be made.
        Unavailable: the TCP address is taken, or not this machine's.
        SystemFailure: the process is out of descriptors or threads.
    """

    def post(function: Callable[[str], None]) -> Callable[[str], None]:
        return lambda text: running.root.backend_in_use.post(function, text)

    process = ProcessSettings()
    server = ControlServer(
        running.folder_fd,
        running,
        report=post(audit.report),
        audit=post(audit.audit),
        tcp=from_settings(process),
    )
    server.start()
    if server.url is not None:
        audit.audit(f"The control address is {server.url}")
        for warning in control_warnings(process):
            audit.report(warning)
    return server
