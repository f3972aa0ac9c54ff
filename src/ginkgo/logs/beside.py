"""A line for the log from a native thread, beside a loop that is blocked.

`logging` itself is not for such a thread (see :mod:`ginkgo.async_.native`): to make a record asks
`threading` who runs, and a handler of the standard library may wait for a lock of the loop's. So a
record is made here by hand, and given to the handlers that need no such lock: Ginkgo's own. Others
get it in the loop, when that comes round again; where nobody else could write it, it is written to
stderr at once, which in a daemon is the log.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from .format import Formatter
from .handler import LineHandler
from .records import Records
from .ring import Ring


class Beside:
    """Logs for one native thread. Made in a thread that may use `logging`.

    Args:
        logger: whose level and handlers count.
        post: calls a function with arguments in the loop, some time; from any thread.
        thread: the thread's name.
    """

    def __init__(self, logger: logging.Logger, post: Callable[..., object], thread: str) -> None:
        self._logger = logger
        self._post = post
        self._pattern = dict(
            logger.makeRecord(logger.name, 0, "", 0, "", (), None).__dict__,
            threadName=thread,
            taskName=None,
        )

    def log(self, level: int, file: str, text: str, stack: str | None = None) -> None:
        """Log a text as it is, and a stack below it.

        Args:
            level: of `logging`.
            file: the ``__file__`` of the module that logs.
            text: the message.
            stack: lines, as a traceback has them.
        """
        if level < self._logger.getEffectiveLevel() or self._logger.manager.disable >= level:
            return
        record = self._record(level, file, text, stack)
        handlers = [each for each in _handlers(self._logger) if level >= each.level]
        ours = [each for each in handlers if isinstance(each, LineHandler | Ring | Records)]
        for handler in ours:
            handler.handle(record)
        if not any(isinstance(each, LineHandler) for each in ours):
            _to_stderr(record)
        for other in handlers:
            if other not in ours:
                self._post(other.handle, record)

    def _record(self, level: int, file: str, text: str, stack: str | None) -> logging.LogRecord:
        record = logging.LogRecord.__new__(logging.LogRecord)
        now = time.time()
        name = os.path.basename(file)
        record.__dict__.update(
            self._pattern,
            msg=text,
            levelno=level,
            levelname=logging.getLevelName(level),
            pathname=file,
            filename=name,
            module=os.path.splitext(name)[0],
            created=now,
            msecs=int((now - int(now)) * 1000) + 0.0,
            stack_info=stack,
        )
        return record


def _handlers(logger: logging.Logger | None) -> list[logging.Handler]:
    """Those that a record of this logger goes to."""
    found: list[Any] = []
    while logger is not None:
        found += logger.handlers
        logger = logger.parent if logger.propagate else None
    return found


def _to_stderr(record: logging.LogRecord) -> None:
    try:
        os.write(2, f"{Formatter().format(record)}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # a full disk or a closed terminal
