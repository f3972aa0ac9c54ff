"""Puts the control server beside a running tree."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from .instance import Instance
from .server import ControlServer

if TYPE_CHECKING:
    from ginkgo.core.service import Service

logger = logging.getLogger(__name__)


class Attachable(Instance, Protocol):
    """A running tree: an `Instance` that has a runtime folder and the loop of its root."""

    root: Service
    folder_fd: int


def attach(running: Attachable) -> ControlServer:
    """Start the control server of a running tree; close what is returned when it has stopped.

    Raises:
        CannotCreate: its socket cannot be made.
        SystemFailure: the process is out of descriptors or threads.
    """

    # Logging takes locks of the application's world: it is done in the application's loop.
    def report(text: str) -> None:
        running.root.backend_in_use.post(logger.warning, "%s", text)

    def audit(text: str) -> None:
        running.root.backend_in_use.post(logger.info, "%s", text)

    server = ControlServer(running.folder_fd, running, report=report, audit=audit)
    server.start()
    return server
