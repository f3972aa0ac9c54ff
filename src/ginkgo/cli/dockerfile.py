"""``ginkgo dockerfile TARGET``: how to put it into a container."""

from __future__ import annotations

import argparse
import sys


def parser() -> argparse.ArgumentParser:
    """Return the parser of its command line."""
    from .main import TARGET_HELP, add_common

    made = argparse.ArgumentParser(
        prog="ginkgo dockerfile",
        description="Print a Dockerfile for a target, to stand in the current folder.",
        allow_abbrev=False,
    )
    add_common(made)
    made.add_argument("target", metavar="TARGET", help=TARGET_HELP)
    return made


def run(options: argparse.Namespace) -> int:
    """Print a Dockerfile; on stderr, what cannot work in a container. Returns 0.

    Raises:
        GinkgoError: the target cannot be loaded.
    """
    from .. import __version__
    from ..process.deployment import deployment_of
    from ..process.dockerfile import dockerfile, unreachable
    from ..process.options import Options

    wanted = Options(options.target, assignments=tuple(options.set), backend=options.backend)
    what = deployment_of(wanted)
    print(dockerfile(what, __version__), end="")
    for each in unreachable(what):
        print(f"ginkgo: warning: {each}", file=sys.stderr)
    return 0
