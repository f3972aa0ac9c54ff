"""What the control plane writes into the log.

Logging takes locks that belong to the application's world, so the control thread does none of it:
these functions are posted to the application's loop. They are a module of their own because the
log's lines carry the name of the module that wrote them.
"""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)  # what operators do is written also where the log is to say less


def audit(text: str) -> None:
    """Log that somebody had something done."""
    logger.info("%s", text)


def report(text: str) -> None:
    """Log what went wrong with the control plane itself."""
    logger.warning("%s", text)
