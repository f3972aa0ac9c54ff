"""Compiles the C programs of the benchmarks at first use."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from benchmarks.harness import Unmeasured
from benchmarks.machine import HERE

BUILT: Final = HERE / ".build"
"""The folder of the compiled programs."""


def program(source: Path) -> Path:
    """The program that a C file is compiled to; compiles it if its source is newer.

    Raises:
        Unmeasured: there is no C compiler, or it refuses the source.
    """
    built = BUILT / source.stem
    if built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return built
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise Unmeasured(f"no C compiler (cc or gcc) is installed, and {source.name} is in C")
    BUILT.mkdir(exist_ok=True)
    fresh = built.with_name(f"{source.stem}.{os.getpid()}")
    command = [compiler, "-O2", "-std=gnu11", "-Wall", "-o", str(fresh), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise Unmeasured(f"{compiler} cannot compile {source.name}:\n{done.stderr.strip()}")
    fresh.replace(built)  # at once: another run may be about to start it
    return built
