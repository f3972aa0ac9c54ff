"""Which configuration is in force: the one at the top of a stack.

    [ the process's own ]                               settings.get("rate") reads this one
    [ the process's own | a test's ]                    inside `with settings.context():`
    [ the process's own | a test's | another's ]        and so on

The stack belongs to the process, not to a task or thread: a service that was started inside a
`with` block runs in other tasks, and has to see the same values as the block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .settings import Settings

stack: list[Settings] = []


def active() -> Settings:
    """Return the configuration that is in force now."""
    return stack[-1]
