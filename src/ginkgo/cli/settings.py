"""``ginkgo TARGET -h``: every setting, with its help, default, value and origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..process.choosing import Choice
    from ..process.options import Options


def show_settings(options: Options, choice: Choice) -> int:
    """Print the settings of a target, without starting anything. Returns the exit status."""
    from ..config import format_settings, settings
    from ..process.loading import load

    loaded = load(options, choice, check=False)
    print(format_settings(settings))
    del loaded  # its settings are declared for as long as it is kept
    return 0
