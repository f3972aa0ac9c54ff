"""What everything is doing: the stack of every thread, and of every task with its service."""

from __future__ import annotations

import sys
import traceback

from ..core.service import Service


def stacks(root: Service) -> str:
    """The stacks of the process's threads and of the tree's tasks, as text."""
    parts = []
    for ident, frame in sys._current_frames().items():
        parts.append(f"thread {ident:#x}\n{''.join(traceback.format_stack(frame)).rstrip()}")
    for service in root.walk():
        for task in tuple(service._tasks or ()):
            parts.append(f"{service.path}: {service.backend_in_use.describe(task)}")
    return "\n".join(parts)
