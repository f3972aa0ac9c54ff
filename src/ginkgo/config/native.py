"""The standard library's real locks and threads, in a process that gevent has patched.

`ginkgo.async_.native` has more of them; it stands above this room and cannot be used here. gevent
is never imported: where it is not loaded, nothing can have been patched.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def original(module: str, name: str) -> Any:
    """Return `name` of the standard library's `module` as it was before any monkey patching."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(import_module(module), name)
    return monkey.get_original(module, name)


def patched() -> bool:
    """Whether gevent has replaced parts of the standard library in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.saved)
