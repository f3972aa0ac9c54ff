"""Whether a value is what its setting wants, and what a text from outside means.

Two ways in, because they are trusted differently:

    accept(value, wanted)    a Python value, from a config file or set(): of the type, or refused.
                             180 is no "180". Only where nothing can be lost it is converted: 5.0 to
                             5 for an int, 5 to 5.0 for a float, (1, 2) to [1, 2] for a list.
    parse(text, wanted)      a text, from the environment or --set: read as the type says it.
                             "false" is False, "180" is 180.

Containers, enums, dates and limits are msgspec's work. It is imported when one is first met, which
an application with plain settings never does.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Union

from .display import kind, show
from .monitored import Monitored

if TYPE_CHECKING:
    from .setting import Setting

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_NONE = ("", "none", "null")
_SEQUENCES = (list, tuple, set, frozenset)
_WORDS: dict[Any, str] = {
    bool: "True or False (bool)",
    dict: "a dict",
    float: "a number (float)",
    int: "a whole number (int)",
    list: "a list",
    str: "text (str)",
    tuple: "a tuple",
}
_EXAMPLES = {
    "date": "2026-12-31",
    "datetime": "2026-12-31T23:59:00",
    "time": "23:59:00",
    "timedelta": "PT30S",
}


class Mismatch(Exception):
    """A value is not what its setting wants.

    Args:
        wanted: what it has to be, in words: follows "must be".
        where: the part of the value that is wrong, such as "[1]", or "".
        got: what the part is instead, where it is not the whole value.
        advice: how to write it, or "".
    """

    def __init__(self, wanted: str, *, where: str = "", got: str = "", advice: str = "") -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.where = where
        self.got = got
        self.advice = advice

    def explain(self, path: str, value: object, *, secret: bool, text: bool = False) -> str:
        """Return the sentence for a person; the value is in it unless it is secret.

        Args:
            text: the value came as text from outside, so that its type says nothing.
        """
        told = f"{path}{self.where} must be {self.wanted}"
        if not self.where:
            told += f", not {show(value, secret=secret)}"
            told += "" if text or value is None else f" ({kind(value)})"
        elif self.got:
            told += f", not {self.got}"
        # Advice may repeat what was written.
        return f"{told}; {self.advice}" if self.advice and not secret else told


class Unreadable(Exception):
    """The annotation of a setting names a type that cannot be found out."""


# What is wanted


def type_of(setting: Setting[Any]) -> Any:
    """Return what the values of `setting` must be, or Any.

    Raises:
        Unreadable: the annotation makes no sense.
    """
    wanted = _annotation(setting)
    if wanted is None:
        wanted = setting.type
    if wanted is None:
        wanted = Any if setting.default is None else type(setting.default)
    if setting.default is None and wanted not in (Any, object):
        return Union[wanted, None]  # noqa: UP007 - what `wanted` is, is only known here
    return wanted


def _annotation(setting: Setting[Any]) -> Any:
    """Return what the annotation says, without the wrappers that are not about the value."""
    from .setting import Setting as Declared

    wrappers = (ClassVar, Final, Declared, Monitored)
    owner = setting.owner() if setting.owner else None
    if owner is None:
        return None
    try:
        told = _annotations(owner).get(setting.name)
        wanted = None if told is None else _evaluate(told, setting, owner)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from None
    while typing.get_origin(wanted) in wrappers:
        wanted = typing.get_args(wanted)[0]
    return None if wanted in wrappers else wanted


def _annotations(owner: type) -> dict[str, Any]:
    """Return the annotations of a class: text or types, as they were written."""
    if sys.version_info >= (3, 14):
        import annotationlib

        # Another attribute's annotation may name what is imported for checkers only (PEP 649).
        return annotationlib.get_annotations(owner, format=annotationlib.Format.FORWARDREF)
    return owner.__annotations__


def _evaluate(told: Any, setting: Setting[Any], owner: type) -> Any:
    """Return the type that the annotation `told` stands for; it may be text."""
    # A class of its own, because only in a class ClassVar and Final are allowed.
    holder = type("_", (), {"__annotations__": {"it": told}})
    try:
        return typing.get_type_hints(holder, setting.module, {}, include_extras=True)["it"]
    except NameError:
        # A class inside the class. Looked into last: `date: date = Setting("date")` means the type.
        inner = dict(vars(owner))
        return typing.get_type_hints(holder, setting.module, inner, include_extras=True)["it"]


def describe(wanted: Any) -> str:
    """Return `wanted` in words that follow "must be"."""
    if wanted in _WORDS:
        return _WORDS[wanted]
    origin = typing.get_origin(wanted)
    if origin is Annotated:
        return describe(typing.get_args(wanted)[0])
    if origin in (Union, types.UnionType):
        return " or ".join(describe(member) for member in typing.get_args(wanted))
    if origin is Literal:
        return _one_of(typing.get_args(wanted))
    if origin is not None:
        return str(wanted).replace("typing.", "")
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return _one_of([member.value for member in wanted])
    if _is_path(wanted):
        return "a path"
    name = type_name(wanted)
    if getattr(wanted, "__module__", "") == "datetime" and name in _EXAMPLES:
        return f"a {name} such as {_EXAMPLES[name]}"
    return name


def type_name(wanted: Any) -> str:
    """Return `wanted` as one writes it in an annotation."""
    if wanted is type(None):
        return "None"
    if len(_members(wanted)) > 1:
        return " | ".join(type_name(member) for member in _members(wanted))
    if isinstance(wanted, type) and typing.get_origin(wanted) is None:
        return wanted.__name__
    return str(wanted).replace("typing.", "")


def _one_of(values: typing.Iterable[object]) -> str:
    return "one of " + ", ".join(show(value) for value in values)


def _members(wanted: Any) -> tuple[Any, ...]:
    """Return what a union is made of, or the type alone."""
    if typing.get_origin(wanted) in (Union, types.UnionType):
        return typing.get_args(wanted)
    return (wanted,)


# Python values


def accept(value: Any, wanted: Any) -> Any:
    """Return `value` as what is `wanted`.

    Raises:
        Mismatch: it is something else.
    """
    members = _members(wanted)
    if any(_is(value, member) for member in members):
        return value
    if float in members and type(value) is int:
        return _finite(value)
    if int in members and type(value) is float and value.is_integer():
        return int(value)
    for member in members:
        if isinstance(member, type) and issubclass(member, Enum):
            named = [each for each in member if _alike(each.value, value)]
            if named:
                return named[0]
    return _convert(value, wanted, strict=True)


def _is(value: Any, wanted: Any) -> bool:
    """Whether `value` is of a type for which nothing but isinstance() needs to be asked."""
    if wanted is Any:
        return True
    if typing.get_origin(wanted) is Literal:
        return any(_alike(value, each) for each in typing.get_args(wanted))
    if typing.get_origin(wanted) is not None or not isinstance(wanted, type):
        return False
    if isinstance(value, bool) and wanted in (int, float):
        return False
    try:
        return isinstance(value, wanted)
    except TypeError:  # a Protocol or TypedDict, which isinstance() does not take
        return False


def _alike(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other  # 1 is not True


def _finite(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Mismatch(describe(float), advice="it is too large") from None


def _convert(value: Any, wanted: Any, *, strict: bool) -> Any:
    """Let msgspec decide, and put what it says into our words."""
    import msgspec

    try:
        return msgspec.convert(
            value,
            wanted,
            strict=strict,
            builtin_types=(bytes, bytearray, memoryview),  # text is no bytes, base64 or not
            dec_hook=_own_types,
        )
    except msgspec.ValidationError as error:
        told = str(error)
    except TypeError:  # a type that msgspec does not take: a Callable's signature, type[Service]
        if _is_roughly(value, wanted):
            return value
        told = ""
    # Raised here, so that the error does not carry msgspec's, whose frames hold the value.
    raise _translate(told, wanted)


def _own_types(wanted: type, value: Any) -> Any:
    """msgspec's hook for types that it does not know."""
    if _is_path(wanted) and isinstance(value, str):
        return wanted(value)
    return value


