"""``ginkgo dev TARGET``: run it in the foreground, and anew when its files change."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.errors import GinkgoError, UsageError
from ..logs.escape import escape
from ..process.dev_channel import DEV_FD
from ..process.options import Options
from ..process.places import is_config_file

if TYPE_CHECKING:
    from ..control.server import ControlServer
    from ..process.running import Running


def run(options: argparse.Namespace) -> int:
    """Run a target, and anew when its files change, until Ctrl+C. Returns the exit status.

    Raises:
        Unavailable: watchfiles is not installed.
        TargetNotFound: there is no such config file.
        UsageError: none was named, and there is not just one.
    """
    if DEV_FD in os.environ:
        return _inside(options)
    from ..process.dev import Developing
    from ..process.target import check_exists

    if options.target is None:
        options.target = _config_here()
    config = [options.target] if is_config_file(options.target) else []
    for path in config:
        check_exists(path)
    command = [sys.executable, "-P", "-m", "ginkgo", "dev", *_arguments(options), options.target]
    developing = Developing(command, config, options.watch, _say)
    _say(f"{options.target} runs anew when what it has imported changes; Ctrl+C ends it")
    return developing.run()


def parser() -> argparse.ArgumentParser:
    """Return the parser of its command line."""
    from .main import TARGET_HELP, add_common

    made = argparse.ArgumentParser(
        prog="ginkgo dev",
        description="Run a service in the foreground, and run it anew when a file changes that it "
        "has imported, or its config file. What cannot be imported is told, and replaces nothing. "
        "The listening sockets stay open, so that nobody is refused meanwhile.",
        allow_abbrev=False,
    )
    made.add_argument(
        "--watch",
        metavar="PATH",
        action="append",
        default=[],
        help="one more file or folder that it depends on, templates for example; may be repeated",
    )
    add_common(made)
    made.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help=f"{TARGET_HELP}; without it, the one *.conf.py of the current folder",
    )
    return made


def _config_here() -> str:
    """The one config file of the current folder."""
    found = sorted(name for name in os.listdir() if name.endswith(".conf.py"))
    if len(found) == 1:
        return found[0]
    there = f"there are {', '.join(found)}" if found else "there is no config file here (*.conf.py)"
    raise UsageError(f"which service? {there}", hint="ginkgo dev module.Class, or a config file")


def _inside(options: argparse.Namespace) -> int:
    """Be the process that runs the tree."""
    from ..process.dev_child import Inside
    from ..process.start import start
    from .main import backdoor, control

    inside = Inside.inherited()

    def with_page() -> Callable[[Running], ControlServer]:
        attach = control()

        def attached(running: Running) -> ControlServer:
            server = attach(running)
            inside.page = server.url
            return server

        return attached

    arguments = _arguments(options)
    sys.argv[1:] = [*arguments, options.target]  # what `ginkgoctl restart` will start
    wanted = Options(
        target=options.target,
        assignments=tuple(options.set),
        backend=options.backend,
        foreground=True,
    )
    try:
        return start(wanted, companions=(with_page, backdoor, inside.companion))
    except GinkgoError as error:
        inside.failed(error)
        raise


def _arguments(options: argparse.Namespace) -> list[str]:
    given = [word for each in options.set for word in ("--set", each)]
    return given if options.backend is None else [*given, "--backend", options.backend]


def _say(text: str) -> None:
    print(f"ginkgo dev: {escape(text)}", file=sys.stderr, flush=True)
