"""Starting a target as a daemon: this command line, once more, in the background."""

from __future__ import annotations

import sys

from .launcher import launch as launch_command
from .options import Options


def launch(options: Options) -> int:
    """Start the target as a daemon, and wait until it is ready, or it is known why it is not.

    Nothing of the application is imported here.

    Raises:
        GinkgoError: why it is not ready.
    """
    outcome = launch_command(command(options), timeout=options.timeout)
    if outcome.error is None:
        print(f"{options.target} is ready: pid {outcome.pid}")
        return 0
    said = outcome.traceback or "\n".join(outcome.output)
    if said:
        print(said.rstrip("\n"), file=sys.stderr)
    raise outcome.error


def command(options: Options) -> list[str]:
    """The command line of a daemon. ``-P`` keeps the current folder off its import path."""
    arguments = [sys.executable, "-P", "-m", "ginkgo", "--daemonize"]
    for assignment in options.assignments:
        arguments += ["--set", assignment]
    if options.backend is not None:
        arguments += ["--backend", options.backend]
    return [*arguments, options.target]
