"""Where a WSGI application's ``wsgi.errors`` leads to, on every backend."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.service import Service

logger = logging.getLogger("ginkgo.servers.wsgi")


class ErrorLog:
    """The file ``wsgi.errors``: what an application writes there goes to the log."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def write(self, text: str) -> None:
        if text and not text.isspace():
            logger.error("%s: %s", self._service.path, text.rstrip("\n"))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Nothing is held back."""
