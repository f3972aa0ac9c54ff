"""One way to write an application's module, for every backend.

::

    ASYNC def do_start(self):               def do_start(self):           async def do_start(self):
        AWAIT self.async_.sleep(1)              self.async_.sleep(1)          await self...
                                            gevent, threading             asyncio, uvloop
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from tests.workshop import Program, Workshop

GROUNDS = {
    "gevent": ("--backend", "gevent"),
    "asyncio": ("--backend", "asyncio", "--set", "loop=asyncio"),
    "uvloop": ("--backend", "asyncio", "--set", "loop=uvloop"),
    "threading": ("--backend", "threading"),
}


@dataclass(frozen=True)
class Ground:
    """A backend, and a folder in which real commands are run on it."""

    name: str
    shop: Workshop

    @property
    def options(self) -> tuple[str, ...]:
        return GROUNDS[self.name]

    @property
    def awaits(self) -> bool:
        """Whether hooks and tasks are coroutine functions."""
        return self.name in ("asyncio", "uvloop")

    def write(self, text: str) -> None:
        """Write ``app.py``."""
        words = ("async ", "await ") if self.awaits else ("", "")
        self.shop.write("app.py", text.replace("ASYNC ", words[0]).replace("AWAIT ", words[1]))

    def begin(
        self, *options: str, target: str = "app.App", env: dict[str, str] | None = None
    ) -> Program:
        """Start ``ginkgo app.App``, in the foreground."""
        return self.shop.begin("ginkgo", *self.options, *options, target, env=env)

    def run(self, *options: str, target: str = "app.App") -> subprocess.CompletedProcess[str]:
        """Run ``ginkgo app.App`` to its end."""
        return self.shop.ginkgo(*self.options, *options, target)