def _is_path(wanted: Any) -> bool:
    """Whether `wanted` is a class of pathlib, which is not imported for the question's sake."""
    bases = wanted.__mro__ if isinstance(wanted, type) else ()
    return any(base.__name__ == "PurePath" and "pathlib" in base.__module__ for base in bases)


def _is_roughly(value: Any, wanted: Any) -> bool:
    """Whether `value` is an instance of what `wanted` is based on; True where nobody can tell."""
    for member in _members(wanted):
        base = typing.get_origin(member) or member
        if not isinstance(base, type) or getattr(base, "_is_protocol", False):
            return True
        if isinstance(value, base):
            return True
    return False


def _translate(told: str, wanted: Any) -> Mismatch:
    """Return msgspec's message as ours.

    Examples of its messages: "Expected `int`, got `str` - at `$[1]`", "Expected `int` >= 1",
    "Invalid enum value 'x'", "Object missing required field `host`".
    """
    told, _, at = told.partition(" - at `$")
    where = at.rstrip("`")
    if told.startswith("Expected "):
        expected, _, got = told.removeprefix("Expected ").replace("`", "").partition(", got ")
        if not where and typing.get_origin(wanted) is not Annotated:
            expected = describe(wanted)
        return Mismatch(expected.replace("null", "None"), where=where, got=got)
    if told.startswith("Object "):
        return Mismatch(describe(wanted), where=where, advice=told.replace("`", ""))
    if where:
        return Mismatch("one of the values that are allowed there", where=where)
    return Mismatch(describe(wanted))


