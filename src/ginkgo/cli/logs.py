"""``ginkgoctl log`` and ``logtail``."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

from ..core.errors import PermissionDenied, TargetNotFound
from ..logs import tail
from .ctl import locate
from .output import Output

if TYPE_CHECKING:
    import argparse


def log(options: argparse.Namespace) -> int:
    """Print the whole log."""
    path, out = logfile(options), _printer(options)
    tail.stream(path, out, raw=options.raw)
    if isinstance(out, JsonLines):
        out.finish()
    return 0


def logtail(options: argparse.Namespace) -> int:
    """Print the end of the log and follow it, until Ctrl+C."""
    out = _printer(options)
    try:
        for text in tail.follow(logfile(options), sys.stdout, lines=options.lines, raw=options.raw):
            out.write(text)
            out.flush()
    finally:
        if isinstance(out, JsonLines):
            out.finish()
    return 0


def logfile(options: argparse.Namespace) -> str:
    """Return the path of an instance's log, from what the instance noted about itself.

    Raises:
        TargetNotFound: it is not known where the log is.
        PermissionDenied: this user may not look.
    """
    found, name = locate(options)
    if found.record is not None:
        if found.record.logfile is not None:
            return found.record.logfile
        raise TargetNotFound(
            f"{name} (pid {found.record.pid}) has no log file",
            hint="it runs in the foreground, and logs where it was started, or has a `logconfig`",
        )
    if found.state == "unknown":
        from ..control.manager import who_may_look

        raise PermissionDenied(
            f"the log of {name} is not known: {found.reason}", hint=who_may_look()
        )
    from ..process.instances import last_logfile
    from ..process.places import is_config_file

    last = last_logfile(found.folder) if found.folder is not None else None
    if last is not None:
        return last

    if options.target is not None and not is_config_file(options.target):
        from ..logs.settings import default_logfile

        usual = default_logfile(options.target.rpartition(".")[2])
        if os.path.lexists(usual):
            Output(as_json=options.json, quiet=options.quiet).say(
                f"it is not known where {name} logged; this is {usual}, which is only the default "
                "of its `logfile`, and may be another program's"
            )
            return usual
    raise TargetNotFound(
        f"{name} is not running, and it is not known where it logged",
        hint="see `logfile` in its configuration: `ginkgo TARGET -h` shows it",
    )


def _printer(options: argparse.Namespace) -> TextIO:
    return cast("TextIO", JsonLines(sys.stdout)) if options.json else sys.stdout


class JsonLines(io.TextIOBase):
    """Writes each line as an object of its own (JSON Lines): a log may have no end.

    Args:
        out: where to.
    """

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out
        self._rest = ""

    def write(self, text: str) -> int:
        """Write the lines that are complete."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._put(line)
        return len(text)

    def finish(self) -> None:
        """Write the last line, which its writer has not ended: nothing more will come."""
        if self._rest:
            self._put(self._rest)
            self._rest = ""
            self.flush()

    def _put(self, line: str) -> None:
        self._out.write(json.dumps({"schema": "ginkgo.line/1", "text": line}) + "\n")

    def flush(self) -> None:
        """Have it arrive at the reader."""
        self._out.flush()
