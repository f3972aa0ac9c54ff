"""A log line that shows where something is: with a stack below it, as a traceback would stand."""

from __future__ import annotations

import logging


def log_stack(logger: logging.Logger, level: int, stack: str, message: str, *args: object) -> None:
    """Log `message`, and `stack` as the record's ``stack_info``, which every formatter prints.

    :meth:`logging.Logger.log` takes no stack but that of its caller.
    """
    if logger.isEnabledFor(level):
        file, line, function, _ = logger.findCaller(False, 2)
        record = logger.makeRecord(
            logger.name, level, file, line, message, args, None, function, sinfo=stack
        )
        logger.handle(record)
