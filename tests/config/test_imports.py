"""What importing the settings costs: `ginkgoctl` and `ginkgo --version` pay for it too."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {
    "_ctypes",
    "ast",
    "asyncio",
    "ctypes",
    "dataclasses",
    "difflib",
    "gevent",
    "inspect",
    "logging",
    "msgspec",
    "pathlib",
    "signal",
    "textwrap",
    "threading",
}


def imported_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


# What every part of Ginkgo imports, and is not this room's to answer for.
BEFORE = "import ginkgo, ginkgo.core.errors"


def test_importing_the_settings_imports_nothing_heavy() -> None:
    assert (imported_by("import ginkgo.config") - imported_by(BEFORE)) & HEAVY == set()


def test_reading_plain_settings_imports_no_validator() -> None:
    code = """
from ginkgo.config import Setting, Settings, settings
class Has:
    rate: int = Setting("rate", default=60)
    name: str | None = Setting("name")
settings.load({"rate": 5, "name": "x"})
settings.load_options(["rate=6"])
settings.check()
assert Has.rate == 6
"""
    # Loading needs signals, to end a config file that hangs.
    assert (imported_by(code) - imported_by(BEFORE)) & HEAVY <= {"signal"}
