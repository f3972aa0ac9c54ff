"""One backend a tree: found by what is in it, where nobody has said it; all else is refused."""

from __future__ import annotations

import sys

from .errors import ConfigError

TYPE_CHECKING = False  # as typing has it, without the 5 ms that its import takes
if TYPE_CHECKING:
    from .service import Service

HOOKS = ("do_start", "do_stop", "do_reload")

_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE, without the 5 ms that its import takes


def coroutine_hook(service: Service) -> str:
    """The name of a hook of `service` that is a coroutine function, or ""."""
    kind = type(service)
    for hook in HOOKS:
        code = getattr(getattr(kind, hook), "__code__", None)
        if code is not None and code.co_flags & _CO_COROUTINE:
            return hook
    return ""


def natural_backend(root: Service) -> str:
    """The name of the backend that the services of a tree are written for.

    In a thread in which a loop of asyncio runs it is asyncio, too: the others would block it.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        return "asyncio"
    written_for = ""
    for service in root.walk():
        if service.only_on is not None:
            written_for = written_for or service.only_on
        elif coroutine_hook(service):
            return "asyncio"
    return written_for or "gevent"


def check_backend(service: Service, backend: str) -> None:
    """See whether a service is written for the backend of its tree.

    Args:
        backend: the name of the tree's.

    Raises:
        ConfigError: it is a server or client for another one, or has hooks for asyncio.
    """
    own = service.only_on
    if own == backend or (backend == "asyncio" and own is None):
        return
    if own is None:
        hook = coroutine_hook(service)
        if hook:
            raise ConfigError(
                f"{service.path}: {hook} is a coroutine function, and the tree runs on {backend}",
                hint="Run it on asyncio: --backend asyncio, or backend = 'asyncio' in the config "
                "file or on the root's class.",
            )
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
