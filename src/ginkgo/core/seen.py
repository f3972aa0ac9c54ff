"""A tree as others see it: read from any thread, without a lock and without the user's code.

The control plane looks at a tree from its own thread while the tree's is blocked, it may be in the
very service that is looked at. So nothing here calls a method, a property or a ``__str__`` of a
subclass: what Ginkgo itself keeps of a service is read where it is kept.

::

    for service, path in walk(root):
        print(path, state_of(service))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .service import Service
from .state import DEGRADED, READY


def field(service: Service, name: str) -> Any:
    """What Ginkgo keeps under `name` for a service, whatever its class makes of that name."""
    return object.__getattribute__(service, "__dict__").get(name, getattr(Service, name))


def state_of(service: Service) -> str:
    """The state as ``service.state.current`` tells it."""
    state: str = field(service, "_state")
    return DEGRADED if state == READY and field(service, "_ailing") else state


def children_of(service: Service) -> tuple[Service, ...]:
    """The children as they are now."""
    return tuple(field(service, "_children"))


def parent_of(service: Service) -> Service | None:
    """The service that contains it, or None."""
    parent: Service | None = field(service, "parent")
    return parent


def name_of(service: Service) -> str:
    """The name; where the class computes it by code of its own, that of the class."""
    kind = type(service)
    said = next((each.__dict__["name"] for each in kind.__mro__ if "name" in each.__dict__), None)
    if isinstance(said, str):  # an attribute of the class, which an instance may have its own of
        said = object.__getattribute__(service, "__dict__").get("name", said)
        if isinstance(said, str):
            return said
    return field(service, "_name") or kind.__name__


def walk(service: Service, path: str | None = None) -> Iterator[tuple[Service, str]]:
    """A service and all below it with their paths, parents first.

    Args:
        service: where to begin.
        path: that of `service`, if it is known.
    """
    path = path_of(service) if path is None else path
    yield service, path
    for child, name in named(service):
        yield from walk(child, f"{path}/{name}")


def named(service: Service) -> Iterator[tuple[Service, str]]:
    """The children, each with its part of the path: the second `db` is `db-2`."""
    count: dict[str, int] = {}
    for child in children_of(service):
        name = name_of(child)
        number = count[name] = count.get(name, 0) + 1
        yield child, name if number == 1 else f"{name}-{number}"


def path_of(service: Service) -> str:
    """Where a service is in its tree."""
    parent = parent_of(service)
    if parent is None:
        return name_of(service)
    number = (field(parent, "_numbers") or {}).get(id(service))
    if number is not None:
        own = name_of(service) + (f"-{number}" if number > 1 else "")
    else:
        own = next((name for child, name in named(parent) if child is service), name_of(service))
    return f"{path_of(parent)}/{own}"


def find(root: Service, path: str) -> Service | None:
    """The service with that path, or None."""
    if path == name_of(root):
        return root
    first, _, rest = path.partition("/")
    if first != name_of(root):
        return None
    service = root
    for part in rest.split("/"):
        below = next((child for child, name in named(service) if name == part), None)
        if below is None:
            return None
        service = below
    return service
