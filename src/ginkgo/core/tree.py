"""Where a service is: its parent, its children, its name and its path.

::

    app                 app.root is app
      app/db            db.parent is app
        app/db/pool     pool.path == "app/db/pool"
      app/web
      app/web-2         of siblings with the same name the second has a number
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from .errors import UsageError
from .policies import Care, check_limits
from .state import orphan

if TYPE_CHECKING:
    from .service import Service


class Place:
    """A service's place in its tree.

    Attributes:
        parent: the service that contains this one, or None.
    """

    parent: Service | None = None

    _children: list[Service] | tuple[()] = ()
    _numbers: dict[int, int] | None = None
    _name: str | None = None

    @property
    def children(self) -> tuple[Service, ...]:
        """The services that this one contains, in the order in which they start."""
        return tuple(self._children)

    @property
    def root(self) -> Service:
        """The topmost service of the tree."""
        service = cast("Service", self)
        while service.parent is not None:
            service = service.parent
        return service

    def walk(self) -> Iterator[Service]:
        """This service and all below it, parents first."""
        yield cast("Service", self)
        for child in self.children:
            yield from child.walk()

    def _ancestors(self) -> Iterator[Service]:
        service = self.parent
        while service is not None:
            yield service
            service = service.parent

    @property
    def name(self) -> str:
        """What the service is called within its parent: its class's name, unless it is set."""
        return self._name or type(self).__name__

    @name.setter
    def name(self, name: str) -> None:
        if not name or "/" in name:
            raise UsageError(f"a service's name is not empty and has no slash in it: {name!r}")
        self._settle_events()
        self._name = name
        if self.parent is not None:
            self.parent._numbers = None

    @property
    def path(self) -> str:
        """Where the service is in its tree: ``app/db/pool``. Of siblings with the same name the
        second is ``name-2``, and so on."""
        if self.parent is None:
            return self.name
        number = self.parent._number_of(self)
        return f"{self.parent.path}/{self.name}" + (f"-{number}" if number > 1 else "")

    def _number_of(self, child: Place) -> int:
        numbers = self._numbers
        if numbers is None or id(child) not in numbers:
            # For all of them at once: one by one, ten thousand paths took twenty seconds.
            numbers = {}
            seen: dict[str, int] = {}
            for each in self.children:
                numbers[id(each)] = seen[each.name] = seen.get(each.name, 0) + 1
            self._numbers = numbers
        return numbers.get(id(child), 1)

    # -- for Service, which says when a child comes and goes ------------------------------------

    def _adopt(
        self,
        child: Service,
        restart: str | None = None,
        strategy: str | None = None,
        limits: tuple[Any, Any, Any] = (None, None, None),
    ) -> None:
        if not isinstance(child, Place):
            raise UsageError(
                f"{self.path}: add_service takes a service, not {child!r}",
                hint="A gevent server becomes a service by ServerWrapper(server).",
            )
        if child.parent is not None:
            raise UsageError(f"{child.path} already has a parent: a service is in one place only")
        if child is self or any(child is ancestor for ancestor in self._ancestors()):
            raise UsageError(f"{child.path} cannot be added below itself")
        if restart is not None:
            child.restart = restart
        if strategy is not None:
            child.strategy = strategy
        if limits != (None, None, None):
            check_limits(child, *limits)
            child._care = Care(limits)
        if not isinstance(self._children, list):
            self._children = []
        self._children.append(child)
        self._numbers = None
        child.parent = cast("Service", self)
        if child._backend is not None and self.root._backend is None:
            self.root._backend = child._backend

    def _disown(self, child: Service) -> None:
        if child.parent is self and isinstance(self._children, list):
            self._settle_events()
            orphan(child)
            # By identity: a service may be a dataclass, and equal to its brother.
            del self._children[next(i for i, each in enumerate(self._children) if each is child)]
            self._numbers = None
            child.parent = None

    def _settle_events(self) -> None:
        """A path is about to change: let the events have the one that it was."""
        log = self.root._event_log
        if log is not None:
            log.settle()
