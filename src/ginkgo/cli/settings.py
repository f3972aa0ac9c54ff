"""``ginkgo TARGET -h``: every setting, with its help, default, value and origin."""

from __future__ import annotations

import argparse


def show_settings(options: argparse.Namespace) -> int:
    """Print the settings of a target, without starting anything. Returns the exit status."""
    from ..config import format_settings, settings
    from ..process.loading import load
    from ..process.options import Options

    loaded = load(Options(options.target, assignments=tuple(options.set)), check=False)
    print(format_settings(settings))
    del loaded  # its settings are declared for as long as it is kept
    return 0
