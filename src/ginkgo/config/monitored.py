"""Monitored: the value of a setting that can tell whether it has changed.

    class Hello(Service):
        message = Setting("message", default="Hello", monitored=True)

        def do_start(self):
            self.message.changed  # False the first time; the next ones compare with this one

        def do_reload(self):
            if self.message.changed:
                log.info("the message is now %s", self.message)

It behaves as the value does: it compares, adds, formats, iterates and answers isinstance() like it.
Where a real `str` or `int` is asked for (`json.dumps`, a C function), pass `self.message.value`.
"""

from __future__ import annotations

import math
import operator
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .display import MASK

if TYPE_CHECKING:
    from .setting import Setting

    class _Anything(Any):  # type: ignore[misc]
        """Lets a checker accept whatever the value itself can do."""

else:

    class _Anything:
        __slots__ = ()


T = TypeVar("T")

_UNSEEN = object()


class Watch:
    """What somebody has seen of a setting's value, to tell whether it has changed since."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: object = _UNSEEN

    def changed(self, setting: Setting[Any]) -> bool:
        """Whether the value is another than at the last call; False at the first."""
        now = setting.value
        seen, self._seen = self._seen, now
        return seen is not _UNSEEN and bool(seen != now)


class Watches:
    """The watches of one setting: one for each object that asks, so that each is told."""

    __slots__ = ("_class", "_each")

    def __init__(self) -> None:
        self._class = Watch()
        self._each: dict[int, tuple[weakref.ref[Any], Watch]] = {}

    def of(self, instance: object) -> Watch:
        """Return the watch of `instance`; of the class, if that is None or cannot be told apart."""
        if instance is None:
            return self._class
        key = id(instance)
        known = self._each.get(key)
        if known is not None:
            return known[1]
        each = self._each
        try:
            ref = weakref.ref(instance, lambda _: each.pop(key, None))
        except TypeError:
            return self._class
        return each.setdefault(key, (ref, Watch()))[1]


class Monitored(_Anything, Generic[T]):
    """A setting's value, with `.changed` and `.value`; all else is the value's own.

    Attributes:
        value: the value itself, as it was when the attribute was read.
    """

    __slots__ = ("_setting", "_watch", "value")

    value: T
    _setting: Setting[Any]
    _watch: Watch

    def __init__(self, value: T, setting: Setting[Any], watch: Watch) -> None:
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "_setting", setting)
        object.__setattr__(self, "_watch", watch)

    # So that isinstance(service.message, str) is true.
    __class__ = property(lambda self: type(self.value))

    @property
    def changed(self) -> bool:
        """Whether the setting's value has changed since this object asked last; False at first.

        Each object that has the setting is told of each change once.
        """
        return self._watch.changed(self._setting)

    def __repr__(self) -> str:
        return MASK if self._setting.secret else repr(self.value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.value, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.value, name)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.value(*args, **named)  # type: ignore[operator]


# Python looks special methods up on the class, so that each has to be there to be passed on.


def _unary(act: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args: act(self.value, *args)


def _reflected(act: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: act(other, self.value)


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "and": operator.and_,
    "divmod": divmod,
    "floordiv": operator.floordiv,
    "lshift": operator.lshift,
    "matmul": operator.matmul,
    "mod": operator.mod,
    "mul": operator.mul,
    "or": operator.or_,
    "pow": pow,
    "rshift": operator.rshift,
    "sub": operator.sub,
    "truediv": operator.truediv,
    "xor": operator.xor,
}
_OTHERS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "bool": bool,
    "bytes": bytes,
    "ceil": math.ceil,
    "complex": complex,
    "contains": operator.contains,
    "delitem": operator.delitem,
    "dir": dir,
    "eq": operator.eq,
    "float": float,
    "floor": math.floor,
    "format": format,
    "fspath": os.fspath,
    "ge": operator.ge,
    "getitem": operator.getitem,
    "gt": operator.gt,
    "hash": hash,
    "index": operator.index,
    "int": int,
    "invert": operator.invert,
    "iter": iter,
    "le": operator.le,
    "len": len,
    "lt": operator.lt,
    "ne": operator.ne,
    "neg": operator.neg,
    "pos": operator.pos,
    "reversed": reversed,
    "round": round,
    "setitem": operator.setitem,
    "str": str,
    "trunc": math.trunc,
}

_EVERY: dict[str, Callable[..., Any]] = {**_OPERATORS, **_OTHERS}

for _name, _act in _EVERY.items():
    setattr(Monitored, f"__{_name}__", _unary(_act))
for _name, _act in _OPERATORS.items():
    setattr(Monitored, f"__r{_name}__", _reflected(_act))
