"""A real process on each backend, and the API on its control socket."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.backends import Ground
from tests.control.harness import Client
from tests.workshop import Program, eventually


class Steered:
    """A process that runs ``app.App``, and who asks it."""

    port = 0  # of its TCP address, where it has one

    def __init__(
        self, ground: Ground, text: str, *options: str, target: str = "app.App", **env: str
    ) -> None:
        ground.write(text)
        self.ground = ground
        self.program: Program = ground.begin(*options, target=target, env=env)
        self.program.wait_for("^up$")
        [self.socket] = ground.shop.runtime.rglob("control.sock")

    def get(self, path: str) -> tuple[int, Any]:
        """Ask on a connection of its own."""
        with Client(str(self.socket)) as client:
            return client.json(f"GET /api/v1/{path}")

    def told(self, path: str) -> Any:
        """The content of what is there."""
        status, content = self.get(path)
        assert status == 200, content
        return content

    def post(self, path: str, /, **body: Any) -> tuple[int, Any]:
        """Have something done."""
        with Client(str(self.socket)) as client:
            return client.json(f"POST /api/v1/{path}", json.dumps(body).encode())

    def done(self, path: str, /, **body: Any) -> Any:
        """Have something done that can be."""
        status, content = self.post(path, **body)
        assert status == 200, content
        return content

    def setting(self, name: str) -> dict[str, Any]:
        """One setting."""
        [found] = [each for each in self.told("settings")["settings"] if each["name"] == name]
        return found

    def becomes(self, path: str, state: str) -> None:
        """Wait until a service is in a state."""
        eventually(lambda: self.told(f"services/{path}")["state"] == state)

    def ends(self) -> None:
        """Stop it, in order."""
        assert self.program.stops() == 0, self.program.output
