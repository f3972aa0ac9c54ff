"""Setting: how a class says what of it can be configured.

    class Hello(Service):
        rate: int = Setting("rate_per_minute", default=60, help="Messages a minute")

        def do_start(self):
            pause = 60.0 / self.rate        # always the value of now: 180 after a reload

The type that a value has to have comes from the annotation, else from `type`, else from the
default.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Collection
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from . import cache
from .context import active
from .monitored import Monitored, Watches
from .names import normalise
from .problems import ConfigProblems

if TYPE_CHECKING:
    from .settings import Settings
    from .snapshot import Snapshot

    class _Anything(Any):  # type: ignore[misc]
        """Lets a checker accept `rate: int = Setting("rate")`, as it does a dataclass's field()."""

else:

    class _Anything:
        __slots__ = ()


T = TypeVar("T")

# The name under which a config file's own globals tell which run of it they belong to.
RUN = "__ginkgo_run__"

_NOTHING = object()  # no value stands in the class; the type has not been looked at
_SIMPLE = (bool, bytes, float, int, str, type(None))


class Setting(_Anything, Generic[T]):
    """A descriptor that gives the value that a setting has now.

    On the class it gives the value too: `Hello.rate`. An assignment to an instance,
    `self.rate = 5`, overrides the setting for that instance until the attribute is deleted.

    Args:
        path: the name; dots make groups: `db.password`. Case does not matter.
        default: the value when nothing sets it. With None, None is a value as well.
        help: what `ginkgo TARGET -h` prints.
        monitored: the value is wrapped in a :class:`Monitored`, which has `.changed`.
        type: what values must be, where no annotation says so; any type of `typing`, with the
            limits of `msgspec.Meta` in an `Annotated`.
        choices: the values that are allowed, or None for all.
        secret: print the value as `****` wherever Ginkgo prints it.
        restart_required: a reload reports a new value, and leaves the old one in effect.

    Raises:
        ValueError: the path is empty.
    """

    @overload
    def __init__(
        self: Setting[Monitored[Any]],
        path: str,
        default: None = None,
        help: str = "",
        *,
        monitored: Literal[True],
        type: object = None,
        choices: Collection[object] | None = None,
        secret: bool = False,
        restart_required: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Setting[Monitored[T]],
        path: str,
        default: T,
        help: str = "",
        *,
        monitored: Literal[True],
        type: object = None,
        choices: Collection[object] | None = None,
        secret: bool = False,
        restart_required: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Setting[T | None],
        path: str,
        default: None = None,
        help: str = "",
        monitored: Literal[False] = False,
        *,
        type: type[T],
        choices: Collection[object] | None = None,
        secret: bool = False,
        restart_required: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Setting[Any],
        path: str,
        default: None = None,
        help: str = "",
        monitored: Literal[False] = False,
        type: object = None,
        choices: Collection[object] | None = None,
        secret: bool = False,
        restart_required: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self,
        path: str,
        default: T,
        help: str = "",
        monitored: Literal[False] = False,
        type: object = None,
        choices: Collection[object] | None = None,
        secret: bool = False,
        restart_required: bool = False,
    ) -> None: ...
    def __init__(
        self,
        path: str,
        default: Any = None,
        help: str = "",
        monitored: bool = False,
        type: Any = None,
        choices: Collection[object] | None = None,
        secret: bool = False,
        restart_required: bool = False,
    ) -> None:
        self.path = normalise(path)
        if not self.path:
            raise ValueError("a setting needs a name")
        self.default = default
        self.help = self.__doc__ = "\n".join(line.strip() for line in help.strip().splitlines())
        self.monitored = monitored
        self.type = type
        self.choices = choices
        self.secret = secret
        self.restart_required = restart_required
        self.name = ""  # the attribute's
        self.owner: weakref.ref[Any] | None = None  # the class that the annotation is in
        self._homes: list[tuple[weakref.ref[Any], str]] = []
        self._held: object = _NOTHING
        self._wanted: Any = _NOTHING
        self._watches = Watches()
        self.ref: weakref.ref[Setting[Any]] = weakref.ref(self)
        self._note_place(sys._getframe(1))
        self.settings.registry.add(self)

    _bound: Settings | None = None

    def __set_name__(self, owner: type[Any], name: str) -> None:
        if not self.owner:
            self.owner, self.name = weakref.ref(owner), name
        try:
            # While the value stands in the class, this is what keeps the setting alive.
            mine = owner.__dict__.get("__ginkgo_settings__", {})
            owner.__ginkgo_settings__ = {**mine, name: self}
        except (AttributeError, TypeError):
            return  # a class that lets nobody write to it: each read looks the value up
        self._homes.append((weakref.ref(owner), name))

    def __get__(self, instance: object, owner: object = None) -> T:
        settings = self.settings
        snapshot = settings.snapshot
        value = snapshot.entry(self).value
        if self.monitored:
            watch = self._watches.of(instance)
            return Monitored(value, self, watch)
        cache.keep(self, value, lambda: self.settings.snapshot is snapshot)
        return value  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"<Setting {self.path}, declared in {self.place}>"

    @property
    def settings(self) -> Settings:
        """The configuration that this setting takes its value from now."""
        return self.settings_under(active())

    def settings_under(self, active: Settings) -> Settings:
        """Return the configuration that the value is taken from when `active` is in force."""
        return active if self._bound is None else self._bound

    @property
    def value(self) -> Any:
        """The value of now, never wrapped."""
        return self.settings.snapshot.entry(self).value

    @property
    def changed(self) -> bool:
        """Whether the value has changed since this property was read last; False at first."""
        return self._watches.of(None).changed(self)

    @property
    def wanted(self) -> Any:
        """What values must be: a type, or Any.

        Raises:
            types.Unreadable: the annotation makes no sense.
        """
        if self._wanted is _NOTHING:
            from .types import type_of  # at first use: it costs a millisecond

            self._wanted = type_of(self)
        return self._wanted

    @property
    def site(self) -> object:
        """What tells a declaration from others in the code, and is the same when it runs anew."""
        owner = self.owner() if self.owner else None
        if owner is None:
            return self.place
        return (self.file, owner.__qualname__, self.name)

    def _note_place(self, frame: FrameType | None) -> None:
        """Note where the setting is declared: not in this package, nor in a subclass's __init__."""
        while frame and (
            frame.f_globals.get("__package__") == __package__
            or (frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is self)
        ):
            if frame.f_back is None:
                break
            frame = frame.f_back
        if frame is None:
            raise RuntimeError("a setting is declared from nowhere")
        self.file = frame.f_code.co_filename
        self.place = f"{self.file}:{frame.f_lineno}"
        self.module = frame.f_globals
        self.run: object = frame.f_globals.get(RUN)

    # What the cache does with the classes that this setting stands in.

    def put(self, value: object) -> None:
        """Put `value` where this setting stands. What somebody else has put there stays."""
        self._held = value
        for home, name in self._homes:
            owner = home()
            if owner is not None and owner.__dict__.get(name) is self:
                setattr(owner, name, value)

    def take_back(self) -> bool:
        """Put this setting where its value stands; return whether it stands everywhere now.

        What somebody else has put there stays. A test that patches a class puts back what it
        found, our value, so that this has to be tried again.
        """
        everywhere = True
        for home, name in self._homes:
            owner = home()
            if owner is None:
                continue
            if name in owner.__dict__ and owner.__dict__[name] is self._held:
                setattr(owner, name, self)
            everywhere = everywhere and owner.__dict__.get(name) is self
        if everywhere:
            self._held = _NOTHING
        return everywhere

    def stays(self, snapshot: Snapshot) -> bool:
        """Whether the value that stands in the classes is the one that `snapshot` has, too."""
        try:
            now = snapshot.entry(self).value
        except ConfigProblems:  # then the next read has to say so
            return False
        # Equal is enough only where it means the same: 1 == True, and [1] may have been changed.
        return now is self._held or (
            type(now) is type(self._held) and type(now) in _SIMPLE and now == self._held
        )


class BoundSetting(Setting[T]):
    """A setting of one certain configuration, whichever is in force; see `Settings.setting`."""

    def __init__(self, settings: Settings, *args: Any, **named: Any) -> None:
        self._bound = settings
        super().__init__(*args, **named)
