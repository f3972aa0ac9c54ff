"""One backend a tree: what is written for another one is refused, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import ConfigError

if TYPE_CHECKING:
    from .service import Service


def check_backend(service: Service, backend: str) -> None:
    """See whether a server or client is written for the backend of its tree.

    Args:
        backend: the name of the tree's.

    Raises:
        ConfigError: it is written for another one.
    """
    own = service.only_on
    if own is None or own == backend:
        return
    other = next((each for each in service.root.walk() if each.only_on == backend), None)
    if other is None:
        raise ConfigError(
            f"{service.path} is for {own}, and its tree runs on {backend}",
            hint=f"Take the one from ginkgo.async_.{backend}, or let the tree run on {own}: "
            f"backend = {own!r} in the config file or on the root's class.",
        )
    raise ConfigError(
        f"{service.path} is for {own}, and {other.path} is for {backend}: a tree runs on one "
        f"backend, and this one on {backend}",
        hint=f"Take both from ginkgo.async_.{backend}, or both from ginkgo.async_.{own}.",
    )
