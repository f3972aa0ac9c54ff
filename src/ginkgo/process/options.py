"""What a start was asked for, on the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments of ``ginkgo``.

    Attributes:
        target: a config file or a dotted name.
        daemon: ``-d`` was given.
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
