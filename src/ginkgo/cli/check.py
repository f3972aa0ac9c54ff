"""``ginkgo check TARGET``: is the configuration right? Nothing is started."""

from __future__ import annotations

import argparse
import sys


def check(options: argparse.Namespace) -> int:
    """Check a target's configuration. Returns 0; what is wrong is raised.

    Raises:
        ConfigError: all that is wrong, each with file and line.
    """
    from ..config import settings
    from ..process import control_address, validation
    from ..process.loading import load
    from ..process.options import Options
    from ..process.start import patch_for

    wanted = Options(options.target, assignments=tuple(options.set), backend=options.backend)
    choice = patch_for(wanted)
    loaded = load(wanted, choice, check=False)
    for warning in settings.warnings:
        print(f"ginkgo: warning: {warning}", file=sys.stderr)
    validation.check(loaded.process, loaded.log, options.target, choice, strict=options.strict)
    for warning in control_address.warnings(loaded.process):
        print(f"ginkgo: warning: {warning}", file=sys.stderr)
    given = sum(each.origin != "default" for each in settings.declared())
    print(f"{options.target}: the configuration is right ({given} settings are set)")
    return 0
