"""nats_echo.py: a NATS server, and a client of it that answers on the subject `echo`."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nats
import uvloop

LISTENS = re.compile(r"Listening for client connections on 127\.0\.0\.1:(\d+)")


async def answer(port: str) -> None:
    """Answers until the process is told to end."""
    client = await nats.connect(f"nats://127.0.0.1:{port}")

    async def reply(message: Any) -> None:
        await client.publish(message.reply, message.data)

    await client.subscribe("echo", cb=reply)
    await client.flush()
    print("port", port, flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


def main() -> None:
    """Raises:
    SystemExit: there is no nats-server, or it did not come up.
    """
    command = Path(sys.executable).with_name("nats-server")
    if not command.exists():
        raise SystemExit("nats-server is not installed: run `make bench`")
    server = subprocess.Popen(
        [command, "--addr", "127.0.0.1", "--port", "-1"], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    try:
        for line in server.stderr:
            if found := LISTENS.search(line):
                uvloop.run(answer(found[1]))
                return
        raise SystemExit("nats-server did not come up")
    finally:
        server.terminate()
        server.wait()


main()
