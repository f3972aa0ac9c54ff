"""The running process: from a target to a tree that runs, and its end.

As a name, ``ginkgo.process`` is the root of the tree that this process runs: what is asked of it is
answered by that service.

>>> import ginkgo
>>> ginkgo.process.state.current
'ready'
>>> ginkgo.process.stop()
"""

from __future__ import annotations

from typing import Any

from ..core.context import context
from ..core.errors import GinkgoError


class NoTree(GinkgoError, AttributeError):
    """This process runs no tree of services, so there is nothing to ask."""


def __getattr__(name: str) -> Any:
    if context.root is None:
        raise NoTree(
            f"ginkgo.process.{name}: this process runs no tree of services",
            hint="The root is there from the making of the service by ginkgo or serve_forever().",
        )
    return getattr(context.root, name)
