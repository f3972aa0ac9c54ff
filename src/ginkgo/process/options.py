"""What a start was asked for, on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Companion = Callable[[], Callable[[Any], Any]]
"""What runs beside a tree; see :func:`ginkgo.process.start.start`."""


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of ``ginkgo``.

    Attributes:
        target: a config file or a dotted name.
        daemon: ``-d`` was given.
        foreground: stay in the foreground, whatever the configuration says of `daemon`.
        assignments: the ``NAME=VALUE`` of each ``--set``.
        backend: ``--backend``, or None.
        timeout: seconds that the launcher of a daemon waits for it to be ready; None for as long
            as the daemon itself gives its services.
    """

    target: str
    daemon: bool = False
    assignments: tuple[str, ...] = ()
    backend: str | None = None
    timeout: float | None = None
    foreground: bool = False