# Text


def parse(text: str, wanted: Any) -> Any:
    """Return what `text`, from the environment or the command line, says as what is `wanted`.

    Without a type it is text. Where None is allowed too, an empty text is None.

    Raises:
        Mismatch: it does not say anything of that type.
    """
    if wanted in (Any, object):
        return text
    members = _members(wanted)
    if type(None) in members and text.strip().lower() in (("",) if str in members else _NONE):
        return None
    # Any text is text, so that this is asked last.
    candidates = sorted((m for m in members if m is not type(None)), key=lambda m: m is str)
    for candidate in candidates:
        try:
            return _parse(text, candidate)
        except Mismatch as error:
            mismatch = error
    if len(candidates) == 1:
        raise mismatch
    raise Mismatch(describe(wanted))


def _parse(text: str, wanted: Any) -> Any:
    """Return what `text` says as `wanted`, which is no union."""
    base = typing.get_origin(wanted) or wanted
    if base is Annotated:
        return accept(parse(text, typing.get_args(wanted)[0]), wanted)
    if base is Literal:
        return _choose(text, {str(each): each for each in typing.get_args(wanted)}, wanted)
    if base in _PARSERS:
        return _PARSERS[base](text)
    if base in _SEQUENCES or base is dict:
        return _container(text, wanted, base)
    if isinstance(base, type) and issubclass(base, Enum):
        named = {each.name: each for each in base}
        return _choose(text, named | {str(each.value): each for each in base}, wanted)
    if _is_path(base):
        return base(text)
    if text.lstrip().startswith(("{", "[")):
        return _json(text, wanted)
    return _convert(text, wanted, strict=False)


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Mismatch("true or false")


def _int(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        pass
    octal = text.strip().isdigit() and text.strip().startswith("0")
    advice = f"octal is written 0o{text.strip().lstrip('0')}" if octal else ""
    raise Mismatch("a whole number", advice=advice)


def _float(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if number != number:
        raise Mismatch("a number")
    return number


_PARSERS: dict[Any, Callable[[str], Any]] = {
    bool: _bool,
    bytes: str.encode,
    float: _float,
    int: _int,
    str: str,
}


def _choose(text: str, named: dict[str, Any], wanted: Any) -> Any:
    if text not in named:
        raise Mismatch(describe(wanted))
    return named[text]


def _container(text: str, wanted: Any, base: type) -> Any:
    """Return a list, tuple, set or dict: from JSON, or items with commas where their type is known.

    Without a known type `1,2` could be numbers or text; JSON says which.
    """
    if text.lstrip().startswith(("{", "[")):
        return _json(text, wanted)
    items = [each for each in typing.get_args(wanted) if each is not Ellipsis]
    if base is dict or len(set(items)) != 1:
        example = '{"a": 1}' if base is dict else "[1, 2]"
        raise Mismatch(describe(wanted), advice=f"write it as JSON, such as {example}")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return accept([parse(part, items[0]) for part in parts], wanted)


def _json(text: str, wanted: Any) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(text.encode(), type=wanted, dec_hook=_own_types)
    except msgspec.ValidationError as error:  # JSON, but something else
        mismatch = _translate(str(error), wanted)
    except msgspec.DecodeError as error:
        mismatch = Mismatch(describe(wanted), advice=f"it is not JSON: {error}")
    except TypeError:  # a type that msgspec does not take
        return accept(msgspec.json.decode(text.encode()), wanted)
    raise mismatch
